/* Chase and Lev's work-stealing deque (SPAA 2005) in the C11 form of Lê et al. (PPoPP 2013), of fixed size.
 *
 * The owner pushes and takes at the bottom, others steal from the top. The two fences of sequential consistency order
 * the owner's write of `bottom` before its read of `top`, and a thief's read of `top` before its read of `bottom`: not
 * both can overlook the other when one value is left, and the compare-and-swap of `top` decides. The release fence in
 * push hands the value to the thief's acquire of `bottom`.
 */
#pragma once

#include "workload.h"

enum { DEQUE_SIZE = 64 };

struct deque {
    APART _Atomic int64_t top;
    APART _Atomic int64_t bottom;
    _Atomic uint64_t values[DEQUE_SIZE];
};

enum outcome { GOT, EMPTY, LOST };

/* Whether there was room. */
static inline int deque_push(struct deque *deque, uint64_t value) {
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    if (bottom - atomic_load_explicit(&deque->top, memory_order_acquire) >= DEQUE_SIZE) return 0;
    atomic_store_explicit(&deque->values[bottom % DEQUE_SIZE], value, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
    return 1;
}

static inline enum outcome deque_take(struct deque *deque, uint64_t *value) {
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed) - 1;
    atomic_store_explicit(&deque->bottom, bottom, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    int64_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    enum outcome outcome = EMPTY;
    if (top <= bottom) {
        *value = atomic_load_explicit(&deque->values[bottom % DEQUE_SIZE], memory_order_relaxed);
        outcome = GOT;
        if (top < bottom) return outcome;
        if (!atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                     memory_order_relaxed))
            outcome = EMPTY;
    }
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
    return outcome;
}

/* LOST: another got the value that this one was about to get. */
static inline enum outcome deque_steal(int hart, struct deque *deque, uint64_t *value) {
    int64_t top = atomic_load_explicit(&deque->top, memory_order_acquire);
    atomic_thread_fence(memory_order_seq_cst);
    int64_t bottom = atomic_load_explicit(&deque->bottom, memory_order_acquire);
    if (top >= bottom) return EMPTY;
    *value = atomic_load_explicit(&deque->values[top % DEQUE_SIZE], memory_order_relaxed);
#if BUG /* moves `top` without comparing: another may have the value */
    linger(hart);
    atomic_store_explicit(&deque->top, top + 1, memory_order_relaxed);
    return GOT;
#else
    (void)hart;
    return atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                   memory_order_relaxed)
               ? GOT
               : LOST;
#endif
}
