/* A set as a sorted list whose nodes are used again once no hazard pointer is on them: Michael (SPAA 2002, TPDS 2004).
 *
 * A link is released by who writes it, and acquired by who follows it. A hazard pointer is written before the link is
 * read again, and whoever retires a node unlinks it before reading the hazard pointers: a store and a load on both
 * sides, so both need a fence of sequential consistency between. Who moves on copies hazard 0 to 1 first, then
 * overwrites 0 with release; who scans reads 0, then 1, with acquire, and sees the node in one of them.
 */

#include "workload.h"

enum { KEYS = 16, FREED = 1 << 30, SCAN_AT = 4 };

#define MOST_RETIRED (2 * HS_HARTS + SCAN_AT)
#define NODES_OF_A_HART (KEYS + MOST_RETIRED)

typedef uintptr_t link; /* a node; the lowest bit marks its owner, the node that holds the link, as deleted */

#define MARK ((link)1)

struct node {
    APART _Atomic link next;
    _Atomic uint64_t key; /* FREED while nobody uses the node */
};

static struct node nodes[HS_HARTS][NODES_OF_A_HART];
static APART _Atomic link head;

static struct local {
    APART _Atomic(struct node *) hazard[2];
    APART struct node *spare[HS_HARTS * NODES_OF_A_HART];
    struct node *retired[MOST_RETIRED];
    unsigned spares, retireds;
    uint64_t inserted, removed, freed_seen;
} locals[HS_HARTS];

static int in_use(const struct node *node) {
    for (int h = 0; h < HS_HARTS; h++)
        for (int i = 0; i < 2; i++)
            if (atomic_load_explicit(&locals[h].hazard[i], memory_order_acquire) == node) return 1;
    return 0;
}

static void free_node(struct local *me, struct node *node) {
    atomic_store_explicit(&node->key, FREED, memory_order_relaxed);
    me->spare[me->spares++] = node;
}

static void retire(struct local *me, struct node *node) {
    me->retired[me->retireds++] = node;
    if (me->retireds < SCAN_AT) return;
    atomic_thread_fence(memory_order_seq_cst);
    unsigned kept = 0;
    for (unsigned i = 0; i < me->retireds; i++) {
        if (in_use(me->retired[i]))
            me->retired[kept++] = me->retired[i];
        else
            free_node(me, me->retired[i]);
    }
    me->retireds = kept;
}

struct place {
    _Atomic link *before;
    struct node *node; /* the first whose key is not less; both hazards stay on it and the one before */
    link next;
};

/* Whether the key is there. Unlinks deleted nodes on its way. */
static int find(int hart, uint64_t key, struct place *at) {
    struct local *me = &locals[hart];
again:
    at->before = &head;
    at->node = (struct node *)atomic_load_explicit(&head, memory_order_acquire);
    for (;;) {
        struct node *node = at->node;
        if (!node) return 0;
        linger(hart);
        atomic_store_explicit(&me->hazard[0], node, memory_order_release);
#if !BUG /* without this look, the node may have been freed before the hazard pointer was on it */
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(at->before, memory_order_acquire) != (link)node) goto again;
#endif
        at->next = atomic_load_explicit(&node->next, memory_order_acquire);
        uint64_t found = atomic_load_explicit(&node->key, memory_order_relaxed);
        if (found == FREED) {
            me->freed_seen++;
            return 0;
        }
        if (at->next & MARK) {
            link expected = (link)node;
            if (!atomic_compare_exchange_strong_explicit(at->before, &expected, at->next & ~MARK, memory_order_release,
                                                         memory_order_relaxed))
                goto again;
            retire(me, node);
            at->node = (struct node *)(at->next & ~MARK);
            continue;
        }
        /* Still linked: so neither the node nor, by its mark, the one before it was deleted when `next` was read. */
        if (!BUG && atomic_load_explicit(at->before, memory_order_acquire) != (link)node) goto again;
        if (found >= key) return found == key;
        at->before = &node->next;
        atomic_store_explicit(&me->hazard[1], node, memory_order_relaxed);
        at->node = (struct node *)at->next;
    }
}

static int insert(int hart, uint64_t key) {
    struct local *me = &locals[hart];
    struct place at;
    if (!me->spares) return 0;
    struct node *node = me->spare[--me->spares];
    atomic_store_explicit(&node->key, key, memory_order_relaxed);
    while (!find(hart, key, &at)) {
        link expected = (link)at.node;
        atomic_store_explicit(&node->next, expected, memory_order_relaxed);
        if (atomic_compare_exchange_strong_explicit(at.before, &expected, (link)node, memory_order_release,
                                                    memory_order_relaxed))
            return 1;
        if (me->freed_seen) break;
    }
    free_node(me, node);
    return 0;
}

static int remove_key(int hart, uint64_t key) {
    struct place at;
    while (find(hart, key, &at)) {
        link expected = at.next;
        if (!atomic_compare_exchange_strong_explicit(&at.node->next, &expected, at.next | MARK, memory_order_release,
                                                     memory_order_relaxed))
            continue;
        expected = (link)at.node;
        if (atomic_compare_exchange_strong_explicit(at.before, &expected, at.next, memory_order_release,
                                                    memory_order_relaxed))
            retire(&locals[hart], at.node);
        else
            find(hart, key, &at); /* unlinks it, if nobody else does */
        return 1;
    }
    return 0;
}

void prepare(int harts) {
    for (int h = 0; h < harts; h++)
        for (int i = 0; i < NODES_OF_A_HART; i++) free_node(&locals[h], &nodes[h][i]);
}

/* A hart that saw a freed node has shown the bug, and stops before it spoils the list beyond an end. */
void work(int hart, int harts) {
    struct local *me = &locals[hart];
    (void)harts;
    for (uint64_t n = 0; n < OPERATIONS; n++, did(hart, 1)) {
        uint64_t choice = random_number(hart), key = choice / 4 % KEYS;
        struct place at;
        if (me->freed_seen) continue;
        if (choice % 4 == 0)
            find(hart, key, &at);
        else if (choice % 4 < 3 && choice % 3)
            me->inserted += (uint64_t)insert(hart, key);
        else
            me->removed += (uint64_t)remove_key(hart, key);
        atomic_store_explicit(&me->hazard[0], NULL, memory_order_release);
        atomic_store_explicit(&me->hazard[1], NULL, memory_order_release);
    }
}

uint64_t inserted, removed, left, out_of_order, freed_seen;

void finish(int harts) {
    uint64_t last = 0;
    link next = atomic_load_explicit(&head, memory_order_relaxed);
    for (int i = 0; i < HS_HARTS * NODES_OF_A_HART && (next & ~MARK); i++) {
        struct node *node = (struct node *)(next & ~MARK);
        uint64_t key = atomic_load_explicit(&node->key, memory_order_relaxed) + 1;
        next = atomic_load_explicit(&node->next, memory_order_relaxed);
        if (next & MARK) continue; /* deleted, not unlinked */
        out_of_order += key <= last;
        last = key;
        left++;
    }
    for (int h = 0; h < harts; h++) {
        inserted += locals[h].inserted;
        removed += locals[h].removed;
        freed_seen += locals[h].freed_seen;
    }
}
