# CLINT interrupts: `timer` on one hart, `software` from hart 0 to hart 1.

    .include "htif.S"

    .equ    CLINT, 0x2000000
    .equ    MTIMECMP, CLINT + 0x4000    # + 8 * hart
    .equ    MTIME, CLINT + 0xbff8       # counts at 10 MHz
    .equ    MSIE, 1 << 3                # mie: machine software interrupt
    .equ    MTIE, 1 << 7                # mie: machine timer interrupt
    .equ    MIE, 1 << 3                 # mstatus: interrupts on
    .equ    DELAY, 50000                # 5 ms

    .text
    .globl timer, software

timer:
    la      t0, handler
    csrw    mtvec, t0
    li      t0, MTIME
    ld      t1, 0(t0)
    li      t2, DELAY
    add     t1, t1, t2
    li      t0, MTIMECMP
    sd      t1, 0(t0)
    li      t0, MTIE
    csrw    mie, t0
    csrsi   mstatus, MIE
1:  wfi
    j       1b

software:
    beqz    a0, send
    # Hart 1 says that it is ready and waits.
    la      t0, handler
    csrw    mtvec, t0
    li      t0, MSIE
    csrw    mie, t0
    csrsi   mstatus, MIE
    la      t0, ready
    li      t1, 1
    fence   rw, w
    sw      t1, 0(t0)
2:  wfi
    j       2b
send:
    la      t0, ready
3:  lw      t1, 0(t0)
    beqz    t1, 3b
    li      t0, CLINT + 4           # msip of hart 1
    li      t1, 1
    sw      t1, 0(t0)
    park

# Notes the cause and ends the VM.
    .balign 4
handler:
    csrr    t1, mcause
    la      t0, seen_cause
    sd      t1, 0(t0)
    csrr    t1, mhartid
    la      t0, seen_hart
    sd      t1, 0(t0)
    exit    0

    .data
    .balign 64
ready:
    .word   0
    .size   ready, 4
    .balign 64
seen_cause:
    .dword  0
    .size   seen_cause, 8
seen_hart:
    .dword  -1
    .size   seen_hart, 8
