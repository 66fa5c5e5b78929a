/* The least preview of the classes that the full layer looks at. */
static int32_t least(const int32_t *previews)
{
#if K
    int32_t best[K], class, place;

    for (place = 0; place < K; place++)
        best[place] = INT32_MIN;
    for (class = 0; class < CLASSES; class++) {
        if (previews[class] <= best[K - 1])
            continue;
        for (place = K - 1; place > 0 && best[place - 1] < previews[class]; place--)
            best[place] = best[place - 1];
        best[place] = previews[class];
    }
    return best[K - 1];
#else
    return previews[largest(previews)] - MARGIN;
#endif
}

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    int32_t class, sum, from;
    uint32_t its_offset;

    read_features(features, work);
    two_dense(work);
    from = least(work->logits);
    its_offset = offset(work->x, COLUMNS);
    for (class = 0; class < CLASSES; class++) {
        if (work->logits[class] < from) {
            work->logits[class] = NOT_ASKED;
            continue;
        }
        sum = dot(weight + class * COLUMNS / EACH_WORD, work->x, COLUMNS, its_offset);
        work->logits[class] = scaled(sum, multiplier[class]) + bias[class];
    }
    return largest(work->logits);
}
