/* Which multiplier is a row's. */
#define SCALE_OF(row) (ONE_SCALE ? 0 : (row))

/* The parents whose children are asked: the K best, the first of equals, or those by the margin. */
static void route(${name}_work *work, uint32_t its_offset)
{
    int32_t parent, best = 0;

    dense(parent_weight, PARENTS, COLUMNS, work->x, its_offset, work->parent_logits);
    for (parent = 0; parent < PARENTS; parent++) {
        work->asked[parent] = 0;
        work->parent_logits[parent] =
            scaled(work->parent_logits[parent], parent_multiplier[SCALE_OF(parent)]) +
            parent_bias[parent];
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

/* The rows of the parents that are asked, and the last one once more; returns how many. */
static int32_t asked_rows(${name}_work *work)
{
    int32_t parent, row, count = 0;

    for (parent = 0; parent < PARENTS; parent++)
        if (work->asked[parent])
            for (row = first_row[parent]; row < first_row[parent + 1]; row++)
                work->rows[count++] = (uint16_t)row;
    if (count)
        work->rows[count] = work->rows[count - 1];
    return count;
}

/* The logits of the classes that are asked; returns the class of the largest, the first of equals. */
static int32_t ask(${name}_work *work, const int16_t *x, uint32_t its_offset)
{
    int32_t count = asked_rows(work), largest = NOT_ASKED, best = 0, sums[2], i, j;

    for (i = 0; i < count; i += 2) {
        two_dots(child_weight + work->rows[i] * ROW, child_weight + work->rows[i + 1] * ROW, x,
                 CHILD_COLUMNS, its_offset, sums, sums + 1);
        for (j = 0; j < 2; j++) {
            int32_t row = work->rows[i + j], class = class_of[row];
            int32_t logit = scaled(sums[j], child_multiplier[SCALE_OF(row)]) + child_bias[row];

            work->logits[class] = logit;
            if (logit > largest || (logit == largest && class < best)) {
                largest = logit;
                best = class;
            }
        }
    }
    return best;
}

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    const int16_t *x;
    uint32_t its_offset;
    int32_t class;

    read_features(features, work);
    its_offset = offset(work->x, COLUMNS);
    route(work, its_offset);
    x = read_by_children(work, &its_offset);
    for (class = 0; class < CLASSES; class++)
        work->logits[class] = NOT_ASKED;
    return ask(work, x, its_offset);
}
