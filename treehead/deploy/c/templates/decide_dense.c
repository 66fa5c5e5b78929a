/* The logits of the classes that passed all screens, by all features. */
static void decide(${name}_work *work, int32_t count)
{
    uint32_t its_offset = offset(work->x, COLUMNS);
    int32_t i, class, sum;

    for (i = 0; i < count; i++) {
        class = work->alive[i];
        sum = dot(decision_weight + class * COLUMNS / EACH_WORD, work->x, COLUMNS, its_offset);
        work->logits[class] = scaled(sum, decision_multiplier[class]) + decision_bias[class];
    }
}
