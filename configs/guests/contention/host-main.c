/* The platform of Linux, native or under qemu-user: threads work, the main thread keeps time.
 * Usage: PROGRAM WORKERS WORKLOADS WARM_UP_NS MEASURE_NS BATCH OPERATIONS STOP_WHEN_WRONG */

#define _GNU_SOURCE
#include "contention.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sleep_ns(uint64_t time) {
    struct timespec t = {(time_t)(time / 1000000000u), (long)(time % 1000000000u)};
    nanosleep(&t, NULL);
}

/* As programs do that may have more threads than processors: spin, and now and then let others run. */
void relax(void) {
    static _Thread_local unsigned spins;
#ifdef __riscv
    __asm__ volatile(".word 0x0100000f"); /* pause */
#elif defined __x86_64__
    __asm__ volatile("pause");
#else
    __asm__ volatile("yield");
#endif
    if (++spins % 64 == 0) sched_yield();
}

void print_text(const char *text) { fputs(text, stdout); }
void print_number(uint64_t number) { printf("%llu", (unsigned long long)number); }

static uint64_t workers;

static void *thread(void *number) {
    work((uintptr_t)number, workers);
    return NULL;
}

int main(int count, char **arguments) {
    uint64_t given[7];
    if (count != 8) return 2;
    for (int i = 0; i < 7; i++) given[i] = strtoull(arguments[i + 1], NULL, 0);
    workers = given[0];
    plan = (struct plan){given[1], given[2], given[3], given[4], given[5], given[6]};
    if (workers < 1 || workers > MOST_WORKERS) return 2;
    for (uintptr_t i = 0; i < workers; i++) {
        pthread_t made;
        if (pthread_create(&made, NULL, thread, (void *)i)) return 1;
        pthread_detach(made);
    }
    keep_time(workers);
    return 0;
}
