# Every pseudo-instruction and nearly every directive, in a form that LLVM takes too.
/* A comment
   over lines. */
#include "everything.h"

#define FOUR 4
#define TWICE(x) ((x) * 2)
#define LOAD(reg, ...) li reg, TWICE(__VA_ARGS__)
#define JOIN(a, b) a ## b
#if defined(SEVEN) && SEVEN == 7 && __riscv_xlen == 64
# define RESULT 49
#elif defined(NOTHING)
# error "not reached"
#else
# define RESULT 0
#endif
#ifdef __riscv_atomic
# define ATOMIC 1
#endif

        .section .text.init, "ax", @progbits
        .globl  _start
        .type   _start, @function
_start:
        nop
        LOAD(a0, 3 + FOUR)
        LOAD(
            a1,
            5)
        li      a2, RESULT; li a3, ATOMIC
JOIN(lab, el): mv a4, a5
        j       JOIN(la, bel)
        .size   _start, . - _start

        .text
pseudo:
        not     a0, a1
        neg     a0, a1
        negw    a0, a1
        sext.w  a0, a1
        sext.b  a0, a1
        sext.h  a0, a1
        zext.b  a0, a1
        zext.h  a0, a1
        zext.w  a0, a1
        seqz    a0, a1
        snez    a0, a1
        sltz    a0, a1
        sgtz    a0, a1
        sgt     a0, a1, a2
        sgtu    a0, a1, a2
        add     a0, a1, 12
        and     a0, a1, -1
        or      a0, a1, 0x7f
        xor     a0, a1, 'A'
        slt     a0, a1, 1
        sltu    a0, a1, 1
        sll     a0, a1, 63
        srl     a0, a1, 1
        sra     a0, a1, 2
        addw    a0, a1, 3
        sllw    a0, a1, 31
        srlw    a0, a1, 4
        sraw    a0, a1, 5
        unimp
        fence
        fence   rw, w
        fence.tso
        fence.i
        pause
        ecall
        ebreak
        mret
        wfi

1:      beqz    a0, 1b
        bnez    a0, 1f
        blez    a0, 1f
        bgez    a0, 1b
        bltz    a0, 1b
        bgtz    a0, 1b
        bgt     a0, a1, 1b
        ble     a0, a1, 1b
        bgtu    a0, a1, 1b
        bleu    a0, a1, 1b
1:      j       1b
        jal     1b
        jal     t0, 1f
        jr      a0
        jr      16(a0)
        jalr    a0
        jalr    -4(a0)
        jalr    a1, a0
        jalr    a1, 8(a0)
        jalr    a1, a0, 12
        jalr    a1, (a0)
1:      ret
        call    function
        call    t0, function
        tail    function
        jump    function, t2

        csrr    t0, mhartid
        csrw    mscratch, t0
        csrs    mstatus, t0
        csrc    mstatus, t0
        csrw    mscratch, 5
        csrwi   mscratch, 5
        csrsi   mstatus, 8
        csrci   mstatus, 8
        csrrw   a0, 0x340, a1
        csrrwi  a0, mepc, 31
        csrrsi  a0, mepc, 0
        rdcycle a0
        rdtime  a1
        rdinstret a2

addresses:
        la      a0, table
        lla     a1, table + 8
        lb      a0, table
        lbu     a0, table
        lh      a0, table
        lhu     a0, table
        lw      a0, table
        lwu     a0, table
        ld      a0, table + 4
        sb      a1, table, t0
        sh      a1, table, t0
        sw      a1, table, t0
        sd      a1, table, t0
        lui     a0, %hi(absolute)
        addi    a0, a0, %lo(absolute)
        lw      a1, %lo(absolute)(a0)
        sw      a1, %lo(absolute)(a0)
2:      auipc   a0, %pcrel_hi(table)
        addi    a0, a0, %pcrel_lo(2b)
        lw      a1, %pcrel_lo(2b)(a0)
        sw      a1, %pcrel_lo(2b)(a0)
        lui     a0, 0xfffff
        auipc   a0, 1
        lw      a0, (a1)
        lw      a0, FOUR * 2 - 1 | 1(a1)
        .set    absolute, 0x12345678

