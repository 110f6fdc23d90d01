/* Runs a kernel as a guest: prints the checksum and the time of each repetition in nanoseconds. */

#include "hartstorm.h"
#include "kernel.h"

#ifndef REPETITIONS
#define REPETITIONS 1
#endif

/* mtime counts 10 MHz. */
static uint64_t now(void) {
    uint64_t ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks));
    return ticks * 100;
}

int main(int hart, int harts) {
    (void)harts;
    if (hart) return 0;
    kernel_init();
    for (int i = 0; i < REPETITIONS; i++) {
        uint64_t start = now();
        uint64_t sum = kernel_run();
        uint64_t time = now() - start;
        hs_print_number("", (long)sum, "");
        hs_print_number(" ", (long)time, "\n");
    }
    return 0;
}
