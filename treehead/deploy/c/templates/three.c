/* The sums of `count` x under all weights of -1, 0 and 1; the first weight varies fastest. */
static void sums_of_three(const int16_t *x, int32_t count, int32_t *sums)
{
    int32_t digit, i, power = 1;

    sums[0] = 0;
    for (digit = 0; digit < count; digit++, power *= 3)
        for (i = 0; i < power; i++) {
            sums[i + power] = sums[i];
            sums[i + 2 * power] = sums[i] + x[digit];
            sums[i] -= x[digit];
        }
}

/* The logits of the weights of three values are added; a byte is three of them + 27 * two. */
static void add_three(${name}_work *work)
{
    const uint8_t *its_code = three_code;
    const int16_t *x = work->x + 8 * TWO_GROUPS;
    int32_t group, class;
    uint32_t code, two;

    for (class = 0; class < CLASSES; class++)
        work->sum[class] = 0;
    for (group = 0; group < THREE_GROUPS; group++, x += 5) {
        sums_of_three(x, 3, work->low);
        sums_of_three(x + 3, 2, work->high);
        for (class = 0; class < CLASSES; class++) {
            code = *its_code++;
            two = code * 19 >> 9; /* a 27th of what is below 243 */
            work->sum[class] += work->low[code - 27 * two] + work->high[two];
        }
    }
    for (class = 0; class < CLASSES; class++)
        work->logits[class] += scaled(work->sum[class], three_multiplier[class]);
}
