/* A counter that all harts increment: COUNT_BY an AMO, LR/SC, compare-and-swap, or an AMO on one byte.
 *
 * Every ordering is relaxed: a counter's increments have one order by coherence alone, and nothing else is read because
 * of what one returned. That hart 0 reads the last value is hs_barrier's doing.
 */

#include "workload.h"

#define AMO 0
#define LRSC 1
#define CAS 2
#define BYTE_AMO 3

#ifndef COUNT_BY
#define COUNT_BY AMO
#endif

/* The byte counters share their word: what one hart does to its byte must leave the others' alone. */
APART union {
    _Atomic uint64_t whole;
    _Atomic uint8_t byte[8];
} counter;

/* The value before. */
static uint64_t increment(int hart) {
#if COUNT_BY == BYTE_AMO
#if BUG /* the byte is updated by way of its word */
    unsigned shift = 8 * (hart % 8);
    uint64_t word = atomic_load_explicit(&counter.whole, memory_order_relaxed), mask = 0xffull << shift;
    linger(hart);
    atomic_store_explicit(&counter.whole, (word & ~mask) | ((word + (1ull << shift)) & mask), memory_order_relaxed);
    return word >> shift & 0xff;
#else
    return atomic_fetch_add_explicit(&counter.byte[hart % 8], 1, memory_order_relaxed);
#endif
#elif COUNT_BY == LRSC
    uint64_t before, after, failed;
#if BUG /* does not look whether the SC succeeded */
    __asm__ volatile("lr.d %0, %1" : "=r"(before), "+A"(counter.whole));
    linger(hart);
    after = before + 1;
    __asm__ volatile("sc.d %0, %2, %1" : "=r"(failed), "+A"(counter.whole) : "r"(after));
#else
    (void)hart;
    __asm__ volatile("1: lr.d %0, %3\n"
                     "   addi %1, %0, 1\n"
                     "   sc.d %2, %1, %3\n"
                     "   bnez %2, 1b\n"
                     : "=&r"(before), "=&r"(after), "=&r"(failed), "+A"(counter.whole));
#endif
    return before;
#else
    uint64_t before = atomic_load_explicit(&counter.whole, memory_order_relaxed);
#if BUG /* a load and a store, not an AMO; a store without the comparison */
    linger(hart);
    atomic_store_explicit(&counter.whole, before + 1, memory_order_relaxed);
    return before;
#elif COUNT_BY == CAS
    (void)hart;
    while (!atomic_compare_exchange_weak_explicit(&counter.whole, &before, before + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    return before;
#else
    (void)hart, (void)before;
    return atomic_fetch_add_explicit(&counter.whole, 1, memory_order_relaxed);
#endif
#endif
}

void prepare(int harts) { (void)harts; }

void work(int hart, int harts) {
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        uint64_t invoked = draw(), before = increment(hart);
        record(hart, n, invoked, 1, 0, before);
        did(hart, 1);
    }
}

/* What the counter is and what it must be: of bytes, each as many as its harts did, modulo 256. */
uint64_t expected, counted;

void finish(int harts) {
    counted = atomic_load_explicit(&counter.whole, memory_order_relaxed);
    expected = operations;
    if (COUNT_BY != BYTE_AMO) return;
    uint8_t bytes[8] = {0};
    for (int i = 0; i < harts; i++) bytes[i % 8] += (uint8_t)accounts[i].done;
    expected = 0;
    for (int i = 0; i < 8; i++) expected |= (uint64_t)bytes[i] << 8 * i;
}
