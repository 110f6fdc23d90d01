/* Collatz: the longest chain below a limit; branches that no predictor knows. */
#include "kernel.h"

enum { LIMIT = 600000 };

void kernel_init(void) {}

uint64_t kernel_run(void) {
    uint64_t best = 0, start = 0;
    for (uint64_t i = 1; i < LIMIT; i++) {
        uint64_t n = i, steps = 0;
        while (n != 1) {
            n = n & 1 ? 3 * n + 1 : n / 2;
            steps++;
        }
        if (steps > best) {
            best = steps;
            start = i;
        }
    }
    return best << 32 | start;
}
