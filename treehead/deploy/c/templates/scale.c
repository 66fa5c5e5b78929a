/* A sum of products in the unit of logits: the high word of the product, rounded. */
static int32_t scaled(int32_t sum, int32_t its_multiplier)
{
    return (int32_t)(((int64_t)sum * its_multiplier + ((int64_t)1 << 31)) >> 32);
}
