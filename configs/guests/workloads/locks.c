/* A lock that all harts fight over, and what it guards: LOCK says which.
 *
 * Every lock orders the same way. Who gets it acquires (the read that finds it free), who leaves it releases (the write
 * that frees it): all that was done under the lock before is visible to whoever reads that write. Reads that merely
 * spin, and writes to what no other hart can reach yet, are relaxed.
 */

#include "workload.h"

#define TAS 0
#define TTAS 1
#define TICKET 2
#define MCS 3
#define CLH 4
#define QSPINLOCK 5
#define LRSC 6

#ifndef LOCK
#define LOCK TAS
#endif

#if LOCK == TAS || LOCK == TTAS || LOCK == LRSC

static APART _Atomic uint32_t held;

#if BUG /* looks, then takes: two may have looked */
static void lock(int hart) {
    while (atomic_load_explicit(&held, memory_order_relaxed)) relax();
    linger(hart);
    atomic_store_explicit(&held, 1, memory_order_relaxed);
}
#elif LOCK == TAS
static void lock(int hart) {
    (void)hart;
    while (atomic_exchange_explicit(&held, 1, memory_order_acquire)) relax();
}
#elif LOCK == TTAS
/* Looks before it takes, and waits twice as long after each try that failed (Anderson, TPDS 1990). */
static void lock(int hart) {
    unsigned longest = 1;
    for (;;) {
        while (atomic_load_explicit(&held, memory_order_relaxed)) relax();
        if (!atomic_exchange_explicit(&held, 1, memory_order_acquire)) return;
        for (uint64_t wait = random_number(hart) % longest; wait; wait--) relax();
        if (longest < 64) longest *= 2;
    }
}
#else
/* As the unprivileged manual has it, chapter "Zalrsc": no SC while the lock is held. */
static void lock(int hart) {
    uint32_t busy;
    (void)hart;
    for (;;) {
        __asm__ volatile("1: lr.w.aq %0, %1\n"
                         "   bnez %0, 2f\n"
                         "   sc.w %0, %2, %1\n"
                         "   bnez %0, 1b\n"
                         "2:\n"
                         : "=&r"(busy), "+A"(held)
                         : "r"(1)
                         : "memory");
        if (!busy) return;
        relax();
    }
}
#endif

static void unlock(int hart) {
    (void)hart;
    atomic_store_explicit(&held, 0, memory_order_release);
}

#elif LOCK == TICKET

static APART _Atomic uint32_t next_ticket;
static APART _Atomic uint32_t serving;

/* Relaxed: the number alone admits nobody; reading `serving` does. */
static void lock(int hart) {
#if BUG /* draws a ticket by a load and a store: two may have the same */
    uint32_t mine = atomic_load_explicit(&next_ticket, memory_order_relaxed);
    linger(hart);
    atomic_store_explicit(&next_ticket, mine + 1, memory_order_relaxed);
#else
    (void)hart;
    uint32_t mine = atomic_fetch_add_explicit(&next_ticket, 1, memory_order_relaxed);
#endif
    while ((int32_t)(atomic_load_explicit(&serving, memory_order_acquire) - mine) < 0) relax();
}

/* Only the holder writes it. */
static void unlock(int hart) {
    (void)hart;
    atomic_store_explicit(&serving, atomic_load_explicit(&serving, memory_order_relaxed) + 1, memory_order_release);
}

#elif LOCK == MCS

/* Mellor-Crummey and Scott, TOCS 1991. */
static struct node {
    APART _Atomic(struct node *) next;
    atomic_int waits;
} nodes[HS_HARTS];
static APART _Atomic(struct node *) tail;

static void lock(int hart) {
    struct node *mine = &nodes[hart];
    atomic_store_explicit(&mine->next, NULL, memory_order_relaxed);
    atomic_store_explicit(&mine->waits, !BUG, memory_order_relaxed); /* the bug: says it need not wait */
    /* Releases the node to who comes next; acquires where there is nobody before. */
    struct node *before = atomic_exchange_explicit(&tail, mine, memory_order_acq_rel);
    if (!before) return;
    atomic_store_explicit(&before->next, mine, memory_order_release);
    while (atomic_load_explicit(&mine->waits, memory_order_acquire)) relax();
}

static void unlock(int hart) {
    struct node *mine = &nodes[hart], *next;
    if (!atomic_load_explicit(&mine->next, memory_order_acquire)) {
        struct node *last = mine;
        if (atomic_compare_exchange_strong_explicit(&tail, &last, NULL, memory_order_release, memory_order_relaxed))
            return;
    }
    while (!(next = atomic_load_explicit(&mine->next, memory_order_acquire))) relax();
    atomic_store_explicit(&next->waits, 0, memory_order_release);
}

#elif LOCK == CLH

