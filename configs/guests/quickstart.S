# Four ways to count: every hart adds 1 to four counters, ITERATIONS times each.
#
# Every hart starts at _start with a0 = its number and a1 = the number of harts.

    .include "htif.S"

    .text
    .globl _start
_start:
    # Wait until all harts are here, so that they really compete.
    la      t0, arrived
    li      t1, 1
    amoadd.w.aqrl zero, t1, (t0)
1:  lw      t2, 0(t0)
    bltu    t2, a1, 1b
    fence   r, rw

    la      s1, amo_counter
    la      s2, lrsc_counter
    la      s3, cas_counter
    la      s4, lock
    la      s5, locked_counter
    li      s6, ITERATIONS

count:
    # An AMO: one instruction, cannot fail.
    li      t1, 1
    amoadd.d zero, t1, (s1)

    # Load-reserved and store-conditional: repeat until nobody came between.
1:  lr.d    t0, (s2)
    addi    t0, t0, 1
    sc.d    t1, t0, (s2)
    bnez    t1, 1b

    # Compare-and-swap: repeat until the value is the one the sum was made from.
    ld      t0, 0(s3)
2:  mv      t2, t0
    addi    t1, t0, 1
    amocas.d t0, t1, (s3)
    bne     t0, t2, 2b

    # A plain counter under a test-and-test-and-set spinlock.
    li      t1, 1
3:  lw      t0, 0(s4)
    bnez    t0, 3b
    amoswap.w.aq t0, t1, (s4)
    bnez    t0, 3b
    ld      t0, 0(s5)
    addi    t0, t0, 1
    sd      t0, 0(s5)
    amoswap.w.rl zero, zero, (s4)

    addi    s6, s6, -1
    bnez    s6, count

    # The last hart ends the VM.
    la      t0, finished
    li      t1, 1
    amoadd.w.aqrl t2, t1, (t0)
    addi    t2, t2, 1
    beq     t2, a1, last
    park
last:
    exit    0

# Each in a reservation set of its own, so that no counter disturbs another's LR/SC.
    .macro shared name, bytes
    .balign 64
    .globl \name
\name:
    .zero   \bytes
    .size   \name, \bytes
    .endm

    .bss
    shared  amo_counter, 8
    shared  lrsc_counter, 8
    shared  cas_counter, 8
    shared  lock, 4
    shared  locked_counter, 8
    shared  arrived, 4
    shared  finished, 4
