/* Drives a workload: prepare, work on every hart at once, finish, and say what was done. */

#include "workload.h"

struct account accounts[HS_HARTS];
uint64_t operations, worked_ns, retired;
static _Atomic uint64_t finished;
static APART _Atomic uint32_t arrived, opened;

void start_together(int hart, int harts, void (*before)(int harts)) {
    uint32_t closed = atomic_load_explicit(&opened, memory_order_relaxed); /* until all have arrived */
    uint64_t rounds = 0;
    if (hart == 0) {
        for (; atomic_load_explicit(&arrived, memory_order_acquire) < (uint32_t)harts - 1; rounds++) relax();
        atomic_store_explicit(&arrived, 0, memory_order_relaxed);
        if (before) before(harts);
        atomic_store_explicit(&opened, closed + 1, memory_order_release);
    } else {
        atomic_fetch_add_explicit(&arrived, 1, memory_order_release);
        for (; atomic_load_explicit(&opened, memory_order_acquire) == closed; rounds++) relax();
    }
    __asm__ volatile("" : : "r"(rounds)); /* loops that count are none in which a hart is put to sleep */
}

#if MILLISECONDS

APART _Atomic uint32_t over;
uint64_t most_operations;
enum { WARM_OPERATIONS = 200, WARM_MILLISECONDS = 50 };
#define MTIMECMP (*(volatile uint64_t *)0x02004000) /* the CLINT's, of hart 0 */
#define MSTATUS_MIE 8
#define MIE_MTIE 128

static __attribute__((interrupt("machine"), aligned(4))) void time_is_over(void) {
    MTIMECMP = ~0ull;
    atomic_store_explicit(&over, 1, memory_order_relaxed);
}

/* On hart 0: from now on all harts may do so many, until the time is over once `set_timer` has been called. */
static void set_out(uint64_t most) {
    most_operations = most;
    MTIMECMP = ~0ull;
    atomic_store_explicit(&over, 0, memory_order_relaxed);
}

static void set_timer(uint64_t milliseconds) { MTIMECMP = now() + milliseconds * HS_TIMER_HZ / 1000; }

/* Every hart works a little, so that its code is compiled. */
static void warm_up(int hart, int harts) {
    work(hart, harts);
    hs_barrier(harts);
    atomic_store_explicit(&accounts[hart].done, 0, memory_order_relaxed);
#ifdef LATENCY
    latencies[hart] = (struct latencies){0};
#endif
}

static void begin_anew(int harts) {
    prepare(harts);
    set_out(OPERATIONS);
}

#endif

static uint64_t nanoseconds(uint64_t ticks) {
    return ticks / HS_TIMER_HZ * 1000000000 + ticks % HS_TIMER_HZ * 1000000000 / HS_TIMER_HZ;
}

#ifdef LATENCY

struct latencies latencies[HS_HARTS];
uint64_t latency_p50, latency_p90, latency_p99, latency_p999; /* ns, over the operations of all harts */

/* The middle of the bucket in which the operation is that `permille` of 1000 take no longer than. */
static uint64_t percentile(int harts, uint64_t permille) {
    uint64_t all = 0, seen = 0;
    for (int h = 0; h < harts; h++)
        for (int b = 0; b < LATENCY_BUCKETS; b++) all += latencies[h].buckets[b];
    for (int b = 0; b < LATENCY_BUCKETS; b++) {
        for (int h = 0; h < harts; h++) seen += latencies[h].buckets[b];
        if (1000 * seen >= permille * all) {
            int shift = b < 16 ? 0 : b / 8 - 1;
            return ((uint64_t)(b - 8 * shift) << shift) + ((1ull << shift) >> 1);
        }
    }
    return 0;
}

static void tell_latencies(int harts) {
    latency_p50 = nanoseconds(percentile(harts, 500));
    latency_p90 = nanoseconds(percentile(harts, 900));
    latency_p99 = nanoseconds(percentile(harts, 990));
    latency_p999 = nanoseconds(percentile(harts, 999));
}

#endif

#ifdef HISTORY
struct event history[HS_HARTS][OPERATIONS];
_Atomic uint64_t ticket = 1;
#endif

/* The first hart to be through notes how far the others are. Relaxed: it is a sample. */
static void note_shares(int harts) {
    if (atomic_fetch_add_explicit(&finished, 1, memory_order_relaxed)) return;
    for (int i = 0; i < harts; i++)
        accounts[i].share = atomic_load_explicit(&accounts[i].done, memory_order_relaxed);
}

int main(int hart, int harts) {
    accounts[hart].random = 0x9e3779b97f4a7c15u * (uint64_t)(hart + 1);
    if (hart == 0) prepare(harts);
#if MILLISECONDS
    if (hart == 0) {
        __asm__ volatile("csrw mtvec, %0\n csrs mie, %1\n csrs mstatus, %2"
                         : : "r"(time_is_over), "r"(MIE_MTIE), "r"(MSTATUS_MIE));
        set_out(WARM_OPERATIONS);
        set_timer(WARM_MILLISECONDS);
    }
#endif
    hs_barrier(harts);
#if MILLISECONDS
    warm_up(hart, harts);
    start_together(hart, harts, begin_anew);
    if (hart == 0) set_timer(MILLISECONDS);
#else
    start_together(hart, harts, NULL);
#endif
    uint64_t before = instret();
    accounts[hart].began = now();
#ifdef LATENCY
    latencies[hart].last = accounts[hart].began;
#endif
    work(hart, harts);
    accounts[hart].ended = now();
    accounts[hart].retired = instret() - before;
    note_shares(harts);
    hs_barrier(harts); /* from here on hart 0 sees all that the others did */
    if (hart) return 0;
    uint64_t began = accounts[0].began, ended = 0;
    for (int i = 0; i < harts; i++) {
        operations += atomic_load_explicit(&accounts[i].done, memory_order_relaxed);
        retired += accounts[i].retired;
        if (accounts[i].began < began) began = accounts[i].began;
        if (accounts[i].ended > ended) ended = accounts[i].ended;
    }
    worked_ns = nanoseconds(ended - began);
    finish(harts);
#ifdef LATENCY
    tell_latencies(harts);
#endif
    hs_print_number("operations ", (long)operations, ", of each hart when the first was through:");
    for (int i = 0; i < harts; i++) hs_print_number(" ", (long)accounts[i].share, "");
    hs_print("\n");
    return 0;
}
