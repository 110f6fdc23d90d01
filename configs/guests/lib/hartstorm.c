/* The functions of hartstorm.h, and those that compilers call by themselves (memcpy, memset). */

#include "hartstorm.h"

#include <stddef.h>

extern volatile uint64_t tohost;

/* HTIF device 1 (console), command 1 (write one character). */
static const uint64_t CONSOLE_WRITE = (1ull << 56) | (1ull << 48);

#if defined(__riscv_zaamo) || defined(__riscv_zalrsc)

static atomic_int console_busy;

static void console_lock(void) {
    while (atomic_exchange_explicit(&console_busy, 1, memory_order_acquire)) {
    }
}

static void console_unlock(void) { atomic_store_explicit(&console_busy, 0, memory_order_release); }

static atomic_int barrier_arrived, barrier_round;

void hs_barrier(int harts) {
    int round = atomic_load(&barrier_round);
    if (atomic_fetch_add(&barrier_arrived, 1) + 1 == harts) {
        atomic_store(&barrier_arrived, 0);
        atomic_store(&barrier_round, round + 1);
    } else {
        while (atomic_load(&barrier_round) == round) {
        }
    }
}

#else /* nothing to lock with: characters of several harts may mix */

static void console_lock(void) {}
static void console_unlock(void) {}

#endif

static void put(char c) {
    while (tohost) {
    }
    tohost = CONSOLE_WRITE | (unsigned char)c;
}

static void put_text(const char *text) {
    while (*text) put(*text++);
}

void hs_print(const char *text) {
    console_lock();
    put_text(text);
    console_unlock();
}

void hs_print_number(const char *before, long number, const char *after) {
    char digits[20];
    int n = 0;
    unsigned long rest = number < 0 ? -(unsigned long)number : (unsigned long)number;
    do digits[n++] = (char)('0' + rest % 10);
    while (rest /= 10);
    console_lock();
    put_text(before);
    if (number < 0) put('-');
    while (n) put(digits[--n]);
    put_text(after);
    console_unlock();
}

__attribute__((no_builtin)) void *memcpy(void *to, const void *from, size_t size) {
    char *t = to;
    const char *f = from;
    while (size--) *t++ = *f++;
    return to;
}

__attribute__((no_builtin)) void *memmove(void *to, const void *from, size_t size) {
    char *t = to;
    const char *f = from;
    if (t < f) return memcpy(to, from, size);
    while (size--) t[size] = f[size];
    return to;
}

__attribute__((no_builtin)) void *memset(void *to, int value, size_t size) {
    char *t = to;
    while (size--) *t++ = (char)value;
    return to;
}

__attribute__((no_builtin)) int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *x = a, *y = b;
    for (; size; size--, x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}
