# A -> B -> A between LR and SC: the value is the old one again, and yet the SC must fail.
#
# Hart 0 reserves `value`, lets hart 1 write B and then A there, and tries the SC. Flags in other reservation sets
# force that order. Three rounds: hart 1 writes with plain stores, with AMOs, with its own LR/SC.

    .include "htif.S"

    .equ A, 0xa
    .equ B, 0xb
    .equ C, 0xc

# Tells the other hart that step `step` is done; what came before is visible first.
    .macro tell flag, step
    li      t5, \step
    fence   rw, rw
    sd      t5, 0(\flag)
    .endm

# Waits for the other hart to tell `step`.
    .macro await flag, step
    li      t5, \step
await_\@:
    ld      t6, 0(\flag)
    bne     t6, t5, await_\@
    fence   rw, rw
    .endm

    .text
    .globl _start
_start:
    la      s0, value
    la      s1, reserved
    la      s2, rewritten
    la      s3, sc_result
    bnez    a0, writer

    .macro round number
    lr.d    t0, (s0)
    tell    s1, \number
    await   s2, \number
    li      t1, C
    sc.d    t2, t1, (s0)
    sd      t2, 8 * (\number - 1)(s3)
    .endm

    round   1
    round   2
    round   3
    exit    0

writer:
    li      t0, A
    li      t1, B

    await   s1, 1
    sd      t1, 0(s0)
    sd      t0, 0(s0)
    tell    s2, 1

    await   s1, 2
    amoswap.d zero, t1, (s0)
    amoswap.d zero, t0, (s0)
    tell    s2, 2

    await   s1, 3
1:  lr.d    t2, (s0)
    sc.d    t3, t1, (s0)
    bnez    t3, 1b
2:  lr.d    t2, (s0)
    sc.d    t3, t0, (s0)
    bnez    t3, 2b
    tell    s2, 3
    park

    .data
    .balign 4096
    .globl value
value:
    .dword  A
    .size   value, 8
    .balign 4096
reserved:
    .dword  0
    .size   reserved, 8
    .balign 4096
rewritten:
    .dword  0
    .size   rewritten, 8
    .balign 4096
    .globl sc_result
sc_result:
    .dword  -1, -1, -1
    .size   sc_result, 24
