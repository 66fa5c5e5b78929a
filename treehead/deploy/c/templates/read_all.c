/* The features as x, and 0 up to its last column. */
static void read_features(const ${name}_feature *features, ${name}_work *work)
{
    int32_t i;

    work->saturated = 0;
    for (i = 0; i < READ; i++) {
#if GATHERED
        features += gap[i];
        work->x[i] = adjusted(*features, shift[i], &work->saturated);
#else
        work->x[i] = adjusted(features[i], shift[i], &work->saturated);
#endif
    }
    for (; i < COLUMNS; i++)
        work->x[i] = 0;
}
