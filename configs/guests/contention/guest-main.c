/* The platform of a bare guest: hart 0 keeps time, the others work. */

#include "contention.h"
#include "hartstorm.h"

enum { NS_PER_TICK = 1000000000 / HS_TIMER_HZ };

static uint64_t ticks(void) {
    uint64_t now;
    __asm__ volatile("rdtime %0" : "=r"(now));
    return now;
}

uint64_t now_ns(void) { return ticks() * NS_PER_TICK; }

/* The CLINT's mtimecmp of hart 0. WFI ends when its interrupt is pending, which need not be taken. */
void sleep_ns(uint64_t time) {
    uint64_t end = ticks() + time / NS_PER_TICK;
    *(volatile uint64_t *)0x2004000 = end;
    while (ticks() < end) __asm__ volatile("csrs mie, %0\n wfi" ::"r"(1 << 7) : "memory");
    __asm__ volatile("csrc mie, %0" ::"r"(1 << 7));
}

void print_text(const char *text) { hs_print(text); }
void print_number(uint64_t number) { hs_print_number("", (long)number, ""); }

int main(int hart, int harts) {
    if (hart) {
        work((uint64_t)hart - 1, (uint64_t)harts - 1);
    } else {
        keep_time((uint64_t)harts - 1);
    }
    return 0;
}
