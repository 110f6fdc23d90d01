/* Trials: warm up, measure, check, for each workload of the plan.
 *
 * Prints a line for each: name, operations per second of all workers together, the slowest and the fastest worker's,
 * all operations including the warm-up, nanoseconds from first start to last end, and `right` or `wrong`. Rates are what
 * the workers' counts grew by between two looks of the time keeper's: a worker that waits for a processor has the same
 * time as the others.
 */

#include "contention.h"

#ifndef WORKLOADS
#define WORKLOADS ~0ull
#endif
#ifndef OPERATIONS
#define OPERATIONS 0
#endif
#ifndef MEASURE_NS
#define MEASURE_NS 200000000
#endif

PAGED struct plan plan = {
    .workloads = WORKLOADS,
    .warm_up_ns = 200000000,
    .measure_ns = MEASURE_NS,
    .batch = 64,
    .operations = OPERATIONS,
    .stop_when_wrong = 1,
};

PAGED _Atomic uint64_t phase;
PAGED _Atomic uint64_t wrong;
/* How many workers have arrived at the barrier, and which barrier is open. */
static PAGED _Atomic uint64_t arrived;
static PAGED _Atomic uint64_t opened;
static PAGED struct account {
    APART uint64_t count, start, end;
} accounts[MOST_WORKERS];
/* The time keeper's look at all counts. */
struct look {
    uint64_t time, counts[MOST_WORKERS];
};
static struct look before, after;

enum { WARM_UP, MEASURE, PHASES };

/* Phases of different workloads have different numbers; in the phase ~0 nobody works. */
static uint64_t phase_of(unsigned workload, unsigned which) { return (uint64_t)workload * PHASES + which; }

static void arrive_and_wait(uint64_t barrier) {
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&opened) < barrier) relax();
}

/* Waits until all workers are at the barrier, and ends the phase when `limit` has passed. */
static void gather(uint64_t workers, uint64_t limit) {
    uint64_t end = now_ns() + limit;
    while (atomic_load(&arrived) < workers) {
        sleep_ns(1000000);
        if (now_ns() >= end) atomic_store(&phase, ~0ull);
    }
    atomic_store(&arrived, 0);
}

static struct worker all[MOST_WORKERS];

enum { WARM_OPERATIONS = 50000, MOST_WARM_UPS = 8 };

/* Until every worker has done so much that its code is compiled; but where workers are slow for other reasons, some
 * multiples of the planned time must do. */
static void warm_up(uint64_t workers) {
    for (int i = 0; i < MOST_WARM_UPS; i++) {
        sleep_ns(plan.warm_up_ns);
        uint64_t warm = 0;
        while (warm < workers && done(&all[warm]) >= WARM_OPERATIONS) warm++;
        if (warm == workers) return;
    }
}

static int planned(unsigned workload) { return plan.workloads >> workload & 1; }

void work(uint64_t number, uint64_t workers) {
    struct worker *me = &all[number];
    struct account *account = &accounts[number];
    uint64_t barrier = 0;
    me->number = number;
    me->workers = workers;
    for (unsigned w = 0; w < workload_count; w++) {
        if (!planned(w)) continue;
        atomic_store(&me->count, 0);
        me->quota = plan.operations ? plan.operations / workers : ~0ull;
        arrive_and_wait(++barrier);
        if (!plan.operations) {
            me->phase = phase_of(w, WARM_UP);
            workloads[w].run(me);
        }
        me->phase = phase_of(w, MEASURE);
        account->start = now_ns();
        workloads[w].run(me);
        account->end = now_ns();
        account->count = done(me);
        arrive_and_wait(++barrier);
    }
}

static void take(struct look *look, uint64_t workers) {
    for (uint64_t i = 0; i < workers; i++) look->counts[i] = done(&all[i]);
    look->time = now_ns();
}

static void print_field(uint64_t number) {
    print_text(" ");
    print_number(number);
}

static int report(const struct workload *workload, uint64_t workers) {
    uint64_t total = 0, slowest = ~0ull, fastest = 0, count = 0, start = ~0ull, end = 0;
    uint64_t microseconds = (after.time - before.time) / 1000;
    if (!microseconds) microseconds = 1;
    for (uint64_t i = 0; i < workers; i++) {
        struct account *a = &accounts[i];
        uint64_t mine = after.counts[i] - before.counts[i];
        total += mine;
        count += a->count;
        if (mine < slowest) slowest = mine;
        if (mine > fastest) fastest = mine;
        if (a->start < start) start = a->start;
        if (a->end > end) end = a->end;
    }
    int right = !atomic_load(&wrong) && workload->is_right(workers, count);
    print_text(workload->name);
    print_field(total * 1000000 / microseconds);
    print_field(slowest * 1000000 / microseconds);
    print_field(fastest * 1000000 / microseconds);
    print_field(count);
    print_field(end - start);
    print_text(right ? " right\n" : " wrong\n");
    return right;
}

void keep_time(uint64_t workers) {
    uint64_t barrier = 0;
    for (unsigned w = 0; w < workload_count; w++) {
        if (!planned(w)) continue;
        gather(workers, ~0ull >> 1);
        atomic_store(&wrong, 0);
        workloads[w].prepare(workers);
        atomic_store(&phase, phase_of(w, plan.operations ? MEASURE : WARM_UP));
        take(&before, workers);
        atomic_store(&opened, ++barrier);
        if (!plan.operations) {
            warm_up(workers);
            atomic_store(&phase, phase_of(w, MEASURE));
            take(&before, workers);
            sleep_ns(plan.measure_ns);
            take(&after, workers);
            atomic_store(&phase, ~0ull);
        }
        gather(workers, plan.measure_ns);
        if (plan.operations) take(&after, workers);
        report(&workloads[w], workers);
        atomic_store(&opened, ++barrier);
    }
}
