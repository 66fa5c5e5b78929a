int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    int32_t class;

    read_features(features, work);
    hide(work);
    dense(upper_weight, CLASSES, HIDDEN_COLUMNS, work->hidden, work->logits);
    for (class = 0; class < CLASSES; class++)
        work->logits[class] =
            scaled(work->logits[class], upper_multiplier[class]) + upper_bias[class];
    return largest(work->logits);
}
