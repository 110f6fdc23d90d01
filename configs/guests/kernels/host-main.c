/* Runs a kernel as a Linux program, native or under qemu-user: prints the checksum and the time of each repetition
 * in nanoseconds. Usage: PROGRAM REPETITIONS */

#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int count, char **arguments) {
    int repetitions = count > 1 ? atoi(arguments[1]) : 1;
    kernel_init();
    for (int i = 0; i < repetitions; i++) {
        uint64_t start = now();
        uint64_t sum = kernel_run();
        printf("%016llx %llu\n", (unsigned long long)sum, (unsigned long long)(now() - start));
    }
    return 0;
}
