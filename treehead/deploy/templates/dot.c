/*
 * Sums of weights times x. A word holds weights of WEIGHT_BITS bits, each plus OFFSET: those of the
 * columns 0, 2, 4 and so on in its lower half, of 1, 3, 5 in its upper half. So a shift and a mask
 * leave two as a pair of 16 bits, which the M4 multiplies with a pair of x at once. A sum starts at
 * what the offsets add too much; it wraps around on its way and ends as it should.
 */
#define OFFSET ((uint32_t)1 << (WEIGHT_BITS - 1))
#define EACH_WORD (32 / WEIGHT_BITS)
#define MASK (((uint32_t)1 << WEIGHT_BITS) - 1)

#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>

typedef int16x2_t __attribute__((may_alias)) pair;

static uint32_t add(uint32_t sum, uint32_t word, int32_t place, const int16_t *x)
{
    uint32_t both = word >> WEIGHT_BITS * place & (MASK << 16 | MASK);

    return (uint32_t)__smlad((int16x2_t)both, ((const pair *)x)[place], (int32_t)sum);
}
#else
static uint32_t add(uint32_t sum, uint32_t word, int32_t place, const int16_t *x)
{
    uint32_t even = (uint32_t)x[2 * place], odd = (uint32_t)x[2 * place + 1];

    sum += (word >> WEIGHT_BITS * place & MASK) * even;
    return sum + (word >> (16 + WEIGHT_BITS * place) & MASK) * odd;
}
#endif

static uint32_t add_word(uint32_t sum, uint32_t word, const int16_t *x)
{
    sum = add(sum, word, 0, x);
    sum = add(sum, word, 1, x);
#if WEIGHT_BITS < 8
    sum = add(sum, word, 2, x);
    sum = add(sum, word, 3, x);
#endif
#if WEIGHT_BITS < 4
    sum = add(sum, word, 4, x);
    sum = add(sum, word, 5, x);
    sum = add(sum, word, 6, x);
    sum = add(sum, word, 7, x);
#endif
    return sum;
}

/* What a sum of this x starts at. */
static uint32_t start(const int16_t *x, int32_t columns)
{
    const int16_t *end = x + columns;
    uint32_t sum = 0;

    for (; x < end; x += EACH_WORD)
        sum = add_word(sum, UINT32_MAX / MASK, x);
    return 0 - OFFSET * sum;
}

static int32_t dot(const uint32_t *word, const int16_t *x, int32_t columns, uint32_t sum)
{
    const int16_t *end = x + columns;

    for (; x < end; x += EACH_WORD)
        sum = add_word(sum, *word++, x);
    return (int32_t)sum;
}
