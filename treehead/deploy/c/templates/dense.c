/* The sums of all rows, of two at a time, so that x is read half as often. */
static void dense(const uint32_t *word, int32_t rows, int32_t columns, const int16_t *x,
                  int32_t *sum)
{
    const uint32_t *second;
    const int16_t *end = x + columns, *p;
    uint32_t first_sum = start(x, columns), mask = mask_of_pair(), one, two;

    for (; rows > 1; rows -= 2, word = second) {
        second = word + columns / EACH_WORD;
        one = two = first_sum;
        for (p = x; p < end; p += EACH_STEP) {
            one = add_step(one, word, p, mask);
            two = add_step(two, second, p, mask);
            word += EACH_STEP / EACH_WORD;
            second += EACH_STEP / EACH_WORD;
        }
        *sum++ = (int32_t)one;
        *sum++ = (int32_t)two;
    }
    if (rows)
        *sum = dot(word, x, columns, first_sum);
}
