/* Pools of tasks, one after the other: each hart begins with a task of its own, each task makes two more down to DEPTH.
 * Harts do their own tasks, newest first, and steal others' oldest. OPERATIONS says how many pools there are.
 *
 * `outstanding` may be relaxed: a task is added before it is pushed and subtracted after it was taken, so the deque's own
 * orderings put the one before the other; and what the tasks did is handed over by the start of the next pool, and the
 * barrier at the end.
 */

#include "deque.h"

#ifndef DEPTH
#define DEPTH 4
#endif

/* The tasks that come of one are numbered as in a heap: n makes 2n and 2n + 1. */
#define TASKS ((1u << (DEPTH + 1)) - 1)
#define TREE (TASKS + 1) /* numbers from one hart's tasks to the next one's */

static struct deque deques[HS_HARTS];
static APART _Atomic int64_t outstanding;
static _Atomic uint8_t ran[OPERATIONS][HS_HARTS * TREE];

static void run(int hart, int pool, uint64_t task) {
    uint64_t first = task / TREE * TREE, n = task % TREE;
    if (n < 1u << DEPTH) {
        atomic_fetch_add_explicit(&outstanding, 2, memory_order_relaxed);
        for (uint64_t child = 2 * n; child < 2 * n + 2; child++)
            if (!deque_push(&deques[hart], first + child)) run(hart, pool, first + child);
    }
    atomic_fetch_add_explicit(&ran[pool][task], 1, memory_order_relaxed);
    did(hart, 1);
    atomic_fetch_sub_explicit(&outstanding, 1, memory_order_relaxed);
}

void prepare(int harts) { (void)harts; }

/* Empties the deques first, for a bug may leave them in any state. */
static void fill(int harts) {
    atomic_store_explicit(&outstanding, harts, memory_order_relaxed);
    for (int i = 0; i < harts; i++) {
        atomic_store_explicit(&deques[i].top, 0, memory_order_relaxed);
        atomic_store_explicit(&deques[i].bottom, 0, memory_order_relaxed);
        deque_push(&deques[i], (uint64_t)i * TREE + 1);
    }
}

/* `> 0` rather than `!= 0`: tasks that a bug lets run twice are subtracted twice. */
void work(int hart, int harts) {
    for (int pool = 0; pool < OPERATIONS; pool++) {
        uint64_t task;
        start_together(hart, harts, fill);
        while (atomic_load_explicit(&outstanding, memory_order_relaxed) > 0) {
            int victim = (int)(random_number(hart) % (uint64_t)harts);
            if (deque_take(&deques[hart], &task) == GOT || deque_steal(hart, &deques[victim], &task) == GOT)
                run(hart, pool, task);
            else
                relax();
        }
    }
}

uint64_t not_once; /* tasks that did not run exactly once */

void finish(int harts) {
    for (int pool = 0; pool < OPERATIONS; pool++)
        for (int i = 0; i < harts; i++)
            for (unsigned n = 1; n <= TASKS; n++)
                not_once += atomic_load_explicit(&ran[pool][i * TREE + n], memory_order_relaxed) != 1;
}
