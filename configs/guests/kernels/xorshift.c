/* Xorshift64* random numbers: register arithmetic with one long dependency. */
#include "kernel.h"

enum { ROUNDS = 60000000 };
static uint64_t state;

void kernel_init(void) { state = 88172645463325252ull; }

uint64_t kernel_run(void) {
    uint64_t x = state, sum = 0;
    for (int i = 0; i < ROUNDS; i++) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        sum += x * 2685821657736338717ull;
    }
    return sum;
}
