/* The machine that compiles: it does not count instructions. */
#include <stdio.h>
#include <stdlib.h>

#include "board.h"

static FILE *opened(FILE *file, const char *name, const char *mode)
{
    if (!file)
        file = fopen(name, mode);
    if (!file)
        abort();
    return file;
}

uint32_t take(void *bytes, uint32_t size)
{
    static FILE *file;

    file = opened(file, "features.bin", "rb");
    return (uint32_t)fread(bytes, 1, size, file);
}

void give(const void *bytes, uint32_t size)
{
    static FILE *file;

    file = opened(file, "results.bin", "wb");
    if (fwrite(bytes, 1, size, file) != size || fflush(file))
        abort();
}

uint32_t now(void)
{
    return 0;
}

uint32_t elapsed(uint32_t before, uint32_t after)
{
    return after - before;
}
