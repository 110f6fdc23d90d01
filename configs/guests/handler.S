# A trap handler at work: counts the traps it sees, notes the last cause, and steps over the instruction.

    .include "htif.S"

    .text
    .option norvc
    .globl _start
_start:
    la      t0, handler
    csrw    mtvec, t0
    .word   0xffffffff              # illegal instruction
    ecall
    la      t0, count
    addi    t0, t0, 4
    amoadd.d zero, zero, (t0)       # store/AMO address misaligned
    exit    0

    .balign 4
handler:
    csrw    mscratch, t0
    la      t0, count
    ld      t1, 0(t0)
    addi    t1, t1, 1
    sd      t1, 0(t0)
    la      t0, last_cause
    csrr    t1, mcause
    sd      t1, 0(t0)
    csrr    t0, mepc
    addi    t0, t0, 4
    csrw    mepc, t0
    csrr    t0, mscratch
    mret

    .data
    .balign 64
count:
    .dword  0
    .size   count, 8
last_cause:
    .dword  0
    .size   last_cause, 8
