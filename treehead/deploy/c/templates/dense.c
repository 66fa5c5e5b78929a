/* The sums of two rows, so that x is read half as often. */
static void two_dots(const uint32_t *word, const uint32_t *second, const int16_t *x,
                     int32_t columns, uint32_t its_offset, int32_t *sum, int32_t *second_sum)
{
    const int16_t *end = x + columns;
    uint32_t mask = mask_of_pair(), one = 0, two = 0;

    for (; x < end; x += EACH_STEP) {
        one = add_step(one, word, x, mask);
        two = add_step(two, second, x, mask);
        word += EACH_STEP / EACH_WORD;
        second += EACH_STEP / EACH_WORD;
    }
    *sum = without(its_offset, one);
    *second_sum = without(its_offset, two);
}

/* The sums of all rows. */
static void dense(const uint32_t *word, int32_t rows, int32_t columns, const int16_t *x,
                  uint32_t its_offset, int32_t *sum)
{
    int32_t words = columns / EACH_WORD;

    for (; rows > 1; rows -= 2, word += 2 * words, sum += 2)
        two_dots(word, word + words, x, columns, its_offset, sum, sum + 1);
    if (rows)
        *sum = dot(word, x, columns, its_offset);
}
