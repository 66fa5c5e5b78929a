/* The parents whose children are asked: the K best, the first of equals, or those by the margin. */
static void route(${name}_work *work, uint32_t its_offset)
{
    int32_t parent, best = 0;

    dense(parent_weight, PARENTS, COLUMNS, work->x, its_offset, work->parent_logits);
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
static const int16_t *read_by_children(${name}_work *work, uint32_t *its_offset)
{
    int32_t i;

    for (i = 0; i < PARENTS; i++)
        work->hidden[i] = hidden(work->parent_logits[i], &work->saturated);
    for (; i < HIDDEN_COLUMNS; i++)
        work->hidden[i] = 0;
    *its_offset = offset(work->hidden, HIDDEN_COLUMNS);
    return work->hidden;
}
#else
#define CHILD_COLUMNS COLUMNS
static const int16_t *read_by_children(${name}_work *work, uint32_t *its_offset)
{
    (void)its_offset;
    return work->x;
}
#endif

#define ROW (CHILD_COLUMNS / EACH_WORD)

/* The logits of two classes, which may be the same one. */
static void ask(${name}_work *work, int32_t one, int32_t two, const int16_t *x, uint32_t its_offset)
{
    int32_t sum, second_sum;

    two_dots(child_weight + one * ROW, child_weight + two * ROW, x, CHILD_COLUMNS, its_offset, &sum,
             &second_sum);
    work->logits[one] = scaled(sum, child_multiplier[one]) + child_bias[one];
    work->logits[two] = scaled(second_sum, child_multiplier[two]) + child_bias[two];
}

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    const int16_t *x;
    uint32_t its_offset;
    int32_t class, waiting = -1;

    read_features(features, work);
    its_offset = offset(work->x, COLUMNS);
    route(work, its_offset);
    x = read_by_children(work, &its_offset);
    for (class = 0; class < CLASSES; class++) {
        work->logits[class] = NOT_ASKED;
        if (!work->asked[parent_of[class]])
            continue;
        if (waiting < 0) {
            waiting = class;
        } else {
            ask(work, waiting, class, x, its_offset);
            waiting = -1;
        }
    }
    if (waiting >= 0)
        ask(work, waiting, waiting, x, its_offset);
    return largest(work->logits);
}
