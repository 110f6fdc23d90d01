/* Every hart owns a Chase-Lev deque, and steals from the others'. See deque.h for its orderings. */

#include "deque.h"

static struct deque deques[HS_HARTS];
static struct {
    APART uint64_t in, out;
} locals[HS_HARTS];

enum { PUSH = 1, TAKE, TAKE_EMPTY, STEAL, STEAL_EMPTY };

void prepare(int harts) { (void)harts; }

/* As often in as out, so that there is mostly one value left, or none. */
void work(int hart, int harts) {
    struct deque *mine = &deques[hart];
    for (uint64_t n = 0; n < OPERATIONS; n++) {
        uint64_t value = (uint64_t)(hart + 1) << 32 | n, choice = random_number(hart) % 8, invoked = draw();
        if (choice < 4 && deque_push(mine, value)) {
            record(hart, n, invoked, PUSH, (unsigned)hart, value);
            locals[hart].in += value;
        } else {
            int owns = choice < 6, victim = owns ? hart : (int)(random_number(hart) % (uint64_t)harts);
            enum outcome outcome = owns ? deque_take(mine, &value) : deque_steal(hart, &deques[victim], &value);
            if (outcome != GOT) value = 0;
            if (outcome != LOST)
                record(hart, n, invoked, (owns ? TAKE : STEAL) + (outcome == EMPTY), (unsigned)victim, value);
            locals[hart].out += value;
        }
        did(hart, 1);
    }
}

uint64_t sum_in, sum_out;

void finish(int harts) {
    for (int h = 0; h < harts; h++) {
        uint64_t value;
        while (deque_take(&deques[h], &value) == GOT) sum_out += value;
        sum_in += locals[h].in;
        sum_out += locals[h].out;
    }
}
