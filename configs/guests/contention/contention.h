/* Many workers, one data structure: how fast is it, and does it stay whole?
 *
 * The same source is a bare guest of hartstorm, a riscv64 Linux program and a native one. A platform (guest-main.c,
 * host-main.c) provides the functions below marked so; it calls `work` in each worker, and `keep_time` beside them,
 * in a hart or thread that mostly sleeps.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_WORKERS 256

/* So far apart that no two things share a cache line, a granule or, for PAGED, a page. */
#define APART _Alignas(64)
#define PAGED _Alignas(4096)

/* What to do. Harts find it in memory, threads get it from the command line. */
struct plan {
    uint64_t workloads;      /* bit i: run workload i */
    uint64_t warm_up_ns;     /* work that is not measured: what is hot gets compiled; see trial.c */
    uint64_t measure_ns;     /* work that is; with `operations`, how long they may take */
    uint64_t batch;          /* operations between two looks at the time */
    uint64_t operations;     /* if not 0: all workers together do so many, without a warm-up */
    uint64_t stop_when_wrong;
};
extern struct plan plan;

struct worker {
    APART uint64_t number;
    uint64_t workers;
    _Atomic uint64_t count;  /* operations done in the workload; the worker alone writes it */
    uint64_t quota;          /* operations to do at most */
    uint64_t phase;          /* work as long as the trial is in this phase */
    struct mcs_node {
        APART _Atomic(struct mcs_node *) next;
        atomic_int waits;
    } mcs;
};

static inline uint64_t done(const struct worker *worker) {
    return atomic_load_explicit(&worker->count, memory_order_relaxed);
}

struct workload {
    const char *name;
    void (*prepare)(uint64_t workers);
    void (*run)(struct worker *worker);
    /* Whether what all workers together did, `operations`, left the right result. */
    int (*is_right)(uint64_t workers, uint64_t operations);
};
extern const struct workload workloads[];
extern const unsigned workload_count;

/* Nonzero once something proved wrong while the workload ran. */
extern _Atomic uint64_t wrong;

/* What phase the trial is in; see trial.c. */
extern _Atomic uint64_t phase;

void work(uint64_t number, uint64_t workers);
void keep_time(uint64_t workers);

/* The platform's. */
uint64_t now_ns(void);
void sleep_ns(uint64_t time);
void print_text(const char *text);
void print_number(uint64_t number);

/* In a loop that waits for another worker: lets it go ahead. A hart says so by PAUSE; a thread must ask its system, too. */
#if __STDC_HOSTED__
void relax(void);
#else
static inline void relax(void) { __asm__ volatile("pause"); }
#endif
