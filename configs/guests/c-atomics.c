/* C11 <stdatomic.h> on several harts: exchange, fetch_add on 8 to 64 bits, compare_exchange, flags and fences.
 *
 * Each part checks its own result; a failed check prints its line and becomes the exit code.
 */

#include <hartstorm.h>
#include <stdbool.h>

static _Atomic uint8_t count8;
static _Atomic uint16_t count16;
static _Atomic uint32_t count32;
static _Atomic uint64_t count64;

static _Atomic uint64_t weak_total, strong_total;

static atomic_flag lock = ATOMIC_FLAG_INIT;
uint64_t locked_total; /* not atomic: the flag protects it */

static _Atomic uint64_t token = 1, tokens_seen;

static int message;
static atomic_int ready;
static atomic_int received;

static void fetch_add(void) {
    for (int i = 0; i < ITERATIONS; i++) {
        atomic_fetch_add_explicit(&count8, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&count16, 3, memory_order_acquire);
        atomic_fetch_add_explicit(&count32, 5, memory_order_release);
        atomic_fetch_add(&count64, 7);
    }
}

static void compare_exchange(void) {
    for (int i = 0; i < ITERATIONS; i++) {
        uint64_t old = atomic_load_explicit(&weak_total, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&weak_total, &old, old + 1, memory_order_acq_rel,
                                                      memory_order_relaxed)) {
        }
        old = atomic_load(&strong_total);
        while (!atomic_compare_exchange_strong(&strong_total, &old, old + 2)) {
        }
    }
}

static void flag(void) {
    for (int i = 0; i < ITERATIONS; i++) {
        while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
        }
        locked_total++;
        atomic_flag_clear_explicit(&lock, memory_order_release);
    }
}

/* One token goes round by exchange: whoever gets it counts it and puts it back. None may be lost or doubled. */
static void exchange(void) {
    for (int i = 0; i < ITERATIONS; i++) {
        while (!atomic_exchange(&token, 0)) {
        }
        atomic_fetch_add(&tokens_seen, 1);
        atomic_store(&token, 1);
    }
}

/* Message passing with fences: who sees the flag sees the message. */
static void fences(int hart) {
    if (hart == 0) {
        message = 42;
        atomic_thread_fence(memory_order_release);
        atomic_store_explicit(&ready, 1, memory_order_relaxed);
    } else {
        while (!atomic_load_explicit(&ready, memory_order_relaxed)) {
        }
        atomic_thread_fence(memory_order_acquire);
        HS_CHECK(message == 42, 2);
        atomic_fetch_add(&received, 1);
    }
}

int main(int hart, int harts) {
    uint64_t all = (uint64_t)harts * ITERATIONS;
    fetch_add();
    compare_exchange();
    flag();
    exchange();
    fences(hart);
    hs_barrier(harts);
    if (hart == 0) {
        HS_CHECK(count8 == (uint8_t)all, 3);
        HS_CHECK(count16 == (uint16_t)(3 * all), 4);
        HS_CHECK(count32 == 5 * all, 5);
        HS_CHECK(count64 == 7 * all, 6);
        HS_CHECK(weak_total == all, 7);
        HS_CHECK(strong_total == 2 * all, 8);
        HS_CHECK(locked_total == all, 9);
        HS_CHECK(tokens_seen == all && token == 1, 10);
        HS_CHECK(received == harts - 1, 11);
        hs_print_number("all atomics agree on ", harts, " harts\n");
    }
    return 0;
}