/* Craig, and Landin and Hagersten, 1993 and 1994: each waits on the node of the hart before it, and keeps that. */
static struct node {
    APART atomic_int held;
} nodes[HS_HARTS + 1];
static APART _Atomic(struct node *) tail = &nodes[HS_HARTS];
static struct {
    APART struct node *mine, *before;
} of[HS_HARTS];

static void lock(int hart) {
    struct node *mine = of[hart].mine ? of[hart].mine : &nodes[hart];
    atomic_store_explicit(&mine->held, !BUG, memory_order_relaxed); /* the bug: says it does not hold the lock */
    /* Releases `held` to who comes next, and acquires the node before, which another may have made. */
    struct node *before = atomic_exchange_explicit(&tail, mine, memory_order_acq_rel);
    of[hart].mine = mine;
    of[hart].before = before;
    while (atomic_load_explicit(&before->held, memory_order_acquire)) relax();
}

static void unlock(int hart) {
    struct node *mine = of[hart].mine;
    of[hart].mine = of[hart].before;
    atomic_store_explicit(&mine->held, 0, memory_order_release);
}

#elif LOCK == QSPINLOCK

/* After Linux's kernel/locking/qspinlock.c: one word of a byte `locked`, a byte `pending` and a 16-bit tail of an MCS
 * queue. The first waiter spins on the word itself (pending), the others in the queue. Zabha exchanges the tail alone
 * and frees the lock by a byte. */
static APART union {
    _Atomic uint32_t whole;
    struct {
        _Atomic uint8_t locked, pending;
        _Atomic uint16_t tail; /* 1 + the last hart in the queue, or 0 */
    };
} word;

enum { LOCKED = 1, PENDING = 1 << 8, LOCKED_AND_PENDING = 0xffff };

static struct node {
    APART _Atomic(struct node *) next;
    atomic_int waits;
} nodes[HS_HARTS];

static uint32_t wait_until_free(uint32_t mask) {
    uint32_t value;
    while ((value = atomic_load_explicit(&word.whole, memory_order_acquire)) & mask) relax();
    return value;
}

static void lock_in_queue(int hart) {
    struct node *mine = &nodes[hart], *next;
    atomic_store_explicit(&mine->next, NULL, memory_order_relaxed);
    atomic_store_explicit(&mine->waits, 1, memory_order_relaxed);
    /* Releases the node to who comes next. */
    uint16_t before = atomic_exchange_explicit(&word.tail, (uint16_t)(hart + 1), memory_order_acq_rel);
    if (before) {
        atomic_store_explicit(&nodes[before - 1].next, mine, memory_order_release);
        while (atomic_load_explicit(&mine->waits, memory_order_acquire)) relax();
    }
    /* First in the queue: nobody but the holder and the one pending can be before. */
    uint32_t value = wait_until_free(BUG ? PENDING : LOCKED_AND_PENDING); /* the bug again */
    if (value >> 16 == (uint32_t)hart + 1 &&
        atomic_compare_exchange_strong_explicit(&word.whole, &value, LOCKED, memory_order_acquire,
                                                memory_order_relaxed))
        return; /* and the last */
    atomic_store_explicit(&word.locked, 1, memory_order_relaxed);
    while (!(next = atomic_load_explicit(&mine->next, memory_order_acquire))) relax();
    atomic_store_explicit(&next->waits, 0, memory_order_release);
}

static void lock(int hart) {
    uint32_t value = 0;
    if (atomic_compare_exchange_strong_explicit(&word.whole, &value, LOCKED, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    if (value & ~(uint32_t)LOCKED) {
        lock_in_queue(hart);
        return;
    }
    value = atomic_fetch_or_explicit(&word.whole, PENDING, memory_order_acquire);
    if (value & ~(uint32_t)LOCKED) { /* somebody waits already: undo what is ours, and queue */
        if (!(value & PENDING)) atomic_store_explicit(&word.pending, 0, memory_order_relaxed);
        lock_in_queue(hart);
        return;
    }
    if (!BUG) wait_until_free(LOCKED); /* the bug: as if the holder were through */
    /* Nobody else takes the lock while we are pending; the tail may change. */
    atomic_fetch_add_explicit(&word.whole, LOCKED - PENDING, memory_order_relaxed);
}

static void unlock(int hart) {
    (void)hart;
    atomic_store_explicit(&word.locked, 0, memory_order_release);
}

#endif

/* Under the lock: volatile, not atomic, so that the lock alone keeps increments apart. */
APART volatile uint64_t guarded;

void prepare(int harts) {
    (void)harts;
    guarded = 0;
}

void work(int hart, int harts) {
    (void)harts;
    for (uint64_t n = 0; goes_on(hart, n); n++) {
        lock(hart);
        uint64_t before = guarded;
        linger(hart);
        guarded = before + 1;
        unlock(hart);
        did(hart, 1);
    }
}

void finish(int harts) { (void)harts; }
