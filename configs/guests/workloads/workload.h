/* What the workloads share: how one is driven, how it accounts for what it did, how it records a history.
 *
 * Each workload has its own file and its own define BUG: 0 for the right code, 1 for a planted bug that the
 * expectations of its configuration must find. A bug is one that shows under the order of every host: where only a
 * weak memory order would show it (a release left out on x86-64), what the missing order permits is written out.
 */
#pragma once

#include "hartstorm.h"

#include <stddef.h>

#ifndef OPERATIONS
#define OPERATIONS 1000 /* of each hart */
#endif
#ifndef MILLISECONDS
#define MILLISECONDS 0 /* if not 0, harts do no more operations after that time */
#endif
#if MILLISECONDS && !defined(LOCK)
#error "MILLISECONDS is for locks.c alone"
#endif
#ifndef BUG
#define BUG 0
#endif

/* So far apart that no two things share a granule or a cache line. */
#define APART _Alignas(64)

/* Waits until all harts are here and run: where harts share processors, those that come from a barrier first would do
 * most of the operations before the last ones come. Hart 0 calls `before` when all are here, unless it is NULL. */
void start_together(int hart, int harts, void (*before)(int harts));

/* The workload's own: `prepare` runs on hart 0 before any hart works, `finish` on hart 0 after all have. */
void prepare(int harts);
void work(int hart, int harts);
void finish(int harts);

/* What each hart did. `share` is what it had done when the first hart had done all of its own: how fair it was. */
struct account {
    APART _Atomic uint64_t done;
    uint64_t share;
    uint64_t random;
    uint64_t waits; /* how often it has waited in the gap of a planted bug */
    uint64_t began, ended; /* ticks: when it worked */
    uint64_t retired;      /* instructions, meanwhile */
};
extern struct account accounts[HS_HARTS];
/* Of all harts together, once all have worked: how many, from the first to begin to the last to end, and in how many
 * instructions. */
extern uint64_t operations, worked_ns, retired;

/* The clock, and how many instructions the hart has retired. Reading them takes the interpreter. */
static inline uint64_t now(void) {
    uint64_t ticks;
    __asm__ volatile("csrr %0, time" : "=r"(ticks));
    return ticks;
}

static inline uint64_t instret(void) {
    uint64_t count;
    __asm__ volatile("csrr %0, instret" : "=r"(count));
    return count;
}

#if MILLISECONDS

/* Set by hart 0's timer when the time has passed. */
extern _Atomic uint32_t over;
extern uint64_t most_operations;

/* Whether the hart shall do its operation number `n`, from 0. */
static inline int goes_on(int hart, uint64_t n) {
    (void)hart;
    return n < most_operations && !atomic_load_explicit(&over, memory_order_relaxed);
}

#else

static inline int goes_on(int hart, uint64_t n) {
    (void)hart;
    return n < OPERATIONS;
}

#endif

/* With LATENCY, how long each operation took, from the end of the hart's one before to its own: a histogram of ticks,
 * eight buckets to an octave, so that a percentile is off by a sixteenth at most. Left out unless asked for, for it
 * reads the clock each time. */
#ifdef LATENCY

enum { LATENCY_BUCKETS = 8 * 62 /* of 8 * 60 + 15 at most */ };
struct latencies {
    APART uint64_t last;
    uint32_t buckets[LATENCY_BUCKETS];
};
extern struct latencies latencies[HS_HARTS];

static inline void took(int hart) {
    struct latencies *mine = &latencies[hart];
    uint64_t then = mine->last, ticks = (mine->last = now()) - then;
    unsigned shift = ticks < 16 ? 0 : 60 - (unsigned)__builtin_clzll(ticks); /* leaves 8 to 15 */
    mine->buckets[8 * shift + (ticks >> shift)]++;
}

#else

static inline void took(int hart) { (void)hart; }

#endif

/* Counts `operations` more. Relaxed: only the hart itself writes the number, and who reads it early wants no other. */
static inline void did(int hart, uint64_t operations) {
    _Atomic uint64_t *done = &accounts[hart].done;
    took(hart);
    atomic_store_explicit(done, atomic_load_explicit(done, memory_order_relaxed) + operations, memory_order_relaxed);
}

/* The hart's own xorshift. */
static inline uint64_t random_number(int hart) {
    uint64_t x = accounts[hart].random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return accounts[hart].random = x;
}

/* In a loop that waits for another hart: lets it go ahead. */
static inline void relax(void) { __asm__ volatile("pause"); }

static inline uint64_t done_by_others(int hart) {
    uint64_t sum = 0;
    for (int h = 0; h < HS_HARTS; h++)
        if (h != hart) sum += atomic_load_explicit(&accounts[h].done, memory_order_relaxed);
    return sum;
}

/* Where a planted bug leaves a gap: now and then stays in it until the others have done something, however late they
 * are scheduled. It waits so often and no longer in all, for they may be through, or wait for this hart. */
static inline void linger(int hart) {
    if (!BUG || random_number(hart) % 4) return;
    uint64_t before = done_by_others(hart);
    uint64_t *waits = &accounts[hart].waits;
    for (int i = 0; (i < 50 || *waits < 20000) && done_by_others(hart) - before < 8; i++, ++*waits) relax();
}

/* Times as a sequence of tickets, one for each moment at which an operation begins or ends. A ticket is drawn by an
 * AMO with aq and rl: nothing of the operation comes before its first or after its last. */
#ifdef HISTORY

/* As coordinator/check/history.py reads it. */
struct event {
    uint64_t invoked, responded;
    uint32_t kind;   /* 0: none; else what `expect.linearizable.type` says */
    uint32_t object; /* which one, where there are several */
    uint64_t value;
};
extern struct event history[HS_HARTS][OPERATIONS];
extern _Atomic uint64_t ticket;

static inline uint64_t draw(void) { return atomic_fetch_add_explicit(&ticket, 1, memory_order_seq_cst); }

static inline void record(int hart, uint64_t number, uint64_t invoked, unsigned kind, unsigned object, uint64_t value) {
    history[hart][number] = (struct event){invoked, draw(), kind, object, value};
}

#else

static inline uint64_t draw(void) { return 0; }
static inline void record(int hart, uint64_t number, uint64_t invoked, unsigned kind, unsigned object, uint64_t value) {
    (void)hart, (void)number, (void)invoked, (void)kind, (void)object, (void)value;
}

#endif
