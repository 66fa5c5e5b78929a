/* The logits of the classes that passed all screens, by some weights of each. */
static void decide(${name}_work *work, int32_t count)
{
    int32_t i, class, sum;

    for (i = 0; i < count; i++) {
        class = work->alive[i];
        sum = gathered(decision_weight + class * DECISION_KEPT,
                       decision_step + class * DECISION_KEPT, DECISION_KEPT, work->x);
        work->logits[class] = scaled(sum, decision_multiplier[class]) + decision_bias[class];
    }
}
