/* The workloads. Each does its operation again and again, and knows what the result must be. */

#include "contention.h"
#include "lrsc.h"

static int goes_on(const struct worker *me) {
    return atomic_load_explicit(&phase, memory_order_relaxed) == me->phase && done(me) < me->quota;
}

static void add_done(struct worker *me, uint64_t operations) {
    atomic_store_explicit(&me->count, done(me) + operations, memory_order_relaxed);
}

/* Repeats the operation that follows, and counts. */
#define REPEATEDLY(me, batch)                                                                                      \
    for (uint64_t n_ = (batch); goes_on(me); add_done(me, n_))                                                     \
        for (uint64_t i_ = 0; i_ < n_; i_++)

/* Counters */

static PAGED _Atomic uint64_t counter;
static PAGED uint64_t step = 1;

static void reset_counter(uint64_t workers) {
    (void)workers;
    atomic_store(&counter, 0);
}

static int counter_is_right(uint64_t workers, uint64_t operations) {
    (void)workers;
    return atomic_load(&counter) == operations;
}

static void amoadd(struct worker *me) { REPEATEDLY(me, plan.batch) atomic_fetch_add(&counter, 1); }

static PAGED _Atomic uint64_t swapped;

static void amoswap(struct worker *me) {
    REPEATEDLY(me, plan.batch) atomic_exchange(&swapped, me->number);
}

static int swapped_is_right(uint64_t workers, uint64_t operations) {
    (void)operations;
    return atomic_load(&swapped) < workers;
}

static void amocas(struct worker *me) {
    REPEATEDLY(me, plan.batch) {
        uint64_t value = atomic_load_explicit(&counter, memory_order_relaxed);
        while (!atomic_compare_exchange_strong(&counter, &value, value + 1)) {
        }
    }
}

static void lrsc(struct worker *me) { REPEATEDLY(me, plan.batch) lrsc_increment(&counter); }

static PAGED _Atomic uint64_t unfused;

static void lrsc_unfused(struct worker *me) { REPEATEDLY(me, plan.batch) lrsc_add_loaded(&unfused, &step); }

static void reset_unfused(uint64_t workers) {
    (void)workers;
    atomic_store(&unfused, 0);
}

static int unfused_is_right(uint64_t workers, uint64_t operations) {
    (void)workers;
    return atomic_load(&unfused) == operations;
}

static PAGED struct {
    APART _Atomic uint64_t value;
} own[MOST_WORKERS];

static void private_counters(struct worker *me) {
    REPEATEDLY(me, plan.batch) atomic_fetch_add(&own[me->number].value, 1);
}

static void reset_private(uint64_t workers) {
    for (uint64_t i = 0; i < workers; i++) atomic_store(&own[i].value, 0);
}

static int private_is_right(uint64_t workers, uint64_t operations) {
    for (uint64_t i = 0; i < workers; i++) operations -= atomic_load(&own[i].value);
    return operations == 0;
}

static PAGED _Atomic uint64_t side_by_side[MOST_WORKERS];

static void false_sharing(struct worker *me) {
    REPEATEDLY(me, plan.batch) atomic_fetch_add(&side_by_side[me->number], 1);
}

static void reset_side_by_side(uint64_t workers) {
    for (uint64_t i = 0; i < workers; i++) atomic_store(&side_by_side[i], 0);
}

static int side_by_side_is_right(uint64_t workers, uint64_t operations) {
    for (uint64_t i = 0; i < workers; i++) operations -= atomic_load(&side_by_side[i]);
    return operations == 0;
}

/* Locks, each around one increment that is not atomic. A look at the time comes after each: with many more workers than
 * processors an acquisition can take long. */

#define LOCK_BATCH 1

static PAGED _Atomic uint64_t lock;
static PAGED _Atomic uint64_t next_ticket;
static PAGED _Atomic uint64_t serving;
static PAGED _Atomic(struct mcs_node *) mcs_tail;
static PAGED uint64_t guarded;

static void reset_locks(uint64_t workers) {
    (void)workers;
    guarded = 0;
    atomic_store(&lock, 0);
    atomic_store(&next_ticket, 0);
    atomic_store(&serving, 0);
    atomic_store(&mcs_tail, NULL);
}

static int guarded_is_right(uint64_t workers, uint64_t operations) {
    (void)workers;
    return guarded == operations;
}

/* An increment that the compiler keeps as a load and a store. */
static void increment_guarded(void) {
    volatile uint64_t *count = &guarded;
    *count = *count + 1;
}

