/* A walk along a linked list in shuffled order. */
#include "kernel.h"

enum { NODES = 4096, ROUNDS = 6000 };
struct node {
    struct node *next;
    uint64_t value;
};
static struct node nodes[NODES];
static struct node *head;

void kernel_init(void) {
    static uint32_t order[NODES];
    uint64_t x = 99;
    for (uint32_t i = 0; i < NODES; i++) order[i] = i;
    for (uint32_t i = NODES - 1; i; i--) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t k = (uint32_t)(x >> 33) % (i + 1), t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[order[i]].next = i + 1 < NODES ? &nodes[order[i + 1]] : 0;
        nodes[order[i]].value = i;
    }
    head = &nodes[order[0]];
}

uint64_t kernel_run(void) {
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (struct node *n = head; n; n = n->next) sum = (sum << 1 | sum >> 63) ^ n->value;
    return sum;
}
