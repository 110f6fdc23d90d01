"""From LLVM IR to a host object: passes and code generation, by tier.

Owns LLVM. Knows nothing of guests.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import llvmlite.binding as llvm

# LLVM is loaded where it is used: the coordinator needs the names of the tiers only.


class Tier(IntEnum):
    """How much LLVM does."""

    T1 = 1
    """No passes, fast code generation: for warm code."""
    T2 = 2
    """-O2: for hot code."""


@cache
def _machine(tier: Tier) -> llvm.TargetMachine:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.set_option("", "-disable-lsr")
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=1 if tier is Tier.T1 else 2,
        reloc="pic",
        codemodel="small",
    )


def compile_ir(ir: str, tier: Tier) -> bytes:
    """The object file for a module of IR."""
    import llvmlite.binding as llvm

    machine = _machine(tier)
    module = llvm.parse_assembly(ir)
    if tier is Tier.T2:
        options = llvm.create_pipeline_tuning_options(2)
        # Guest accesses are volatile: there is nothing to vectorise, and looking costs time.
        options.loop_unrolling = False  # done before: see Region.copies
        options.loop_vectorization = False
        options.slp_vectorization = False
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))
