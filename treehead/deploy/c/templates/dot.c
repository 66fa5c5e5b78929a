/*
 * Sums of weights times x. A word holds weights of WEIGHT_BITS bits, each plus OFFSET: those of the
 * columns 0, 2, 4 and so on in its lower half, of 1, 3, 5 in its upper half. So a shift and a mask
 * leave two as a pair of 16 bits, which the M4 multiplies with a pair of x at once. What the offsets
 * add too much is taken off in the end; a sum wraps around on its way and ends as it should. If all
 * weights are odd, a word holds half of what they are above -3.
 */
#define OFFSET (ODD ? 3 : (uint32_t)1 << (WEIGHT_BITS - 1))
#define MASK (((uint32_t)1 << WEIGHT_BITS) - 1)
#define EACH_WORD (32 / WEIGHT_BITS)
#define EACH_STEP (EACH_WORD < 8 ? 8 : EACH_WORD)

#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_BIG_ENDIAN)
#include <arm_acle.h>

typedef int16x2_t __attribute__((may_alias)) pair;

/* In a register, where one instruction shifts a word and masks it. */
static uint32_t mask_of_pair(void)
{
    uint32_t mask = MASK << 16 | MASK;
    __asm__("" : "+r"(mask));
    return mask;
}

/* Add the products of two pairs of weights with four x. */
static uint32_t add_two_pairs(uint32_t sum, uint32_t one, uint32_t two, const int16_t *x)
{
    const pair *its_x = (const pair *)x;

    sum = (uint32_t)__smlad((int16x2_t)one, its_x[0], (int32_t)sum);
    return (uint32_t)__smlad((int16x2_t)two, its_x[1], (int32_t)sum);
}
#else
static uint32_t mask_of_pair(void)
{
    return MASK << 16 | MASK;
}

static uint32_t add_pair(uint32_t sum, uint32_t both, const int16_t *x)
{
    uint32_t even = (uint32_t)x[0];
    uint32_t odd = (uint32_t)x[1];

    return sum + (both & 0xFFFF) * even + (both >> 16) * odd;
}

static uint32_t add_two_pairs(uint32_t sum, uint32_t one, uint32_t two, const int16_t *x)
{
    return add_pair(add_pair(sum, one, x), two, x + 2);
}
#endif

/* The weights in two places of a word, times four x. */
static uint32_t add(uint32_t sum, uint32_t word, int32_t place, const int16_t *x, uint32_t mask)
{
    uint32_t one = word >> WEIGHT_BITS * place & mask;
    uint32_t two = word >> WEIGHT_BITS * (place + 1) & mask;

    return add_two_pairs(sum, one, two, x);
}

/* Add the products of EACH_STEP columns; a call would cost as much as they do. */
#if defined(__GNUC__)
__attribute__((always_inline))
#endif
static inline uint32_t add_step(uint32_t sum, const uint32_t *word, const int16_t *x, uint32_t mask)
{
    sum = add(sum, word[0], 0, x, mask);
#if WEIGHT_BITS == 8
    sum = add(sum, word[1], 0, x + 4, mask);
#else
    sum = add(sum, word[0], 2, x + 4, mask);
#endif
#if WEIGHT_BITS == 2
    sum = add(sum, word[0], 4, x + 8, mask);
    sum = add(sum, word[0], 6, x + 12, mask);
#endif
    return sum;
}

/* What the offsets add to a sum of this x, negative. */
static uint32_t offset(const int16_t *x, int32_t columns)
{
    const int16_t *end = x + columns;
    uint32_t sum = 0;

    for (; x < end; x += 8) {
        sum = add_two_pairs(sum, 0x10001, 0x10001, x);
        sum = add_two_pairs(sum, 0x10001, 0x10001, x + 4);
    }
    return 0 - OFFSET * sum;
}

/* The sum of weights times x. */
static int32_t without(uint32_t its_offset, uint32_t sum)
{
    return (int32_t)((sum << ODD) + its_offset);
}

static int32_t dot(const uint32_t *word, const int16_t *x, int32_t columns, uint32_t its_offset)
{
    const int16_t *end = x + columns;
    uint32_t mask = mask_of_pair(), sum = 0;

    for (; x < end; x += EACH_STEP, word += EACH_STEP / EACH_WORD)
        sum = add_step(sum, word, x, mask);
    return without(its_offset, sum);
}
