/* Mutual exclusion of two harts by loads and stores alone, after Dekker or Peterson: harts 0 and 1, 2 and 3, and so on.
 *
 * Each says that it wants to, then looks whether the other does. That store and that load must not change places: this
 * takes a fence of sequential consistency (FENCE RW,RW), on TSO as well. What was done inside is handed over by the
 * release in `unlock` to the acquire fence at the end of `lock`.
 *
 * BUG=1 looks first: what a missing fence permits, for all to see. BUG=2 leaves the fence out, which shows on hosts with
 * store buffers when both harts run compiled code at the same time; long runs find it as a rule.
 */

#include "workload.h"

#define DEKKER 0
#define PETERSON 1

#ifndef ALGORITHM
#define ALGORITHM DEKKER
#endif

static struct pair {
    APART _Atomic uint32_t wants[2];
    _Atomic uint32_t turn;
    APART volatile uint64_t guarded; /* volatile, not atomic: the algorithm alone keeps the two apart */
} pairs[(HS_HARTS + 1) / 2];

static void said_now_look(void) {
#if BUG == 2
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static uint32_t wants(struct pair *pair, int who) {
    return atomic_load_explicit(&pair->wants[who], memory_order_relaxed);
}

static void say(struct pair *pair, int me, uint32_t want) {
    atomic_store_explicit(&pair->wants[me], want, memory_order_relaxed);
}

static void lock(int hart, struct pair *pair, int me) {
    int other = 1 - me;
#if BUG == 1
    while (wants(pair, other)) relax();
    linger(hart);
    say(pair, me, 1);
#elif ALGORITHM == DEKKER
    (void)hart;
    say(pair, me, 1);
    said_now_look();
    while (wants(pair, other)) {
        if (atomic_load_explicit(&pair->turn, memory_order_relaxed) != (uint32_t)me) {
            say(pair, me, 0);
            while (atomic_load_explicit(&pair->turn, memory_order_relaxed) != (uint32_t)me) relax();
            say(pair, me, 1);
            said_now_look();
        }
        relax();
    }
#else
    (void)hart;
    say(pair, me, 1);
    /* Release: who sees whose turn it is sees who wants to. */
    atomic_store_explicit(&pair->turn, (uint32_t)other, memory_order_release);
    said_now_look();
    while (wants(pair, other) && atomic_load_explicit(&pair->turn, memory_order_relaxed) == (uint32_t)other) relax();
#endif
    atomic_thread_fence(memory_order_acquire);
}

static void unlock(struct pair *pair, int me) {
    /* Peterson's turn is set on the way in only. */
    if (ALGORITHM == DEKKER) atomic_store_explicit(&pair->turn, (uint32_t)(1 - me), memory_order_release);
    atomic_store_explicit(&pair->wants[me], 0, memory_order_release);
}

void prepare(int harts) { (void)harts; }

void work(int hart, int harts) {
    struct pair *pair = &pairs[hart / 2];
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        lock(hart, pair, hart % 2);
        uint64_t before = pair->guarded;
        linger(hart);
        pair->guarded = before + 1;
        unlock(pair, hart % 2);
        did(hart, 1);
    }
}

uint64_t guarded;

void finish(int harts) {
    for (int i = 0; i < (harts + 1) / 2; i++) guarded += pairs[i].guarded;
}
