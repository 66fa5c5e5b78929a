int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    int32_t class;

    read_features(features, work);
    for (class = 0; class < CLASSES; class++)
        work->logits[class] = bias[class];
#if TWO_GROUPS
    add_two(work);
#endif
#if THREE_GROUPS
    add_three(work);
#endif
    return largest(work->logits);
}
