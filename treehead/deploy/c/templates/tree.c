/* The parents whose children are asked: the K best, the first of equals, or those by the margin. */
static void route(${name}_work *work, uint32_t first_sum)
{
    int32_t parent, best = 0;

    dense(parent_weight, PARENTS, COLUMNS, work->x, first_sum, work->parent_logits);
    for (parent = 0; parent < PARENTS; parent++) {
        work->asked[parent] = 0;
        work->parent_logits[parent] =
            scaled(work->parent_logits[parent], parent_multiplier[parent]) + parent_bias[parent];
        if (work->parent_logits[parent] > work->parent_logits[best])
            best = parent;
    }
#if K
    for (int32_t k = 0; k < K; k++) {
        for (best = 0; work->asked[best]; best++)
            ;
        for (parent = best + 1; parent < PARENTS; parent++)
            if (!work->asked[parent] && work->parent_logits[parent] > work->parent_logits[best])
                best = parent;
        work->asked[best] = 1;
    }
#else
    for (parent = 0; parent < PARENTS; parent++)
        work->asked[parent] = work->parent_logits[parent] >= work->parent_logits[best] - MARGIN;
#endif
}

#if HIDDEN
#define CHILD_COLUMNS HIDDEN_COLUMNS
/* The ReLU of the parent logits, which the children read. */
static const int16_t *read_by_children(${name}_work *work, uint32_t *first_sum)
{
    int32_t i;

    for (i = 0; i < PARENTS; i++)
        work->hidden[i] = hidden(work->parent_logits[i], &work->saturated);
    for (; i < HIDDEN_COLUMNS; i++)
        work->hidden[i] = 0;
    *first_sum = start(work->hidden, HIDDEN_COLUMNS);
    return work->hidden;
}
#else
#define CHILD_COLUMNS COLUMNS
static const int16_t *read_by_children(${name}_work *work, uint32_t *first_sum)
{
    (void)first_sum;
    return work->x;
}
#endif

/* The weights of a class. */
static const uint32_t *row(int32_t class)
{
    return child_weight + class * (CHILD_COLUMNS / EACH_WORD);
}

/* The sum of a class as its logit. */
static void finish(${name}_work *work, int32_t class)
{
    work->logits[class] =
        scaled(work->logits[class], child_multiplier[class]) + child_bias[class];
}

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    const int16_t *x;
    uint32_t first_sum;
    int32_t class, waiting = -1;

    read_features(features, work);
    first_sum = start(work->x, COLUMNS);
    route(work, first_sum);
    x = read_by_children(work, &first_sum);
    for (class = 0; class < CLASSES; class++) {
        work->logits[class] = NOT_ASKED;
        if (!work->asked[parent_of[class]])
            continue;
        if (waiting < 0) {
            waiting = class;
            continue;
        }
        two_dots(row(waiting), row(class), x, CHILD_COLUMNS, first_sum, &work->logits[waiting],
                 &work->logits[class]);
        finish(work, waiting);
        finish(work, class);
        waiting = -1;
    }
    if (waiting >= 0) {
        work->logits[waiting] = dot(row(waiting), x, CHILD_COLUMNS, first_sum);
        finish(work, waiting);
    }
    return largest(work->logits);
}
