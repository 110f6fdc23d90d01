/* Barriers: no hart passes the n-th before all have come to it. BARRIER says which.
 *
 * What a hart did before it arrived must be visible to all who passed. Arriving releases, and waiting acquires what was
 * released: in each barrier a chain of such pairs leads from every arrival to every departure.
 */

#include "workload.h"

#define SENSE 0
#define DISSEMINATION 1
#define TOURNAMENT 2

#ifndef BARRIER
#define BARRIER SENSE
#endif

enum { MOST_ROUNDS = 10 };

#if BARRIER == SENSE

/* A counter and a sense that is turned round by the last to come. */
static APART _Atomic uint32_t arrived_count;
static APART _Atomic uint32_t sense;

static void barrier(int hart, int harts, uint64_t epoch) {
    uint32_t mine = epoch & 1;
    (void)hart;
    /* Releases this hart's arrival; the last one acquires all, as each addition continues the release of the one before. */
    if (atomic_fetch_add_explicit(&arrived_count, 1, memory_order_acq_rel) + 1 == (uint32_t)harts) {
        atomic_store_explicit(&arrived_count, 0, memory_order_relaxed); /* before the sense, which releases it */
        atomic_store_explicit(&sense, mine, memory_order_release);
        return;
    }
#if BUG /* looks once whether all are here */
    if (atomic_load_explicit(&sense, memory_order_acquire) != mine) relax();
#else
    while (atomic_load_explicit(&sense, memory_order_acquire) != mine) relax();
#endif
}

#elif BARRIER == DISSEMINATION

/* Hensgen, Finkel and Manber (IJPP 1988): in round k a hart tells the one 2^k further. Flags hold the number of the
 * barrier rather than a sense, so that none need be turned back. */
static struct {
    APART _Atomic uint64_t told[MOST_ROUNDS];
} flags[HS_HARTS];

static void barrier(int hart, int harts, uint64_t epoch) {
    int round = 0;
    /* The bug: a round too few. */
    for (int distance = 1; (BUG ? 2 * distance : distance) < harts; distance *= 2, round++) {
        atomic_store_explicit(&flags[(hart + distance) % harts].told[round], epoch, memory_order_release);
        while (atomic_load_explicit(&flags[hart].told[round], memory_order_acquire) < epoch) relax();
    }
}

#else

/* Hensgen, Finkel and Manber's tournament: who loses a round tells the winner and waits for the champion. */
static struct {
    APART _Atomic uint64_t beaten[MOST_ROUNDS];
} flags[HS_HARTS];
static APART _Atomic uint64_t champion;

static void barrier(int hart, int harts, uint64_t epoch) {
    int round = 0;
    for (int distance = 1; distance < harts; distance *= 2, round++) {
        if (hart & distance) {
            atomic_store_explicit(&flags[hart - distance].beaten[round], epoch, memory_order_release);
#if BUG /* looks once whether the champion is known */
            if (atomic_load_explicit(&champion, memory_order_acquire) < epoch) relax();
#else
            while (atomic_load_explicit(&champion, memory_order_acquire) < epoch) relax();
#endif
            return;
        }
        if (hart + distance < harts)
            while (atomic_load_explicit(&flags[hart].beaten[round], memory_order_acquire) < epoch) relax();
    }
    atomic_store_explicit(&champion, epoch, memory_order_release);
}

#endif

/* The last barrier that each hart came to. Relaxed: it is the barrier that orders them. */
static struct {
    APART _Atomic uint64_t epoch;
    uint64_t early;
} arrivals[HS_HARTS];

void prepare(int harts) { (void)harts; }

void work(int hart, int harts) {
    for (uint64_t epoch = 1; epoch <= OPERATIONS; epoch++) {
        linger(hart);
        atomic_store_explicit(&arrivals[hart].epoch, epoch, memory_order_relaxed);
        barrier(hart, harts, epoch);
        for (int i = 0; i < harts; i++)
            arrivals[hart].early += atomic_load_explicit(&arrivals[i].epoch, memory_order_relaxed) < epoch;
        did(hart, 1);
    }
}

uint64_t early; /* how often a hart was through before another had come */

void finish(int harts) {
    for (int i = 0; i < harts; i++) early += arrivals[i].early;
}
