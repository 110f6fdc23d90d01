/* Many read a few words that belong together, some write them: READERS says by a seqlock or a reader-writer lock. */

#include "workload.h"

#define SEQLOCK 0
#define RWLOCK 1

#ifndef READERS
#define READERS SEQLOCK
#endif

enum { WORDS = 4 };

#if READERS == SEQLOCK

/* Boehm (MSPC 2012). The words are atomic and relaxed, for readers may look while a writer writes. What keeps a mixture
 * from passing: the release fence orders the odd sequence before the words, the acquire fence the words before the second
 * look; a reader that saw any new word sees the odd number or a later one. */
static APART _Atomic uint64_t sequence;
static _Atomic uint64_t words[WORDS];

static void write(int hart) {
    uint64_t before;
    do {
        while ((before = atomic_load_explicit(&sequence, memory_order_relaxed)) & 1) relax();
    } while (!atomic_compare_exchange_weak_explicit(&sequence, &before, before + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    atomic_thread_fence(memory_order_release);
    uint64_t value = atomic_load_explicit(&words[0], memory_order_relaxed) + 1;
    for (int i = 0; i < WORDS; i++) {
        atomic_store_explicit(&words[i], value, memory_order_relaxed);
        linger(hart);
    }
    atomic_store_explicit(&sequence, before + 2, memory_order_release);
}

static int read_is_torn(int hart) {
    uint64_t before, after, seen[WORDS];
    (void)hart;
    do {
        while ((before = atomic_load_explicit(&sequence, memory_order_acquire)) & 1) relax();
        for (int i = 0; i < WORDS; i++) {
            seen[i] = atomic_load_explicit(&words[i], memory_order_relaxed);
            linger(hart);
        }
        atomic_thread_fence(memory_order_acquire);
        after = BUG ? before : atomic_load_explicit(&sequence, memory_order_relaxed); /* the bug: no second look */
    } while (before != after);
    for (int i = 1; i < WORDS; i++)
        if (seen[i] != seen[0]) return 1;
    return 0;
}

static uint64_t written(void) { return atomic_load_explicit(&words[0], memory_order_relaxed); }

#else

/* How many read, or WRITER. Who comes in acquires; who leaves releases: a writer's to all, a reader's to the next writer,
 * as the other readers' additions continue the release. */
static APART _Atomic uint32_t state;
static volatile uint64_t words[WORDS]; /* volatile, not atomic: the lock alone keeps users apart */

#define WRITER (1u << 31)

static void write(int hart) {
    for (;;) {
        uint32_t seen = atomic_load_explicit(&state, memory_order_relaxed);
        /* The bug: comes in though others read. */
        if (!(BUG ? seen & WRITER : seen) &&
            atomic_compare_exchange_weak_explicit(&state, &seen, seen | WRITER, memory_order_acquire,
                                                  memory_order_relaxed))
            break;
        relax();
    }
    uint64_t value = words[0] + 1;
    for (int i = 0; i < WORDS; i++) {
        words[i] = value;
        linger(hart);
    }
    atomic_fetch_and_explicit(&state, ~WRITER, memory_order_release);
}

static int read_is_torn(int hart) {
    uint32_t seen = atomic_load_explicit(&state, memory_order_relaxed);
    (void)hart;
    for (;;) {
        if (!(seen & WRITER) && atomic_compare_exchange_weak_explicit(&state, &seen, seen + 1, memory_order_acquire,
                                                                      memory_order_relaxed))
            break;
        relax();
        seen = atomic_load_explicit(&state, memory_order_relaxed);
    }
    int torn = 0;
    uint64_t first = words[0];
    for (int i = 1; i < WORDS; i++) {
        linger(hart);
        torn |= words[i] != first;
    }
    atomic_fetch_sub_explicit(&state, 1, memory_order_release);
    return torn;
}

static uint64_t written(void) { return words[0]; }

#endif

static struct {
    APART uint64_t torn, writes;
} locals[HS_HARTS];

void prepare(int harts) { (void)harts; }

void work(int hart, int harts) {
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        if (random_number(hart) % 4 == 0) {
            write(hart);
            locals[hart].writes++;
        } else {
            locals[hart].torn += (uint64_t)read_is_torn(hart);
        }
        did(hart, 1);
    }
}

uint64_t torn, writes, last_written;

void finish(int harts) {
    last_written = written();
    for (int h = 0; h < harts; h++) {
        torn += locals[h].torn;
        writes += locals[h].writes;
    }
}