static void tas(struct worker *me) {
    REPEATEDLY(me, LOCK_BATCH) {
        while (atomic_exchange_explicit(&lock, 1, memory_order_acquire)) relax();
        increment_guarded();
        atomic_store_explicit(&lock, 0, memory_order_release);
    }
}

static void ttas(struct worker *me) {
    REPEATEDLY(me, LOCK_BATCH) {
        do {
            while (atomic_load_explicit(&lock, memory_order_relaxed)) relax();
        } while (atomic_exchange_explicit(&lock, 1, memory_order_acquire));
        increment_guarded();
        atomic_store_explicit(&lock, 0, memory_order_release);
    }
}

static void ticket(struct worker *me) {
    REPEATEDLY(me, LOCK_BATCH) {
        uint64_t mine = atomic_fetch_add_explicit(&next_ticket, 1, memory_order_relaxed);
        while (atomic_load_explicit(&serving, memory_order_acquire) != mine) relax();
        increment_guarded();
        atomic_store_explicit(&serving, mine + 1, memory_order_release);
    }
}

static void mcs(struct worker *me) {
    struct mcs_node *node = &me->mcs;
    REPEATEDLY(me, LOCK_BATCH) {
        atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
        atomic_store_explicit(&node->waits, 1, memory_order_relaxed);
        struct mcs_node *before = atomic_exchange_explicit(&mcs_tail, node, memory_order_acq_rel);
        if (before) {
            atomic_store_explicit(&before->next, node, memory_order_release);
            while (atomic_load_explicit(&node->waits, memory_order_acquire)) relax();
        }
        increment_guarded();
        struct mcs_node *next = atomic_load_explicit(&node->next, memory_order_acquire);
        if (!next) {
            struct mcs_node *last = node;
            if (atomic_compare_exchange_strong_explicit(&mcs_tail, &last, NULL, memory_order_acq_rel,
                                                        memory_order_relaxed))
                continue;
            while (!(next = atomic_load_explicit(&node->next, memory_order_acquire))) relax();
        }
        atomic_store_explicit(&next->waits, 0, memory_order_release);
    }
}

/* Treiber's stack with immediate reuse (the specimen of Kristien et al., CGO 2021): pop a node, push it back at once.
 * Between the LR and the SC of a pop others may pop the same node, and the next, and push the first back: the head is as
 * it was, but its successor is not. */

static PAGED stack_head stack;
static PAGED struct node nodes[2 * MOST_WORKERS];

static uint64_t node_count(uint64_t workers) { return 2 * workers; }

static void fill_stack(uint64_t workers) {
    while (stack_top(&stack)) atomic_store(&stack, (__typeof__(atomic_load(&stack)))0);
    for (uint64_t i = 0; i < node_count(workers); i++) {
        nodes[i].owner = 0;
        stack_push(&stack, &nodes[i]);
    }
}

static void found_wrong(void) {
    atomic_store(&wrong, 1);
    if (plan.stop_when_wrong) atomic_store(&phase, ~0ull);
}

static void treiber(struct worker *me) {
    REPEATEDLY(me, plan.batch) {
        struct node *node = stack_pop(&stack);
        /* There are more nodes than workers, and a popped node is its popper's alone. */
        if (!node || node->owner) {
            if (!atomic_load_explicit(&wrong, memory_order_relaxed)) found_wrong();
            if (!node) continue;
        }
        node->owner = me->number + 1;
        atomic_signal_fence(memory_order_seq_cst);
        node->owner = 0;
        stack_push(&stack, node);
    }
}

static int stack_is_right(uint64_t workers, uint64_t operations) {
    (void)operations;
    uint64_t found = 0;
    for (struct node *n = stack_top(&stack); n && found <= node_count(workers); n = n->next) found++;
    return found == node_count(workers);
}

/* Their order is part of the plan: see coordinator/bench/contention.py. */
const struct workload workloads[] = {
    {"amoadd", reset_counter, amoadd, counter_is_right},
    {"amoswap", reset_counter, amoswap, swapped_is_right},
    {"amocas", reset_counter, amocas, counter_is_right},
    {"lrsc", reset_counter, lrsc, counter_is_right},
    {"lrsc-unfused", reset_unfused, lrsc_unfused, unfused_is_right},
    {"tas", reset_locks, tas, guarded_is_right},
    {"ttas", reset_locks, ttas, guarded_is_right},
    {"ticket", reset_locks, ticket, guarded_is_right},
    {"mcs", reset_locks, mcs, guarded_is_right},
    {"treiber", fill_stack, treiber, stack_is_right},
    {"private", reset_private, private_counters, private_is_right},
    {"false-sharing", reset_side_by_side, false_sharing, side_by_side_is_right},
};
const unsigned workload_count = sizeof workloads / sizeof *workloads;
