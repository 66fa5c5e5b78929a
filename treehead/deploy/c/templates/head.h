/*
$about */
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stdint.h>

#define ${NAME}_FEATURES $dim
#define ${NAME}_CLASSES $classes
/* A logit is logits[class] * 2^-${NAME}_FRACTION. */
#define ${NAME}_FRACTION ($fraction)
/* The logit of a class that was not asked. */
#define ${NAME}_NOT_ASKED INT32_MIN
#define ${NAME}_WORK_BYTES $work_bytes

/* A feature is $scale * (number - ($zero)). */
typedef ${feature}_t ${name}_feature;

/* What a prediction needs, and leaves behind. */
typedef struct {
    int32_t logits[${NAME}_CLASSES];
    int32_t saturated; /* how many numbers were out of range, and taken as the nearest in it */
$work} ${name}_work;

/* The class of an image by its features. */
int32_t ${name}_predict(const ${name}_feature *features, ${name}_work *work);

#endif
