# One entry for each kind of exception. The instruction that raises it stands at the label that ends in `_here`.
#
# mtvec is never written, so the exception ends the hart and becomes the run's result.

    .include "htif.S"

    .equ    NOWHERE, 0x1000         # no memory there

    .macro entry name
    .globl  \name, \name\()_here
\name:
    .endm

    .text
    .option norvc

entry instruction_misaligned
    la      t0, instruction_misaligned
    addi    t0, t0, 2
instruction_misaligned_here:
    jr      t0

entry instruction_access
    li      t0, NOWHERE
instruction_access_here:
    jr      t0

entry illegal
illegal_here:
    .word   0xffffffff

entry breakpoint
breakpoint_here:
    ebreak

entry ecall_from_m
ecall_from_m_here:
    ecall

entry load_misaligned
    la      t0, buffer
load_misaligned_here:
    ld      t1, 1(t0)

entry lr_misaligned
    la      t0, buffer
    addi    t0, t0, 2
lr_misaligned_here:
    lr.w    t1, (t0)

entry load_access
    li      t0, NOWHERE
load_access_here:
    lw      t1, 0(t0)

entry lr_access
    li      t0, NOWHERE
lr_access_here:
    lr.d    t1, (t0)

entry store_misaligned
    la      t0, buffer
store_misaligned_here:
    sd      zero, 1(t0)

entry sc_misaligned
    la      t0, buffer
    lr.w    t1, (t0)
    addi    t0, t0, 2
sc_misaligned_here:
    sc.w    t1, zero, (t0)

entry amo_misaligned
    la      t0, buffer
    addi    t0, t0, 4
amo_misaligned_here:
    amoadd.d t1, zero, (t0)

entry store_access
    li      t0, NOWHERE
store_access_here:
    sw      zero, 0(t0)

entry sc_access
    li      t0, NOWHERE
sc_access_here:
    sc.w    t1, zero, (t0)

entry amo_access
    li      t0, NOWHERE
amo_access_here:
    amoswap.w t1, zero, (t0)

    .data
    .balign 64
    .globl  buffer
buffer:
    .zero   64
    .size   buffer, 64
