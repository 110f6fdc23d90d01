/* A histogram that all harts add to: bins side by side, so that harts meet in a granule more often than in a bin.
 *
 * Additions are relaxed: each bin has one order by coherence, and nobody reads before the barrier at the end.
 */

#include "workload.h"

enum { BINS = 16 };

static APART _Atomic uint32_t bins[BINS];
static struct {
    APART uint32_t added[BINS];
} locals[HS_HARTS];

void prepare(int harts) { (void)harts; }

void work(int hart, int harts) {
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        /* The lesser of two: low bins are hot. */
        uint64_t a = random_number(hart) % BINS, b = random_number(hart) % BINS, bin = a < b ? a : b;
#if BUG /* a load and a store */
        uint32_t before = atomic_load_explicit(&bins[bin], memory_order_relaxed);
        linger(hart);
        atomic_store_explicit(&bins[bin], before + 1, memory_order_relaxed);
#else
        atomic_fetch_add_explicit(&bins[bin], 1, memory_order_relaxed);
#endif
        locals[hart].added[bin]++;
        did(hart, 1);
    }
}

uint64_t total, wrong_bins;

void finish(int harts) {
    for (int i = 0; i < BINS; i++) {
        uint32_t expected = 0, seen = atomic_load_explicit(&bins[i], memory_order_relaxed);
        for (int h = 0; h < harts; h++) expected += locals[h].added[i];
        wrong_bins += seen != expected;
        total += seen;
    }
}
