/* A pool of tasks, each of which makes two more down to DEPTH. Harts do their own, newest first, and steal the oldest.
 *
 * `outstanding` may be relaxed: a task is added before it is pushed and subtracted after it was taken, so the deque's own
 * orderings put the one before the other; and what the tasks did is handed over by the barrier at the end.
 */

#include "deque.h"

#ifndef DEPTH
#define DEPTH 9
#endif

/* Tasks are numbered as in a heap: n makes 2n and 2n + 1. */
#define TASKS ((1u << (DEPTH + 1)) - 1)

static struct deque deques[HS_HARTS];
static APART _Atomic int64_t outstanding;
static _Atomic uint8_t ran[TASKS + 1];

static void run(int hart, uint64_t task) {
    if (task < 1u << DEPTH) {
        atomic_fetch_add_explicit(&outstanding, 2, memory_order_relaxed);
        for (uint64_t child = 2 * task; child < 2 * task + 2; child++)
            if (!deque_push(&deques[hart], child)) run(hart, child);
    }
    atomic_fetch_add_explicit(&ran[task], 1, memory_order_relaxed);
    did(hart, 1);
    atomic_fetch_sub_explicit(&outstanding, 1, memory_order_relaxed);
}

void prepare(int harts) {
    (void)harts;
    atomic_store(&outstanding, 1);
    deque_push(&deques[0], 1);
}

/* `> 0` rather than `!= 0`: tasks that a bug lets run twice are subtracted twice. */
void work(int hart, int harts) {
    uint64_t task;
    while (atomic_load_explicit(&outstanding, memory_order_relaxed) > 0) {
        int victim = (int)(random_number(hart) % (uint64_t)harts);
        if (deque_take(&deques[hart], &task) == GOT || deque_steal(hart, &deques[victim], &task) == GOT)
            run(hart, task);
        else
            relax();
    }
}

uint64_t not_once; /* tasks that did not run exactly once */

void finish(int harts) {
    (void)harts;
    for (uint64_t i = 1; i <= TASKS; i++) not_once += atomic_load_explicit(&ran[i], memory_order_relaxed) != 1;
}
