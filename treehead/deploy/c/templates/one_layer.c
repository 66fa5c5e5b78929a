int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    int32_t class;

    read_features(features, work);
    dense(weight, CLASSES, COLUMNS, work->x, offset(work->x, COLUMNS), work->logits);
    for (class = 0; class < CLASSES; class++)
        work->logits[class] = scaled(work->logits[class], multiplier[class]) + bias[class];
    return largest(work->logits);
}
