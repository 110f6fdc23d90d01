/* What C has no words for: LR/SC, and a stack whose pop is one LR/SC pair with a load between.
 *
 * Elsewhere than on RISC-V: what a program does there in its place. A stack's pop by compare-and-swap needs a tag beside
 * the pointer, or A -> B -> A breaks it.
 */
#pragma once

#include "contention.h"

struct node {
    APART struct node *next;
    uint64_t owner; /* 1 + the worker that popped it, or 0 */
};

#ifdef __riscv

typedef _Atomic(struct node *) stack_head;

/* Constrained: one compare-and-swap would do as well. */
static inline void lrsc_increment(_Atomic uint64_t *counter) {
    uint64_t value, failed;
    __asm__ volatile("1: lr.d %0, %2\n"
                     "   addi %0, %0, 1\n"
                     "   sc.d %1, %0, %2\n"
                     "   bnez %1, 1b\n"
                     : "=&r"(value), "=&r"(failed), "+A"(*counter)::"memory");
}

/* The load between is what a compare-and-swap cannot stand for. */
static inline void lrsc_add_loaded(_Atomic uint64_t *counter, const uint64_t *step) {
    uint64_t value, failed;
    __asm__ volatile("1: lr.d %0, %2\n"
                     "   ld %1, %3\n"
                     "   add %0, %0, %1\n"
                     "   sc.d %1, %0, %2\n"
                     "   bnez %1, 1b\n"
                     : "=&r"(value), "=&r"(failed), "+A"(*counter)
                     : "m"(*step)
                     : "memory");
}

static inline struct node *stack_pop(stack_head *head) {
    struct node *node, *next;
    uint64_t failed;
    __asm__ volatile("1: lr.d.aq %0, %3\n"
                     "   beqz %0, 2f\n"
                     "   ld %1, 0(%0)\n"
                     "   sc.d.rl %2, %1, %3\n"
                     "   bnez %2, 1b\n"
                     "2:\n"
                     : "=&r"(node), "=&r"(next), "=&r"(failed), "+A"(*head)::"memory");
    return node;
}

static inline void stack_push(stack_head *head, struct node *node) {
    struct node *old = atomic_load_explicit(head, memory_order_relaxed);
    do node->next = old;
    while (!atomic_compare_exchange_weak_explicit(head, &old, node, memory_order_release, memory_order_relaxed));
}

static inline struct node *stack_top(stack_head *head) { return atomic_load(head); }

#else

typedef _Atomic uintptr_t stack_head;

#define TAG ((uintptr_t)1 << 48)

static inline void lrsc_increment(_Atomic uint64_t *counter) {
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(counter, &value, value + 1)) {
    }
}

static inline void lrsc_add_loaded(_Atomic uint64_t *counter, const uint64_t *step) {
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(counter, &value, value + *(const volatile uint64_t *)step)) {
    }
}

static inline struct node *pointer_of(uintptr_t word) { return (struct node *)(word & (TAG - 1)); }

static inline struct node *stack_pop(stack_head *head) {
    uintptr_t old = atomic_load_explicit(head, memory_order_acquire), new;
    do {
        if (!pointer_of(old)) return NULL;
        new = (old & ~(TAG - 1)) + TAG + (uintptr_t)((volatile struct node *)pointer_of(old))->next;
    } while (!atomic_compare_exchange_weak_explicit(head, &old, new, memory_order_acq_rel, memory_order_acquire));
    return pointer_of(old);
}

static inline void stack_push(stack_head *head, struct node *node) {
    uintptr_t old = atomic_load_explicit(head, memory_order_relaxed), new;
    do {
        node->next = pointer_of(old);
        new = (old & ~(TAG - 1)) + TAG + (uintptr_t)node;
    } while (!atomic_compare_exchange_weak_explicit(head, &old, new, memory_order_release, memory_order_relaxed));
}

static inline struct node *stack_top(stack_head *head) { return pointer_of(atomic_load(head)); }

#endif
