/*
 * A Cortex-M under qemu: vectors, files by semihosting, and SysTick, which counts down. With
 * `-icount shift=6` an instruction takes 64 ns, and a tick of its 25 MHz 40 ns.
 */
#include "board.h"

enum { OPEN = 1, WRITE = 5, READ = 6, EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5, FINISHED = 0x20026, FAILED = 0x20023 };

#define SYSTICK ((volatile uint32_t *)0xE000E010)

extern uint32_t stack_top[];
int main(void);
void reset(void);
static void fault(void);

/* The stack, then what reset and the faults start. */
static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors __attribute__((section(".vectors"), used)) = {
    stack_top, {reset, fault, fault, fault, fault, fault}};

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(uint32_t how)
{
    for (;;)
        semihosting(EXIT, (const void *)how);
}

static void fault(void)
{
    leave(FAILED);
}

void reset(void)
{
    SYSTICK[1] = 0xFFFFFF; /* counts from here */
    SYSTICK[2] = 0;
    SYSTICK[0] = 5; /* on, by the processor's clock, without an interrupt */
    leave(main() ? FAILED : FINISHED);
}

static uint32_t opened(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = {(uint32_t)name, mode, length};
    uint32_t file = semihosting(OPEN, arguments);

    if (file == UINT32_MAX)
        leave(FAILED);
    return file;
}

uint32_t take(void *bytes, uint32_t size)
{
    static uint32_t file;
    uint32_t arguments[3] = {0, (uint32_t)bytes, size};

    if (!file)
        file = opened("features.bin", 12, READ_BINARY);
    arguments[0] = file;
    return size - semihosting(READ, arguments);
}

void give(const void *bytes, uint32_t size)
{
    static uint32_t file;
    uint32_t arguments[3] = {0, (uint32_t)bytes, size};

    if (!file)
        file = opened("results.bin", 11, WRITE_BINARY);
    arguments[0] = file;
    if (semihosting(WRITE, arguments))
        leave(FAILED);
}

uint32_t now(void)
{
    return SYSTICK[2];
}

uint32_t elapsed(uint32_t before, uint32_t after)
{
    return ((before - after) & 0xFFFFFF) * 40 / 64;
}
