/*
 * Classify images from the file features.bin, and write to results.bin for each: the class, the
 * count of numbers out of range, the instructions that it took, and the logits.
 */
#include "board.h"
#include "head.h"

typedef struct {
    int32_t class;
    int32_t saturated;
    uint32_t instructions;
    int32_t logits[HEAD_CLASSES];
} result;

/* As many images as are read at once. */
#define CHUNK 8

int main(void)
{
    static head_feature features[CHUNK * HEAD_FEATURES];
    static result results[CHUNK];
    static head_work work;
    uint32_t bytes, i, class;

    while ((bytes = take(features, sizeof features)) > 0) {
        uint32_t count = bytes / (sizeof features / CHUNK);

        for (i = 0; i < count; i++) {
            uint32_t before = now();
            results[i].class = head_predict(features + i * HEAD_FEATURES, &work);
            results[i].instructions = elapsed(before, now());
            results[i].saturated = work.saturated;
            for (class = 0; class < HEAD_CLASSES; class++)
                results[i].logits[class] = work.logits[class];
        }
        give(results, count * (uint32_t)sizeof *results);
    }
    return 0;
}
