/* Treiber's stack, of nodes that are used again at once. Pop is one LR/SC pair with the load of the next node between.
 *
 * Push releases the node it links; pop's LR acquires it. What pop writes, another pop reads: an SC continues the release
 * of the push before it, as every read-modify-write does, so it needs none of its own.
 */

#include "workload.h"

#define NODES_OF_A_HART 4
#define NODES (HS_HARTS * NODES_OF_A_HART)

static struct node {
    APART _Atomic(struct node *) next; /* first: pop loads it by offset 0. Atomic, as a late pop may look at it */
    uint64_t value;
} nodes[NODES];
static APART _Atomic(struct node *) top;

static struct {
    APART struct node *spare[NODES];
    unsigned spares;
    uint64_t in, out;
} locals[HS_HARTS];

static void push(struct node *node) {
    struct node *old = atomic_load_explicit(&top, memory_order_relaxed);
    do atomic_store_explicit(&node->next, old, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&top, &old, node, memory_order_release, memory_order_relaxed));
}

static struct node *pop(int hart) {
    struct node *node, *next;
#if BUG /* compares: A -> B -> A goes unnoticed */
    node = atomic_load_explicit(&top, memory_order_acquire);
    do {
        if (!node) return NULL;
        next = atomic_load_explicit(&node->next, memory_order_relaxed);
        linger(hart);
    } while (!atomic_compare_exchange_weak_explicit(&top, &node, next, memory_order_acquire, memory_order_acquire));
#else
    uint64_t failed;
    (void)hart;
    __asm__ volatile("1: lr.d.aq %0, %3\n"
                     "   beqz %0, 2f\n"
                     "   ld %1, 0(%0)\n"
                     "   sc.d %2, %1, %3\n"
                     "   bnez %2, 1b\n"
                     "2:\n"
                     : "=&r"(node), "=&r"(next), "=&r"(failed), "+A"(top)::"memory");
#endif
    return node;
}

void prepare(int harts) {
    for (int h = 0; h < harts; h++)
        for (int i = 0; i < NODES_OF_A_HART; i++)
            locals[h].spare[locals[h].spares++] = &nodes[h * NODES_OF_A_HART + i];
}

enum { PUSH = 1, POP, POP_EMPTY };

void work(int hart, int harts) {
    __typeof__(locals[0]) *me = &locals[hart];
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        struct node *node;
        uint64_t invoked;
        if (me->spares && (random_number(hart) % 2 || me->spares == NODES)) {
            uint64_t value = (uint64_t)(hart + 1) << 32 | n;
            /* Any: were it the last that was popped, one hart alone would only ever put things back as they were. */
            unsigned i = random_number(hart) % me->spares;
            node = me->spare[i];
            me->spare[i] = me->spare[--me->spares];
            node->value = value;
            me->in += value;
            invoked = draw();
            push(node);
            record(hart, n, invoked, PUSH, 0, value);
        } else {
            invoked = draw();
            node = pop(hart);
            record(hart, n, invoked, node ? POP : POP_EMPTY, 0, node ? node->value : 0);
            if (node) {
                me->spare[me->spares++] = node;
                me->out += node->value;
            }
        }
        did(hart, 1);
    }
}

uint64_t sum_in, sum_out, nodes_left;

/* What is left on the stack comes off, too; a stack that ends in a circle is no reason not to end. */
void finish(int harts) {
    struct node *node = atomic_load_explicit(&top, memory_order_relaxed);
    for (int i = 0; i <= NODES && node; i++) {
        sum_out += node->value;
        nodes_left++;
        node = atomic_load_explicit(&node->next, memory_order_relaxed);
    }
    for (int h = 0; h < harts; h++) {
        sum_in += locals[h].in;
        sum_out += locals[h].out;
        nodes_left += locals[h].spares;
    }
}
