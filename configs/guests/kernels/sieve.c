/* Sieve of Eratosthenes: byte stores with strides, byte loads. */
#include "kernel.h"

enum { LIMIT = 200000, ROUNDS = 60 };
static unsigned char composite[LIMIT];

void kernel_init(void) {}

uint64_t kernel_run(void) {
    uint64_t primes = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < LIMIT; i++) composite[i] = 0;
        for (int i = 2; i < LIMIT; i++) {
            if (composite[i]) continue;
            primes++;
            for (int j = 2 * i; j < LIMIT; j += i) composite[j] = 1;
        }
    }
    return primes;
}
