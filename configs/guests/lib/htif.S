# HTIF, the way a bare guest ends its VM: included by assembly guests with `.include "htif.S"`.

# Ends the VM with the exit code in `code`, a constant.
    .macro exit code
    li      t0, \code << 1 | 1
    la      t1, tohost
    sd      t0, 0(t1)
    park
    .endm

# Stops this hart for good, while others go on.
    .macro park
park_\@:
    wfi
    j       park_\@
    .endm

# A page of their own: harts look at each store to the page of tohost, which takes the interpreter.
    .data
    .balign 4096
    .globl tohost, fromhost
tohost:
    .dword  0
    .size   tohost, 8
    .balign 64
fromhost:
    .dword  0
    .size   fromhost, 8
    .balign 4096
    .text
