/* Keep the classes whose logits are not further below the best than the margin. */
static int32_t passed(${name}_work *work, int32_t count, int32_t least)
{
    int32_t i, kept = 0;

    for (i = 0; i < count; i++) {
        if (work->logits[work->alive[i]] >= least)
            work->alive[kept++] = work->alive[i];
        else
            work->logits[work->alive[i]] = NOT_ASKED;
    }
    return kept;
}

int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work)
{
    const int8_t *its_weight = screen_weight;
    const step_type *its_step = screen_step;
    int32_t i, class, screen, kept, best, count = CLASSES;

    read_features(features, work);
    for (class = 0; class < CLASSES; class++) {
        work->alive[class] = (uint16_t)class;
        work->sum[class] = 0;
    }
    for (screen = 0; screen < SCREENS; screen++) {
        kept = added[screen];
        best = INT32_MIN;
        for (i = 0; i < count; i++) {
            class = work->alive[i];
            work->sum[class] +=
                gathered(its_weight + class * kept, its_step + class * kept, kept, work->x);
            work->logits[class] = scaled(work->sum[class], screen_multiplier[class])
                                  + screen_bias[screen * CLASSES + class];
            if (work->logits[class] > best)
                best = work->logits[class];
        }
        count = passed(work, count, best - margin[screen]);
        if (count == 1)
            return work->alive[0];
        its_weight += CLASSES * kept;
        its_step += CLASSES * kept;
    }
    decide(work, count);
    return largest(work->logits);
}
