/* The parents whose children are asked: the K best, the first of equals. */
static void route(${name}_work *work)
{
    int32_t parent, best, k;

    dense(parent_weight, PARENTS, COLUMNS, work->x, work->parent_logits);
    for (parent = 0; parent < PARENTS; parent++) {
        work->asked[parent] = 0;
        work->parent_logits[parent] =
            scaled(work->parent_logits[parent], parent_multiplier[parent]) + parent_bias[parent];
    }
    for (k = 0; k < K; k++) {
        for (best = 0; work->asked[best]; best++)
            ;
        for (parent = best + 1; parent < PARENTS; parent++)
            if (!work->asked[parent] && work->parent_logits[parent] > work->parent_logits[best])
                best = parent;
        work->asked[best] = 1;
    }
}

#if HIDDEN
/* The ReLU of the parent logits, which the children read. */
static const int16_t *read_by_children(${name}_work *work)
{
    int32_t i;

    for (i = 0; i < PARENTS; i++)
        work->hidden[i] = hidden(work->parent_logits[i], &work->saturated);
    for (; i < HIDDEN_COLUMNS; i++)
        work->hidden[i] = 0;
    return work->hidden;
}
#define CHILD_COLUMNS HIDDEN_COLUMNS
#else
static const int16_t *read_by_children(${name}_work *work)
{
    return work->x;
}
#define CHILD_COLUMNS COLUMNS
#endif

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    const int16_t *x;
    uint32_t first_sum;
    int32_t class, sum;

    read_features(features, work);
    route(work);
    x = read_by_children(work);
    first_sum = start(x, CHILD_COLUMNS);
    for (class = 0; class < CLASSES; class++) {
        work->logits[class] = NOT_ASKED;
        if (work->asked[parent_of[class]]) {
            sum = dot(child_weight + class * CHILD_COLUMNS / EACH_WORD, x, CHILD_COLUMNS,
                      first_sum);
            work->logits[class] = scaled(sum, child_multiplier[class]) + child_bias[class];
        }
    }
    return largest(work->logits);
}
