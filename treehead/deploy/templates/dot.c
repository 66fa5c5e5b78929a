/*
 * Sums of weights times x. Four weights are stored as 0, 2, 1, 3: the M4 takes the bytes 0 and 2 of
 * a word, or 1 and 3, as a pair of 16-bit numbers, and multiplies it with a pair of x at once.
 */
#if defined(__ARM_FEATURE_DSP)
#include <arm_acle.h>

typedef uint32_t __attribute__((may_alias, aligned(1))) bytes;
typedef int16x2_t __attribute__((may_alias)) pair;

static int16x2_t first_pair(bytes weights)
{
    return __sxtb16((int8x4_t)weights);
}

static int16x2_t second_pair(bytes weights)
{
    int16x2_t found;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(found) : "r"(weights));
    return found;
}

static int32_t dot(const int8_t *weight, const int16_t *x, int32_t columns)
{
    const bytes *w = (const bytes *)weight;
    const pair *p = (const pair *)x, *end = (const pair *)(x + columns);
    int32_t sum = 0;

    for (; p < end; p += 2, w++) {
        sum = __smlad(first_pair(*w), p[0], sum);
        sum = __smlad(second_pair(*w), p[1], sum);
    }
    return sum;
}
#else
static int32_t dot(const int8_t *weight, const int16_t *x, int32_t columns)
{
    const int16_t *end = x + columns;
    int32_t sum = 0;

    for (; x < end; x += 4, weight += 4) {
        sum += (int32_t)weight[0] * x[0];
        sum += (int32_t)weight[2] * x[1];
        sum += (int32_t)weight[1] * x[2];
        sum += (int32_t)weight[3] * x[3];
    }
    return sum;
}
#endif
