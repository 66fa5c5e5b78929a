/* The sums of four x under all weights of -1 and 1, by the bits of the weights that are 1. */
static void sums_of_two(const int16_t *x, int32_t *sums)
{
    int32_t plus = (int32_t)x[0] + x[1], minus = (int32_t)x[0] - x[1];
    int32_t plus_high = (int32_t)x[2] + x[3], minus_high = (int32_t)x[2] - x[3], i;

    sums[0] = -plus - plus_high;
    sums[1] = minus - plus_high;
    sums[2] = -minus - plus_high;
    sums[3] = plus - plus_high;
    sums[4] = -plus + minus_high;
    sums[5] = minus + minus_high;
    sums[6] = -minus + minus_high;
    sums[7] = plus + minus_high;
    for (i = 0; i < 8; i++)
        sums[15 - i] = -sums[i];
}

/* The logits of the weights of two values, eight to a byte, are added. */
static void add_two(${name}_work *work)
{
    const uint8_t *its_code = two_code;
    const int16_t *x = work->x;
    int32_t group, class;
    uint32_t code;

    for (class = 0; class < CLASSES; class++)
        work->sum[class] = 0;
    for (group = 0; group < TWO_GROUPS; group++, x += 8) {
        sums_of_two(x, work->low);
        sums_of_two(x + 4, work->high);
        for (class = 0; class < CLASSES; class++) {
            code = *its_code++;
            work->sum[class] += work->low[code & 15] + work->high[code >> 4];
        }
    }
    for (class = 0; class < CLASSES; class++)
        work->logits[class] += scaled(work->sum[class], two_multiplier[class]);
}
