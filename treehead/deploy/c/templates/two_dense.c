/* The logits of two dense layers. */
static void two_dense(${name}_work *work)
{
    int32_t class;

    hide(work);
    dense(upper_weight, CLASSES, HIDDEN_COLUMNS, work->hidden,
          offset(work->hidden, HIDDEN_COLUMNS), work->logits);
    for (class = 0; class < CLASSES; class++)
        work->logits[class] =
            scaled(work->logits[class], upper_multiplier[class]) + upper_bias[class];
}
