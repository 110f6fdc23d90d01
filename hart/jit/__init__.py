"""Native tiers: guest code compiled with LLVM from the same instruction rows as the interpreter.

`region` finds what to compile, `lowering` turns it into LLVM IR, `codegen` into objects, `engine` loads and enters
them, `service` compiles for all harts of a VM, `cache` remembers across runs.
"""
