/* What a machine gives the harness: files, and a clock of instructions. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Read up to so many bytes of features.bin, and say how many; write bytes to results.bin. */
uint32_t take(void *bytes, uint32_t size);
void give(const void *bytes, uint32_t size);

uint32_t now(void);
uint32_t elapsed(uint32_t before, uint32_t after);

#endif
