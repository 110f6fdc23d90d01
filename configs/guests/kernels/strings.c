/* strlen, memcpy, memcmp and memchr as a plain C library has them, on strings of mixed length. */
#include "kernel.h"

enum { STRINGS = 512, WIDTH = 128, ROUNDS = 240 };
static char from[STRINGS][WIDTH], to[STRINGS][WIDTH];

static __attribute__((noinline)) size_t length(const char *s) {
    const char *e = s;
    while (*e) e++;
    return (size_t)(e - s);
}

static __attribute__((noinline)) void copy(char *t, const char *f, size_t size) {
    for (; size >= 8; size -= 8, t += 8, f += 8) {
        uint64_t word;
        __builtin_memcpy(&word, f, 8);
        __builtin_memcpy(t, &word, 8);
    }
    while (size--) *(volatile char *)t++ = *f++;
}

static __attribute__((noinline)) int compare(const char *a, const char *b, size_t size) {
    for (; size; size--, a++, b++)
        if (*a != *b) return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

void kernel_init(void) {
    uint32_t x = 7;
    for (int i = 0; i < STRINGS; i++) {
        x = x * 1664525u + 1013904223u;
        int size = (int)(x >> 24) % (WIDTH - 1);
        for (int k = 0; k < size; k++) from[i][k] = (char)('a' + (i * 31 + k) % 26);
    }
}

uint64_t kernel_run(void) {
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < STRINGS; i++) {
            size_t size = length(from[i]);
            copy(to[(i + round) % STRINGS], from[i], size + 1);
            sum += size;
        }
        for (int i = 1; i < STRINGS; i++) sum += (uint64_t)compare(to[i - 1], to[i], 24);
    }
    return sum;
}
