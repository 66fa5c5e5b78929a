/* Features whose weights have two values as the first x, those with three after them. */
static void read_features(const ${name}_feature *features, ${name}_work *work)
{
    int16_t *of_two = work->x, *of_three = work->x + 8 * TWO_GROUPS;
    int32_t i;

    work->saturated = 0;
    for (i = 0; i < COLUMNS; i++)
        work->x[i] = 0;
    for (i = 0; i < READ; i++) {
        int16_t number = adjusted(features[i], shift[i], &work->saturated);

        if (three[i >> 3] >> (i & 7) & 1)
            *of_three++ = number;
        else
            *of_two++ = number;
    }
}
