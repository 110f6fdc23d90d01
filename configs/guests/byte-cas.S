# Needs Zabha and Zacas: every hart adds 1 to a byte with amoadd.b, then to a word by amocas.w.

    .include "htif.S"

    .option arch, +zabha, +zacas    # for a VM that lacks them, too: that is the point

    .text
    .globl _start
_start:
    la      s1, byte_counter
    la      s2, cas_counter
    li      s3, ITERATIONS
count:
    li      t1, 1
    .globl first_zabha
first_zabha:
    amoadd.b zero, t1, (s1)
    lw      t0, 0(s2)
1:  mv      t2, t0
    addiw   t1, t0, 1
    amocas.w t0, t1, (s2)
    bne     t0, t2, 1b
    addi    s3, s3, -1
    bnez    s3, count

    # The last hart ends the VM.
    la      t0, finished
    li      t1, 1
    amoadd.w.aqrl t2, t1, (t0)
    addi    t2, t2, 1
    beq     t2, a1, last
    park
last:
    exit    0

    .bss
    .balign 64
byte_counter:
    .zero   1
    .size   byte_counter, 1
    .balign 64
cas_counter:
    .zero   4
    .size   cas_counter, 4
    .balign 64
finished:
    .zero   4
    .size   finished, 4
