/* A ring with many producers and consumers, who wait in turn for a slot: Vyukov's, with tickets drawn by AMO.
 *
 * Tickets are relaxed: they only say which slot and which turn. A slot's turn hands it over: written with release by who
 * is done with it, read with acquire by who comes next.
 */

#include "workload.h"

enum { CAPACITY = 4 };

static struct slot {
    APART _Atomic uint64_t turn; /* 2n: for the n-th producer, 2n + 1: for the n-th consumer */
    volatile uint64_t value;     /* volatile for the bug's sake: turns keep its users apart */
} slots[CAPACITY];
static APART _Atomic uint64_t tail;
static APART _Atomic uint64_t head;

static void enqueue(uint64_t value) {
    uint64_t mine = atomic_fetch_add_explicit(&tail, 1, memory_order_relaxed), turn = mine / CAPACITY * 2;
    struct slot *slot = &slots[mine % CAPACITY];
    while (atomic_load_explicit(&slot->turn, memory_order_acquire) != turn) relax();
    slot->value = value;
    atomic_store_explicit(&slot->turn, turn + 1, memory_order_release);
}

static uint64_t dequeue(int hart) {
    uint64_t mine = atomic_fetch_add_explicit(&head, 1, memory_order_relaxed), turn = mine / CAPACITY * 2 + 1;
    struct slot *slot = &slots[mine % CAPACITY];
    while (atomic_load_explicit(&slot->turn, memory_order_acquire) != turn) relax();
#if BUG /* hands the slot on, then reads it: what a missing release permits */
    atomic_store_explicit(&slot->turn, turn + 1, memory_order_relaxed);
    linger(hart);
    return slot->value;
#else
    (void)hart;
    uint64_t value = slot->value;
    atomic_store_explicit(&slot->turn, turn + 1, memory_order_release);
    return value;
#endif
}

static struct {
    APART uint64_t in, out;
} locals[HS_HARTS];

enum { ENQUEUE = 1, DEQUEUE };

void prepare(int harts) { (void)harts; }

/* In, out, in, out: a consumer has put in before, so none waits for ever. */
void work(int hart, int harts) {
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        uint64_t value = (uint64_t)(hart + 1) << 32 | n, invoked = draw();
        if (n % 2 == 0) {
            enqueue(value);
            locals[hart].in += value;
        } else {
            value = dequeue(hart);
            locals[hart].out += value;
        }
        record(hart, n, invoked, n % 2 == 0 ? ENQUEUE : DEQUEUE, 0, value);
        did(hart, 1);
    }
}

uint64_t sum_in, sum_out;

void finish(int harts) {
    for (int h = 0; h < harts; h++) {
        sum_in += locals[h].in;
        sum_out += locals[h].out;
    }
    while (atomic_load_explicit(&head, memory_order_relaxed) < atomic_load_explicit(&tail, memory_order_relaxed))
        sum_out += dequeue(0);
}
