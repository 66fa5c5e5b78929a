/* The sums of all rows; the M4 reads x once for two of them. */
static void dense(const int8_t *weight, int32_t rows, int32_t columns, const int16_t *x,
                  int32_t *sum)
{
    int32_t row = 0;

#if defined(__ARM_FEATURE_DSP)
    for (; row + 1 < rows; row += 2, weight += 2 * columns) {
        const bytes *w = (const bytes *)weight, *v = (const bytes *)(weight + columns);
        const pair *p = (const pair *)x, *end = (const pair *)(x + columns);
        int32_t one = 0, two = 0;

        for (; p < end; p += 2, w++, v++) {
            one = __smlad(first_pair(*w), p[0], one);
            two = __smlad(first_pair(*v), p[0], two);
            one = __smlad(second_pair(*w), p[1], one);
            two = __smlad(second_pair(*v), p[1], two);
        }
        sum[row] = one;
        sum[row + 1] = two;
    }
#endif
    for (; row < rows; row++, weight += columns)
        sum[row] = dot(weight, x, columns);
}
