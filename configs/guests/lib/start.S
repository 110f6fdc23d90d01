# Start of a C guest: gives every hart a stack, calls main(hart, harts), and ends the VM.
#
# Every hart comes here with a0 = its number and a1 = the number of harts. A main that returns anything but 0 ends
# the VM at once with that exit code; when every hart's main has returned 0 the VM ends with exit code 0.
# Needs no atomic instruction, so that it runs on every ISA.

# The builder says how large guest memory is (HS_RAM_END), and how many stacks of which size to set aside at its end.
    .globl __ram_end, __harts, __stack_size
    .equ __ram_end, HS_RAM_END
    .equ __harts, HS_HARTS
    .equ __stack_size, HS_STACK_SIZE

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    .option push
    .option norelax
    la      gp, __global_pointer$
    .option pop
    li      sp, HS_RAM_END
    li      t1, HS_STACK_SIZE
    mv      t0, a0
next_stack:
    beqz    t0, have_stack
    sub     sp, sp, t1
    addi    t0, t0, -1
    j       next_stack
have_stack:
    mv      s0, a0
    mv      s1, a1
    call    main
    bnez    a0, hs_exit
    # main returned 0: say so in this hart's byte
    la      t0, returned
    add     t1, t0, s0
    li      t2, 1
    fence   rw, w
    sb      t2, 0(t1)
    bnez    s0, park
    # hart 0 waits for the others
    add     t1, t0, s1
wait:
    lbu     t2, 0(t0)
    beqz    t2, wait
    addi    t0, t0, 1
    bltu    t0, t1, wait
    fence   r, rw
    li      a0, 0
    # falls through

# void hs_exit(int code): ends the VM.
    .globl hs_exit
    .type hs_exit, @function
hs_exit:
    slli    a0, a0, 33
    srli    a0, a0, 32
    ori     a0, a0, 1
    la      t0, tohost
    sd      a0, 0(t0)
park:
    wfi
    j       park

    .bss
returned:
    .zero   1024
    .size returned, 1024

    .section .tohost, "aw", @progbits
    .balign 64
    .globl tohost
    .type tohost, @object
    .size tohost, 8
tohost:
    .dword 0
    .balign 64
    .globl fromhost
    .type fromhost, @object
    .size fromhost, 8
fromhost:
    .dword 0
