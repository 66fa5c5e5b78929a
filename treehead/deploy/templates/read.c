/* A number shifted to the left, or to the right if `shift` is negative, within -limit to limit. */
static int16_t narrowed(int32_t number, int32_t shift, int32_t limit, int32_t *saturated)
{
    if (shift >= 0)
        number *= (int32_t)1 << shift;
    else
        number = (number + ((int32_t)1 << (-shift - 1))) >> -shift;
    if (number > limit) {
        number = limit;
        ++*saturated;
    } else if (number < -limit) {
        number = -limit;
        ++*saturated;
    }
    return (int16_t)number;
}

/* A feature as the head reads it. */
static int16_t adjusted(${name}_feature feature, int32_t its_shift, int32_t *saturated)
{
    int32_t number = (int32_t)feature - ZERO;

    if (RELU && number < 0)
        number = 0;
    return narrowed(number, its_shift, LIMIT, saturated);
}
