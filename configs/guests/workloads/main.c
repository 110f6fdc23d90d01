/* Drives a workload: prepare, work on every hart at once, finish, and say what was done. */

#include "workload.h"

struct account accounts[HS_HARTS];
uint64_t operations; /* of all harts */
static _Atomic uint64_t finished;

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
    hs_barrier(harts);
    work(hart, harts);
    note_shares(harts);
    hs_barrier(harts); /* from here on hart 0 sees all that the others did */
    if (hart) return 0;
    for (int i = 0; i < harts; i++) operations += atomic_load_explicit(&accounts[i].done, memory_order_relaxed);
    finish(harts);
    hs_print_number("operations ", (long)operations, ", of each hart when the first was through:");
    for (int i = 0; i < harts; i++) hs_print_number(" ", (long)accounts[i].share, "");
    hs_print("\n");
    return 0;
}
