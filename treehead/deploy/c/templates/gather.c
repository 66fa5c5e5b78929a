#if WIDE_STEPS
typedef uint16_t step_type;
#else
typedef uint8_t step_type;
#endif

/* A sum of `kept` weights, a multiple of four, times the x that the steps lead to. */
static int32_t gathered(const int8_t *its_weight, const step_type *its_step, int32_t kept,
                        const int16_t *x)
{
    const int8_t *end = its_weight + kept;
    int32_t sum = 0;

    for (; its_weight < end; its_weight += 4, its_step += 4) {
        x += its_step[0];
        sum += (int32_t)its_weight[0] * *x;
        x += its_step[1];
        sum += (int32_t)its_weight[1] * *x;
        x += its_step[2];
        sum += (int32_t)its_weight[2] * *x;
        x += its_step[3];
        sum += (int32_t)its_weight[3] * *x;
    }
    return sum;
}
