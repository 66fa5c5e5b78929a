/* The class of the largest logit, the first of equals. */
static int32_t largest(const int32_t *logits)
{
    int32_t class, best = 0;

    for (class = 1; class < CLASSES; class++)
        if (logits[class] > logits[best])
            best = class;
    return best;
}
