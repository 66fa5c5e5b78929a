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

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    int32_t class;

    read_features(features, work);
    for (class = 0; class < CLASSES; class++)
        work->logits[class] = bias[class];
#if TWO_GROUPS
    add_two(work);
#endif
#if THREE_GROUPS
    add_three(work);
#endif
    return largest(work->logits);
}
