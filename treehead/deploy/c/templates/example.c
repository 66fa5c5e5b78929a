/* Golden vectors of $name: the exit status is 0 if the class of each is as expected. */
#include "$name.h"

#define EXAMPLES $count

static const ${name}_feature features[EXAMPLES * ${NAME}_FEATURES] = {
$features};
static const int32_t expected[EXAMPLES] = {
$expected};

int main(void)
{
    static ${name}_work work;
    int32_t i;

    for (i = 0; i < EXAMPLES; i++)
        if (${name}_predict(features + i * ${NAME}_FEATURES, &work) != expected[i])
            return 1;
    return 0;
}
