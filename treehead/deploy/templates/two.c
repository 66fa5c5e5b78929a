/* The sums of four x under all weights of -1 and 1, by the bits of the weights that are 1. */
static void sums_of_two(const int16_t *x, int32_t *sums)
{
    int32_t bit, i;

    sums[0] = -((int32_t)x[0] + x[1] + x[2] + x[3]);
    for (bit = 0; bit < 4; bit++)
        for (i = 0; i < 1 << bit; i++)
            sums[i + (1 << bit)] = sums[i] + 2 * (int32_t)x[bit];
}

/* Add to the sum of each class its weights of two values, eight to a byte. */
static void add_two(const int16_t *x, int32_t *sum)
{
    const uint8_t *its_code = two_code;
    int32_t low[16], high[16], group, class;

    for (group = 0; group < TWO_GROUPS; group++, x += 8) {
        sums_of_two(x, low);
        sums_of_two(x + 4, high);
        for (class = 0; class < CLASSES; class++, its_code++)
            sum[class] += low[*its_code & 15] + high[*its_code >> 4];
    }
}
