/* A sum of weights, one of each group of features; a byte holds the places in four groups. */
static int32_t grouped(const int8_t *its_weight, const uint8_t *its_code, const int16_t *x)
{
    const int8_t *end = its_weight + KEPT;
    int32_t sum = 0;
    uint32_t four;

    for (; its_weight < end; its_weight += 4, x += 4 * GROUP) {
        four = *its_code++;
        sum += (int32_t)its_weight[0] * x[four & 3];
        sum += (int32_t)its_weight[1] * x[GROUP + (four >> 2 & 3)];
        sum += (int32_t)its_weight[2] * x[2 * GROUP + (four >> 4 & 3)];
        sum += (int32_t)its_weight[3] * x[3 * GROUP + (four >> 6)];
    }
    return sum;
}
