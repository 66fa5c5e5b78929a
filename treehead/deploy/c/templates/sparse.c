int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    int32_t class, sum;

    read_features(features, work);
    for (class = 0; class < CLASSES; class++) {
#if GROUPED
        sum = grouped(weight + class * KEPT, code + class * (KEPT / 4), work->x);
#else
        sum = gathered(weight + class * KEPT, step + class * KEPT, KEPT, work->x);
#endif
        work->logits[class] = scaled(sum, multiplier[class]) + bias[class];
    }
    return largest(work->logits);
}
