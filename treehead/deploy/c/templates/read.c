#if SATURATES || HIDDEN
/* A number within -limit to limit, the nearest one if it is not. */
static int16_t in_range(int32_t number, int32_t limit, int32_t *saturated)
{
    if ((uint32_t)number + (uint32_t)limit > 2 * (uint32_t)limit) {
        number = number < 0 ? -limit : limit;
        ++*saturated;
    }
    return (int16_t)number;
}
#endif

#if HIDDEN
/* A logit as the next layer reads it. */
static int16_t hidden(int32_t number, int32_t *saturated)
{
    if (HIDDEN_RELU && number < 0)
        number = 0;
    if (HIDDEN_SHIFT > 0)
        number = (number + (((int32_t)1 << HIDDEN_SHIFT) >> 1)) >> HIDDEN_SHIFT;
    return in_range(number, HIDDEN_LIMIT, saturated);
}
#endif

/*
 * A feature as the head reads it: shifted to the left, or if `its_shift` is negative to the right.
 * If no number overflows by that, all are first shifted to the left and then alike to the right.
 */
static int16_t adjusted(${name}_feature feature, int32_t its_shift, int32_t *saturated)
{
    int32_t number = (int32_t)feature - ZERO;

    if (RELU && number < 0)
        number = 0;
#if LEFT_FIRST
    number = (number * ((int32_t)1 << its_shift) + (((int32_t)1 << RIGHT) >> 1)) >> RIGHT;
#else
    if (its_shift < 0)
        number = (number + ((int32_t)1 << (-its_shift - 1))) >> -its_shift;
    else
        number *= (int32_t)1 << its_shift;
#endif
#if SATURATES
    return in_range(number, LIMIT, saturated);
#else
    (void)saturated; /* no feature is out of range */
    return (int16_t)number;
#endif
}
