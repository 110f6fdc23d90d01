/* Lamport's ring with one producer and one consumer: each hart fills its own, which the next hart empties.
 *
 * Producer and consumer each write one index, and read the other's. Writing one releases, reading the other's acquires:
 * a slot's value is there before `tail` says so, and was read before `head` says that. Reading one's own is relaxed.
 */

#include "workload.h"

#ifndef CAPACITY
#define CAPACITY 8
#endif

static struct ring {
    APART _Atomic uint64_t tail;
    APART _Atomic uint64_t head;
    volatile uint64_t slots[CAPACITY]; /* volatile for the bug's sake: the indices keep their users apart */
} rings[HS_HARTS];

static int enqueue(int hart, struct ring *ring, uint64_t value) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) == CAPACITY) return 0;
#if BUG /* says that the value is there, then puts it there: what a missing release permits */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_relaxed);
    linger(hart);
    ring->slots[tail % CAPACITY] = value;
#else
    (void)hart;
    ring->slots[tail % CAPACITY] = value;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
#endif
    return 1;
}

static int dequeue(struct ring *ring, uint64_t *value) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (atomic_load_explicit(&ring->tail, memory_order_acquire) == head) return 0;
    *value = ring->slots[head % CAPACITY];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return 1;
}

static struct {
    APART uint64_t in, out;
} locals[HS_HARTS];

enum { ENQUEUE = 1, DEQUEUE, DEQUEUE_EMPTY, ENQUEUE_FULL };

void prepare(int harts) { (void)harts; }

void work(int hart, int harts) {
    int before = (hart + harts - 1) % harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        uint64_t value = (uint64_t)(hart + 1) << 32 | n, invoked = draw();
        if (random_number(hart) % 2) {
            int put = enqueue(hart, &rings[hart], value);
            record(hart, n, invoked, put ? ENQUEUE : ENQUEUE_FULL, (unsigned)hart, value);
            locals[hart].in += put ? value : 0;
        } else {
            int got = dequeue(&rings[before], &value);
            record(hart, n, invoked, got ? DEQUEUE : DEQUEUE_EMPTY, (unsigned)before, got ? value : 0);
            locals[hart].out += got ? value : 0;
        }
        did(hart, 1);
    }
}

uint64_t sum_in, sum_out;

void finish(int harts) {
    for (int h = 0; h < harts; h++) {
        uint64_t value;
        while (dequeue(&rings[h], &value)) sum_out += value;
        sum_in += locals[h].in;
        sum_out += locals[h].out;
    }
}
