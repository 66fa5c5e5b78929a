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

/* Add to the sum of each class its weights of three values: a byte is three of them + 27 * two. */
static void add_three(const int16_t *x, int32_t *sum)
{
    const uint8_t *its_code = three_code;
    int32_t low[27], high[9], group, class, two;

    for (group = 0; group < THREE_GROUPS; group++, x += 5) {
        sums_of_three(x, 3, low);
        sums_of_three(x + 3, 2, high);
        for (class = 0; class < CLASSES; class++, its_code++) {
            two = *its_code * 19 >> 9; /* a 27th of what is below 243 */
            sum[class] += low[*its_code - 27 * two] + high[two];
        }
    }
}
