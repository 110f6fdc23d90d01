/* Michael and Scott's non-blocking queue (PODC 1996), of nodes that are used again.
 *
 * Links are a node's index and a tag that each change counts up, so that a compare-and-swap does not take a node
 * that went and came back for one that stayed. Nodes are never given back to anybody who would use them otherwise, so
 * that reading a stale one is harmless.
 *
 * A node's value and link are released by the compare-and-swap that links it (or moves head or tail to it) and
 * acquired by the loads of head, tail and next. Head and tail may be read late: the re-read of head or tail
 * behind an acquire load, and the compare-and-swap, find that out.
 */

#include "workload.h"

#define NODES_OF_A_HART 16
#define NODES (HS_HARTS * NODES_OF_A_HART + 1)
#define NONE 0xffffffffu

typedef uint64_t link; /* index, and the tag above it */

static inline link link_to(uint32_t index, link after) { return ((after >> 32) + 1) << 32 | index; }
static inline uint32_t index_of(link l) { return (uint32_t)l; }

static struct node {
    APART _Atomic link next;
    _Atomic uint64_t value; /* atomic: a stale reader may look while the next user writes */
} nodes[NODES];

static APART _Atomic link head;
static APART _Atomic link tail;

/* Each hart's spare nodes, and the sums of what it put in and got out. */
static struct local {
    APART uint32_t spare[NODES];
    unsigned spares;
    uint64_t in, out, removed;
} locals[HS_HARTS];

static int enqueue(int hart, uint64_t value) {
    struct local *me = &locals[hart];
    if (!me->spares) return 0;
    uint32_t mine = me->spare[--me->spares];
    struct node *node = &nodes[mine];
    link last, next;
    atomic_store_explicit(&node->value, value, memory_order_relaxed);
    next = atomic_load_explicit(&node->next, memory_order_relaxed);
    atomic_store_explicit(&node->next, link_to(NONE, next), memory_order_relaxed);
    for (;;) {
        last = atomic_load_explicit(&tail, memory_order_acquire);
        next = atomic_load_explicit(&nodes[index_of(last)].next, memory_order_acquire);
        if (last != atomic_load_explicit(&tail, memory_order_relaxed)) continue;
        if (index_of(next) != NONE) /* help whoever linked it and has not moved the tail */
            atomic_compare_exchange_strong_explicit(&tail, &last, link_to(index_of(next), last), memory_order_release,
                                                    memory_order_relaxed);
        else if (atomic_compare_exchange_strong_explicit(&nodes[index_of(last)].next, &next, link_to(mine, next),
                                                         memory_order_release, memory_order_relaxed))
            break;
    }
    atomic_compare_exchange_strong_explicit(&tail, &last, link_to(mine, last), memory_order_release,
                                            memory_order_relaxed);
    me->in += value;
    return 1;
}

static int dequeue(int hart, uint64_t *value) {
    struct local *me = &locals[hart];
    link first, last, next;
    for (;;) {
        first = atomic_load_explicit(&head, memory_order_acquire);
        last = atomic_load_explicit(&tail, memory_order_acquire);
        next = atomic_load_explicit(&nodes[index_of(first)].next, memory_order_acquire);
        if (first != atomic_load_explicit(&head, memory_order_relaxed)) continue;
        if (index_of(first) == index_of(last)) {
            if (index_of(next) == NONE) return 0;
            atomic_compare_exchange_strong_explicit(&tail, &last, link_to(index_of(next), last), memory_order_release,
                                                    memory_order_relaxed);
            continue;
        }
        /* Before the head moves: after that another hart may dequeue this node's successor and use the node again. */
        *value = atomic_load_explicit(&nodes[index_of(next)].value, memory_order_relaxed);
        if (atomic_compare_exchange_strong_explicit(&head, &first, link_to(index_of(next), first),
                                                    memory_order_acq_rel, memory_order_relaxed))
            break;
    }
#if BUG /* reads the value too late */
    linger(hart);
    *value = atomic_load_explicit(&nodes[index_of(next)].value, memory_order_relaxed);
#endif
    me->spare[me->spares++] = index_of(first);
    me->out += *value;
    me->removed++;
    return 1;
}

void prepare(int harts) {
    for (int h = 0; h < harts; h++)
        for (int i = 0; i < NODES_OF_A_HART; i++)
            locals[h].spare[locals[h].spares++] = (uint32_t)(h * NODES_OF_A_HART + i);
    atomic_store(&nodes[NODES - 1].next, NONE);
    atomic_store(&head, NODES - 1);
    atomic_store(&tail, NODES - 1);
}

enum { ENQUEUE = 1, DEQUEUE, DEQUEUE_EMPTY };

void work(int hart, int harts) {
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        uint64_t value = (uint64_t)(hart + 1) << 32 | n, invoked = draw();
        if (random_number(hart) % 2 && enqueue(hart, value)) {
            record(hart, n, invoked, ENQUEUE, 0, value);
        } else {
            int got = dequeue(hart, &value);
            record(hart, n, invoked, got ? DEQUEUE : DEQUEUE_EMPTY, 0, got ? value : 0);
        }
        did(hart, 1);
    }
}

uint64_t sum_in, sum_out, nodes_left;

/* What is left in the queue comes out, too; a queue that ends in a circle is no reason not to end. */
void finish(int harts) {
    uint64_t value;
    for (int i = 0; i < NODES && dequeue(0, &value); i++) {
    }
    for (int h = 0; h < harts; h++) {
        sum_in += locals[h].in;
        sum_out += locals[h].out;
        nodes_left += locals[h].spares;
    }
}