atomics:
        lr.w    a0, (a1)
        lr.d.aq a0, (a1)
        lr.w.aqrl a0, 0(a1)
        sc.w.rl a0, a2, (a1)
        sc.d.aqrl a0, a2, 0(a1)
        amoadd.w a0, a1, (a2)
        amoadd.d.aq a0, a1, (a2)
        amoswap.w.rl a0, a1, 0(a2)
        amomaxu.d.aqrl a0, a1, (a2)
        amoor.b a0, a1, (a2)
        amomin.h.aqrl a0, a1, (a2)
        amocas.w a0, a1, (a2)
        amocas.d.aq a0, a1, (a2)
        amocas.q.aqrl a0, a2, (a4)
        amocas.b.rl a0, a1, (a2)
        wrs.nto
        wrs.sto
        lb.aq   a0, (a1)
        ld.aqrl a0, (a1)
        sw.rl   a0, (a1)
        sd.aqrl a0, (a1)
        czero.eqz a0, a1, a2
        mulhsu  a0, a1, a2
        remuw   a0, a1, a2

// Macros
        .macro  push reg, offset=0
        sd      \reg, \offset(sp)
        .endm
        .macro  save first:req, rest:vararg
        push    \first, 8
        .ifnb   \rest
        push_all \rest
        .endif
        .endm
        .macro  push_all a, b=s1
        push    \a
        push    reg=\b, offset=16
        .endm
        .macro  counted name
\name\()_\@:
        .word   \@ - \@ + 3
        .endm
        .macro  countdown n
        .word   \n
        .if     \n > 0
        countdown \n - 1
        .endif
        .endm
        .macro  early x
        .word   \x
        .if     \x == 1
        .exitm
        .endif
        .word   100
        .endm
macros:
        push    ra
        push    ra, 24
        save    ra
        save    ra, t0
        save    ra, t0, t1
        counted here
        counted here
        countdown 3
        early   1
        early   2
        .purgem early
        .rept   3
        addi    a0, a0, 1
        .endr
        .irp    reg, a0, a1, a2
        .irp    by, 1, 2
        addi    \reg, \reg, \by
        .endr
        .endr
        .irpc   digit, 123
        li      a\digit, \digit
        .endr

// Conditions
        .equ    level, 2
        .if     level == 2
        .word   1
        .if     level > 3
        .word   2
        .else
        .word   3
        .endif
        .elseif level == 3
        .word   4
        .else
        .word   5
        .endif
        .ifdef  level
        .word   6
        .endif
        .ifndef level
        .word   7
        .endif
        .ifeq   level - 2
        .word   8
        .endif
        .ifne   level - 2
        .word   9
        .endif
        .ifc    a, a
        .word   10
        .endif
        .if     . - macros < 1000
        .word   11
        .endif

// Alignment, space and far branches
        .p2align 4
        .balign 32
        .align  6
aligned:
        addi    a0, a0, 1
        .p2align 3
far:    beq     a0, a1, distant
        bltu    a0, a1, distant
        bnez    a0, distant
        bgez    a0, distant
        .space  5000
distant:
        bne     a0, a1, far
        blez    a0, far
        .option push
        .option norelax
        beq     a0, a1, aligned + 4
        .option pop

        .globl  function
        .type   function, @function
function:
        .cfi_sections .debug_frame
        .cfi_startproc
        ret
        .cfi_endproc
        .size   function, . - function

        .section .rodata
        .asciz  "text; with # and // and \"quotes\"\n"
        .string "a\tb\\", "c"
        .ascii  "\x41\102", "end"
        .byte   'a', '\n', '#', ';'
        .section .rodata.more, "a", @progbits
        .byte   1, 2, -1, 255
        .half   0xffff, -32768
        .short  2
        .2byte  3

        .data
        .globl  table
        .type   table, @object
table:
        .word   0x11223344, -1, table_end - table, 1 << 4 | 2, 7 / 2 - 1
        .long   ~0, !0, -(3), 10 % 3, 6 & 3 ^ 1
        .4byte  5 - 3 - 1, 2 * 3 + 4, (2 + 3) * 4, 1 + 2 << 3
        .dword  table, distant, 0xffffffffffffffff, 0x8000000000000000
        .quad   function - _start
        .8byte  . , 0b1011, 017
        .balign 16
        .zero   3
        .skip   5, 0xaa
        .fill   3, 2, 0x1234
        .fill   2
        .float  1.5
        .double -0.25
        .previous_value = 5
        .word   .previous_value
        counter = 1
        .word   counter
        counter = counter + 1
        .word   counter
        .set    counter, counter * 10
        .word   counter
        .org    table + 256
table_end:
        .size   table, table_end - table

        .pushsection .rodata
        .word   0xabcd
        .popsection
        .word   0xef01

        .section .tohost, "aw", @progbits
        .align  6
        .globl  tohost
        .globl  fromhost
tohost: .dword  0
        .size   tohost, 8
        .align  6
fromhost: .dword 0
        .size   fromhost, 8

        .bss
        .globl  zeros
zeros:  .zero   100
        .size   zeros, 100
        .local  lonely
lonely: .space  8
        .ident  "none"
