/* Calls, in the manner of Dhrystone: small functions, records, an indirect call and recursion. */
#include "kernel.h"

enum { ROUNDS = 900000 };
struct record {
    struct record *other;
    int kind, value;
    char name[16];
};
static struct record one, two;
static int global;

#define CALLED static __attribute__((noinline))

CALLED int add(int a, int b) { return a + b + global; }
CALLED int subtract(int a, int b) { return a - b; }
CALLED int multiply(int a, int b) { return a * b; }
static int (*const volatile operations[4])(int, int) = {add, subtract, multiply, subtract};

CALLED void fill(struct record *r, int value) {
    r->kind = value & 3;
    r->value = add(value, r->value);
    for (int i = 0; i < 8; i++) r->name[i] = (char)(value + i);
}

CALLED void assign(struct record *to, const struct record *from) {
    struct record *other = to->other;
    *to = *from;
    to->other = other;
}

CALLED int equal(const char *a, const char *b) {
    for (int i = 0; i < 16; i++)
        if (a[i] != b[i]) return i;
    return 16;
}

CALLED int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

void kernel_init(void) {
    one.other = &two;
    two.other = &one;
}

uint64_t kernel_run(void) {
    uint64_t sum = 0;
    struct record *r = &one;
    for (int i = 0; i < ROUNDS; i++) {
        fill(r, i);
        assign(r->other, r);
        r = r->other;
        sum += (uint64_t)operations[r->kind](r->value, i & 7) + (uint64_t)equal(one.name, two.name);
        if (!(i & 63)) sum += (uint64_t)fibonacci(12);
        global = (int)(sum & 15);
    }
    return sum;
}
