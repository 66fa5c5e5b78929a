#if GATHERED
#define PLACE(i) place[i]
#else
#define PLACE(i) (i)
#endif

/* The features as x, and 0 up to its last column. */
static void read_features(const ${name}_feature *features, ${name}_work *work)
{
    int32_t i;

    work->saturated = 0;
    for (i = 0; i < READ; i++)
        work->x[i] = adjusted(features[PLACE(i)], shift[i], &work->saturated);
    for (; i < COLUMNS; i++)
        work->x[i] = 0;
}
