/* Recursive quicksort: data-dependent branches, calls, a stack. */
#include "kernel.h"

enum { SIZE = 100000, ROUNDS = 12 };
static int64_t data[SIZE];
static uint64_t seed;

void kernel_init(void) { seed = 12345; }

static __attribute__((noinline)) void sort(int64_t *low, int64_t *high) {
    while (high - low > 12) {
        int64_t pivot = low[(high - low) / 2], *i = low, *j = high;
        while (i <= j) {
            while (*i < pivot) i++;
            while (*j > pivot) j--;
            if (i <= j) {
                int64_t t = *i;
                *i++ = *j;
                *j-- = t;
            }
        }
        sort(low, j);
        low = i;
    }
    for (int64_t *i = low + 1; i <= high; i++) {
        int64_t t = *i, *j = i;
        for (; j > low && j[-1] > t; j--) *j = j[-1];
        *j = t;
    }
}

uint64_t kernel_run(void) {
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SIZE; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            data[i] = (int64_t)seed >> 20;
        }
        sort(data, data + SIZE - 1);
        for (int i = 0; i < SIZE; i += 1000) sum = sum * 31 + (uint64_t)data[i];
    }
    return sum;
}
