/* What a C guest may call besides the compiler's own <stdatomic.h>, <stdint.h> and friends.
 *
 * Every hart calls `int main(int hart, int harts)`. Globals are shared by all harts; a stack belongs to one.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Ends the VM: exit code 0 to 0x7fffffff. Does not return. */
_Noreturn void hs_exit(int code);

/* Prints on the VM's console. A string comes out whole, even when several harts print. */
void hs_print(const char *text);
void hs_print_number(const char *before, long number, const char *after);

#if defined(__riscv_zaamo) || defined(__riscv_zalrsc)
/* Waits until `harts` harts are here. All writes before it are visible to all after it. */
void hs_barrier(int harts);
#endif

/* Ends the VM with exit code `code` and a message unless `condition` holds. */
#define HS_CHECK(condition, code)                                                                                  \
    do {                                                                                                           \
        if (!(condition)) {                                                                                        \
            hs_print_number(__FILE__ ":", __LINE__, ": " #condition " is false\n");                                \
            hs_exit(code);                                                                                         \
        }                                                                                                          \
    } while (0)
