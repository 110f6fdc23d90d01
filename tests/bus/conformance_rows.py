"""The rows of `test_conformance`: what the unprivileged manual says of Zalrsc, Zaamo, Zacas, Zabha and Zawrs.

Rows are named by the manual's own tags (the anchors `norm:...` in its source, chapters za, of ordering, zalrsc, zaamo,
zacas, zabha and zawrs); each of its rules has one or more. Each is a forced interleaving: instructions of several
harts, one after the other, and what each must answer. A tag without a row stands in UNTESTED with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bus.access import AmoOp
from tests.forced_harts import FAR, FAULT, RAM_BYTES, STALLED, WENT_ON, A

RAM = 0x8000_0000
END = RAM + RAM_BYTES
ANY = object()
ONES = (1 << 64) - 1

_TAGS = """
    a_aq_rl_bits a_domain_specific_ordering a_no_aq_rl a_acquire_semantics a_release_semantics a_seq_cst_semantics
    lr_w_op sc_w_success sc_w_failure sc_retire_permission sc_failed_side_effects sc_failed_as_store
    sc_reservation_invalidate lr_sc_rv64 sc_failure_code lr_sc_alignment lr_reservation_set_size sc_pairs_latest_lr
    sc_success_conditions sc_device_write_failure sc_addr_not_in_reservation_fail sc_other_hart_store_fail
    sc_other_device_write_fail sc_intervening_sc_fail lr_sc_atomicity_axiom sc_not_observable_before_lr
    lr_sc_aq_rl_software_rule constrained_lrsc_loop_size constrained_lrsc_instruction_set
    constrained_lrsc_compressed_allowed constrained_lrsc_retry_code lrsc_eventuality_region lrsc_same_address_and_size
    unconstrained_lrsc_no_progress constrained_lrsc_forward_progress_intro constrained_lrsc_forward_progress_sc
    constrained_lrsc_forward_progress_store_amo constrained_lrsc_forward_progress_branch
    constrained_lrsc_forward_progress_trap
    amo_operand_size amo_alignment misaligned_atomicity_granule_size amo_release_consistency
    Zacas_rv32_amocas-w_op Zacas_rv32_amocas-d_op Zacas_rv32_amocas-d_frst_pair_entry_reg_even
    Zacas_rv32_amocas-d_rs2_frst_reg_x0 Zacas_rv32_amocas-d_rd_frst_reg_x0
    Zacas_rv64_amocas-w_op Zacas_rv64_amocas-d_op Zacas_rv64_amocas-q_op Zacas_rv64_amocas-q_frst_pair_entry_reg_even
    Zacas_rv64_amocas-q_rs2_frst_reg_x0 Zacas_rv64_amocas-q_rd_frst_reg_x0 Zacas_amocas_rs1_addr_alignment
    Zacas_amocas_mem_op_success_aq_rl Zacas_amocas_mem_op_fail_aq_rl Zacas_amocas_w_permission
    Zabha_rd_sign_extension Zabha_amocas-BH_ignore_bits Zabha_rs1_align_addr
    Zawrs_wrs-nto_stall_exec Zawrs_wrs-sto_stall_duration Zawrs_stall_terminate Zawrs_exec_resume_rules
    Zawrs_priv_illegal_instr_excp Zawrs_virtual_instr_excp
"""
TAGS = frozenset(_TAGS.split())
"""Every tag of those chapters."""

_RV32 = "RV32; harts are RV64"
_AT_ONCE = (
    "order between accesses of harts that run at once: the litmus runner's to test, `bus.lowering`'s to argue"
)
UNTESTED = {
    "a_domain_specific_ordering": "atomics reach memory alone; what fences order is the litmus runner's to test",
    "a_no_aq_rl": _AT_ONCE,
    "a_acquire_semantics": _AT_ONCE,
    "a_release_semantics": _AT_ONCE,
    "a_seq_cst_semantics": _AT_ONCE,
    "sc_failed_side_effects": "unspecified; and there is no address translation",
    "sc_failed_as_store": "a permission, not a duty; there is no memory protection",
    "lr_sc_aq_rl_software_rule": "a rule for software",
    "lrsc_eventuality_region": "a promise to communicate: all of RAM has the property",
    "unconstrained_lrsc_no_progress": "a permission, not a duty",
    "misaligned_atomicity_granule_size": "optional; there is none, so that misaligned atomics trap",
    "amo_release_consistency": _AT_ONCE,
    "Zacas_amocas_mem_op_success_aq_rl": _AT_ONCE,
    "Zacas_amocas_mem_op_fail_aq_rl": _AT_ONCE,
    "Zacas_rv32_amocas-w_op": _RV32,
    "Zacas_rv32_amocas-d_op": _RV32,
    "Zacas_rv32_amocas-d_frst_pair_entry_reg_even": _RV32,
    "Zacas_rv32_amocas-d_rs2_frst_reg_x0": _RV32,
    "Zacas_rv32_amocas-d_rd_frst_reg_x0": _RV32,
    "Zawrs_stall_terminate": "a permission, not a duty",
    "Zawrs_priv_illegal_instr_excp": "of modes below M, which there are not",
    "Zawrs_virtual_instr_excp": "of virtualised modes, which there are not",
}


@dataclass(frozen=True)
class Row:
    """An interleaving.

    `steps` are (hart, operation, operands..., answer); `values_hide_it`: an SC that compares values lets it pass.
    """

    tag: str
    what: str
    steps: tuple[tuple[object, ...], ...]
    rules: dict[str, object] = field(default_factory=dict)
    values_hide_it: bool = False

    def __str__(self) -> str:
        return f"norm:{self.tag}: {self.what}"


LR = (0, "lr", A, 8, ANY)
WINS, FAILS = (0, "sc", A, 8, 9, True), (0, "sc", A, 8, 9, False)
SET = (2, "store", A, 8, 5, None)
OTHER = (1, "store", A, 8, 6, None)


def misaligned(*accesses: tuple[object, ...]) -> tuple[tuple[object, ...], ...]:
    """Each must be refused for its alignment."""
    return tuple((0, *a, (FAULT, f"{'LOAD' if a[0] == 'lr' else 'STORE'}_MISALIGNED")) for a in accesses)


LRSC = (
    Row(
        "lr_w_op",
        "a word, sign-extended",
        ((2, "store", A, 8, 0x1_8000_0000, None), (0, "lr", A, 4, ONES << 31 & ONES)),
    ),
    Row("lr_w_op", "reserves the word", (LR, (0, "lr", A + 4, 4, ANY), (0, "sc", A + 4, 4, 1, True))),
    Row("sc_w_success", "undisturbed", (SET, (0, "lr", A, 8, 5), WINS, (1, "load", A, 8, 9))),
    Row(
        "sc_w_success",
        "writes 32 bits",
        (
            (2, "store", A, 8, ONES, None),
            (0, "lr", A, 4, ONES),
            (0, "sc", A, 4, 2**40 + 7, True),
            (1, "load", A, 8, 0xFFFF_FFFF_0000_0007),
        ),
    ),
    Row("sc_w_success", "not after reset", (FAILS,)),
    Row("sc_w_failure", "writes nothing", (SET, FAILS, (1, "load", A, 8, 5))),
    Row(
        "sc_retire_permission", "without reservation", ((0, "sc", END, 8, 1, (FAULT, "STORE_ACCESS_FAULT")),)
    ),
    Row(
        "sc_retire_permission",
        "with one elsewhere",
        (LR, (0, "sc", RAM - 8, 8, 1, (FAULT, "STORE_ACCESS_FAULT")), (1, "load", A, 8, 0)),
    ),
    Row("sc_reservation_invalidate", "by success", (LR, WINS, FAILS)),
    Row("sc_reservation_invalidate", "by failure", (LR, OTHER, FAILS, FAILS)),
    Row(
        "lr_sc_rv64",
        "doublewords",
        (
            (2, "store", A, 8, 2**63 + 1, None),
            (0, "lr", A, 8, 2**63 + 1),
            (0, "sc", A, 8, ONES, True),
            (1, "load", A, 8, ONES),
        ),
    ),
    Row(
        "sc_failure_code",
        "is 1",
        ((0, "sc rd", A, 8, 1, 1), LR, OTHER, (0, "sc rd", A, 8, 1, 1), (0, "sc rd", A, 4, 1, 1)),
    ),
    Row("sc_failure_code", "success is 0", (LR, (0, "sc rd", A, 8, 1, 0))),
    Row(
        "lr_sc_alignment",
        "LR and SC",
        misaligned(("lr", A + 4, 8), ("lr", A + 2, 4), ("sc", A + 4, 8, 1), ("sc", A + 1, 4, 1)),
    ),
    Row("lr_reservation_set_size", "all bytes of the word", (LR, (1, "store", A + 7, 1, 0, None), FAILS)),
    Row("lr_reservation_set_size", "another address of the set", (LR, (0, "sc", A + 4, 4, 1, True))),
    Row(
        "lrsc_same_address_and_size",
        "another address, where it must be the same",
        (LR, (0, "sc", A + 4, 4, 1, False)),
        {"require_exact_reservation_addr": True},
    ),
    Row(
        "lrsc_same_address_and_size",
        "another size, where it must be the same",
        (LR, (0, "sc", A, 4, 1, False)),
        {"require_exact_reservation_addr": True},
    ),
    Row("lrsc_same_address_and_size", "the same", (LR, WINS), {"require_exact_reservation_addr": True}),
    Row(
        "sc_pairs_latest_lr",
        "not an earlier one",
        (LR, (0, "lr", FAR, 8, ANY), FAILS, (0, "sc", FAR, 8, 1, False)),
    ),
    Row("sc_pairs_latest_lr", "the latest", (LR, (0, "lr", FAR, 8, ANY), (0, "sc", FAR, 8, 1, True))),
    *(
        Row(
            "sc_success_conditions",
            f"A to B to A by {name}",
            (SET, LR, *steps, FAILS, (1, "load", A, 8, 5)),
            values_hide_it=True,
        )
        for name, steps in {
            "stores": ((1, "store", A, 8, 6, None), (1, "store", A, 8, 5, None)),
            "AMOs": ((1, "amo", AmoOp.ADD, A, 8, 1, 5), (1, "amo", AmoOp.ADD, A, 8, ONES, 6)),
            "SCs": (
                (1, "lr", A, 8, 5),
                (1, "sc", A, 8, 6, True),
                (2, "lr", A, 8, 6),
                (2, "sc", A, 8, 5, True),
            ),
            "AMOCASs": ((1, "cas", A, 8, 5, 6, 5), (1, "cas", A, 8, 6, 5, 6)),
            "two harts": ((1, "store", A, 8, 6, None), (2, "store", A, 8, 5, None)),
        }.items()
    ),
    Row(
        "sc_success_conditions",
        "the value that is there",
        (SET, LR, (1, "store", A, 8, 5, None), FAILS),
        values_hide_it=True,
    ),
    Row(
        "sc_success_conditions", "loads do no harm", (LR, (1, "load", A, 8, ANY), (1, "lr", A, 8, ANY), WINS)
    ),
    Row(
        "sc_success_conditions",
        "stores elsewhere do no harm",
        (LR, (1, "store", FAR, 8, 1, None), (1, "amo", AmoOp.OR, FAR, 4, 1, ANY), WINS),
    ),
    Row("sc_success_conditions", "an SC that fails does no harm", (LR, (1, "sc", A, 8, 1, False), WINS)),
    Row("sc_success_conditions", "an own store does no harm", (LR, (0, "store", A, 8, 0, None), WINS)),
    Row(
        "sc_success_conditions",
        "an own store, where it shall",
        (LR, (0, "store", A, 8, 0, None), FAILS),
        {"invalidate_on_same_hart_store": True},
        values_hide_it=True,
    ),
    Row(
        "sc_success_conditions",
        "an own AMO, where it shall",
        (LR, (0, "amo", AmoOp.OR, A, 8, 0, ANY), FAILS),
        {"invalidate_on_same_hart_store": True},
        values_hide_it=True,
    ),
    Row("sc_success_conditions", "a trap does no harm", (LR, (0, "trap", None), WINS)),
    Row(
        "sc_success_conditions",
        "a trap, where it shall",
        (LR, (0, "trap", None), FAILS),
        {"invalidate_on_trap": True},
    ),
    Row(
        "sc_success_conditions",
        "spurious failure, where asked for",
        (LR, FAILS, LR, FAILS),
        {"spurious_sc_failure": 1.0},
    ),
    Row("sc_device_write_failure", "another value", (SET, LR, (2, "device store", A, 8, 6, None), FAILS)),
    Row(
        "sc_other_device_write_fail",
        "A to B to A",
        (SET, LR, (2, "device store", A, 8, 6, None), (2, "device store", A, 8, 5, None), FAILS),
        values_hide_it=True,
    ),
    Row(
        "sc_addr_not_in_reservation_fail",
        "another page",
        (LR, (0, "sc", FAR, 8, 1, False), (1, "load", FAR, 8, 0)),
    ),
    Row("sc_other_hart_store_fail", "a store", (SET, LR, OTHER, FAILS, (1, "load", A, 8, 6))),
    Row(
        "sc_other_hart_store_fail",
        "a misaligned store that ends in the set",
        (LR, (1, "store", A - 3, 4, 2**24, None), FAILS),
    ),
    Row(
        "sc_other_hart_store_fail",
        "not hidden by an own store",
        (LR, OTHER, (0, "store", A, 8, 0, None), FAILS),
        values_hide_it=True,
    ),
    *(
        Row(
            "sc_other_hart_store_fail",
            f"{op.name} of {size} bytes",
            (SET, LR, (1, "amo", op, A, size, 3, 5), (0, "sc", A, 8, 9, False), (2, "load", A, size, new)),
            values_hide_it=new == 5,
        )
        for op, new in zip(AmoOp, (3, 8, 6, 1, 7, 3, 5, 3, 5), strict=True)
        for size in ((1, 2, 4, 8) if op is AmoOp.ADD else (8,))
    ),
    *(
        Row(
            "sc_other_hart_store_fail",
            f"compare-and-swap of {size} bytes",
            (SET, LR, (1, "cas", A, size, 5, 6, 5), FAILS, (2, "load", A, 8, 6)),
        )
        for size in (1, 2, 4, 8, 16)
    ),
    Row("sc_intervening_sc_fail", "to another address", (LR, (0, "sc", FAR, 8, 1, False), FAILS)),
    Row(
        "sc_intervening_sc_fail",
        "that succeeded",
        (LR, (0, "lr", FAR, 8, ANY), (0, "sc", FAR, 8, 1, True), FAILS),
    ),
    Row(
        "lr_sc_atomicity_axiom",
        "one of two harts",
        (SET, LR, (1, "lr", A, 8, 5), (1, "sc", A, 8, 3, True), FAILS),
    ),
    Row(
        "lr_sc_atomicity_axiom",
        "one of three harts",
        (
            LR,
            (1, "lr", A, 8, ANY),
            (2, "lr", A, 8, ANY),
            (2, "sc", A, 8, 3, True),
            (1, "sc", A, 8, 3, False),
            FAILS,
        ),
    ),
    Row(
        "lr_sc_atomicity_axiom",
        "a pair of doublewords, either half",
        (
            (2, "store", A, 8, 5, None),
            (0, "lr", A + 8, 8, 0),
            (1, "cas", A, 16, 5, 1 << 64 | 5, 5),
            (0, "sc", A + 8, 8, 9, False),
            (2, "load", A + 8, 8, 1),
        ),
    ),
    Row(
        "sc_not_observable_before_lr",
        "nor between",
        (SET, (1, "load", A, 8, 5), LR, (1, "load", A, 8, 5), WINS, (1, "load", A, 8, 9)),
    ),
    *(
        Row(
            "sc_w_success",
            f"with lr.{a or 'none'} and sc.{b or 'none'}",
            (SET, (0, f"lr.{a}", A, 8, 5), (0, f"sc.{b}", A, 8, 9, True), (1, "load", A, 8, 9)),
        )
        for a, b in (("aq", "rl"), ("aqrl", "aqrl"), ("aq", "aqrl"))
    ),
)

AMOS = (
    *(
        Row(
            "a_aq_rl_bits",
            f"amocas with {bits}, an LR/SC pair likewise",
            (
                SET,
                (1, f"cas.{bits}", A, 8, 5, 6, 5),
                (0, f"lr.{bits}", A, 8, 6),
                (0, f"sc.{bits}", A, 8, 9, True),
                (2, "load", A, 8, 9),
            ),
        )
        for bits in ("aq", "rl", "aqrl")
    ),
    *(
        Row(
            "amo_operand_size",
            f"{op.name.lower()}.w",
            (
                (2, "store", A, 8, 0x1_8000_0000, None),
                (1, "amo", op, A, 4, 0xABCD_0000_0000 | low, ONES << 31 & ONES),
                (2, "load", A, 8, 0x1_0000_0000 | new),
            ),
        )
        for op, low, new in (
            (AmoOp.SWAP, 1, 1),
            (AmoOp.ADD, 0x8000_0001, 1),
            (AmoOp.MAX, 1, 1),
            (AmoOp.MAXU, 1, 0x8000_0000),
            (AmoOp.MIN, 1, 0x8000_0000),
            (AmoOp.MINU, 1, 1),
        )
    ),
    Row(
        "amo_operand_size",
        "doublewords",
        (
            (1, "amo", AmoOp.SWAP, A, 8, ONES - 1, 0),
            (2, "amo", AmoOp.ADD, A, 8, 2, ONES - 1),
            (0, "load", A, 8, 0),
        ),
    ),
    Row(
        "amo_alignment",
        "word and doubleword",
        misaligned(("amo", AmoOp.ADD, A + 2, 4, 1), ("amo", AmoOp.ADD, A + 4, 8, 1)),
    ),
    Row("amo_alignment", "before the end of RAM is looked at", misaligned(("amo", AmoOp.ADD, END - 2, 4, 1))),
    Row(
        "amo_operand_size",
        "outside RAM",
        ((0, "amo", AmoOp.ADD, RAM - 4, 4, 1, (FAULT, "STORE_ACCESS_FAULT")),),
    ),
    Row(
        "Zabha_rd_sign_extension",
        "bytes",
        (
            (2, "store", A, 8, 0x1FF, None),
            (1, "amo", AmoOp.ADD, A, 1, 0xFF01, ONES),
            (2, "load", A, 8, 0x100),
        ),
    ),
    Row(
        "Zabha_rd_sign_extension",
        "halfwords",
        (
            (2, "store", A, 8, 0x1_8000, None),
            (1, "amo", AmoOp.MIN, A, 2, 0xFFFF_0001, ONES << 15 & ONES),
            (2, "load", A, 8, 0x1_8000),
        ),
    ),
    Row(
        "Zabha_rd_sign_extension",
        "the last byte of a granule",
        ((1, "amo", AmoOp.SWAP, A + 7, 1, 0x85, 0), (2, "load", A, 8, 0x85 << 56)),
    ),
    Row(
        "Zabha_amocas-BH_ignore_bits",
        "byte",
        ((2, "store", A, 8, 0x105, None), (1, "cas", A, 1, 0xFF05, 0xFF06, 5), (2, "load", A, 8, 0x106)),
    ),
    Row(
        "Zabha_amocas-BH_ignore_bits",
        "halfword",
        (
            (2, "store", A, 8, 0x1_8005, None),
            (1, "cas", A, 2, 0xF_8005, 0xF_0006, ONES << 15 & ONES | 5),
            (2, "load", A, 8, 0x1_0006),
        ),
    ),
    Row(
        "Zabha_rs1_align_addr",
        "halfword",
        misaligned(("amo", AmoOp.ADD, A + 1, 2, 1), ("cas", A + 1, 2, 0, 0)),
    ),
)

PAIR = ((2, "store", A, 8, 5, None), (2, "store", A + 8, 8, 6, None))
CAS = (
    Row(
        "Zacas_rv64_amocas-w_op",
        "low halves",
        (
            (2, "store", A, 8, 0x1_0000_0005, None),
            (1, "cas", A, 4, 0xFF_0000_0005, 0xFF_0000_0006, 5),
            (2, "load", A, 8, 0x1_0000_0006),
        ),
    ),
    Row(
        "Zacas_rv64_amocas-w_op",
        "sign-extended",
        (
            (2, "store", A, 8, 0x8000_0000, None),
            (1, "cas", A, 4, 1, 2, ONES << 31 & ONES),
            (2, "load", A, 8, 0x8000_0000),
        ),
    ),
    Row("Zacas_rv64_amocas-d_op", "equal", (SET, (1, "cas", A, 8, 5, 6, 5), (2, "load", A, 8, 6))),
    Row("Zacas_rv64_amocas-d_op", "not equal", (SET, (1, "cas", A, 8, 4, 6, 5), (2, "load", A, 8, 5))),
    *(
        Row(
            "Zacas_rv64_amocas-d_op",
            f"with {order}",
            (SET, (1, f"cas.{order}", A, 8, 5, 6, 5), (2, "load", A, 8, 6)),
        )
        for order in ("aq", "rl", "aqrl")
    ),
    Row(
        "Zacas_rv64_amocas-q_op",
        "equal",
        (
            *PAIR,
            (1, "cas", A, 16, 6 << 64 | 5, 8 << 64 | 7, 6 << 64 | 5),
            (2, "load", A, 8, 7),
            (2, "load", A + 8, 8, 8),
        ),
    ),
    Row(
        "Zacas_rv64_amocas-q_op",
        "low half differs",
        (
            *PAIR,
            (1, "cas", A, 16, 6 << 64 | 4, 1, 6 << 64 | 5),
            (2, "load", A, 8, 5),
            (2, "load", A + 8, 8, 6),
        ),
    ),
    Row(
        "Zacas_rv64_amocas-q_op",
        "high half differs",
        (
            *PAIR,
            (1, "cas", A, 16, 7 << 64 | 5, 1, 6 << 64 | 5),
            (2, "load", A, 8, 5),
            (2, "load", A + 8, 8, 6),
        ),
    ),
    Row(
        "Zacas_rv64_amocas-q_frst_pair_entry_reg_even",
        "rd",
        (*PAIR, (1, "cas odd rd", A, 0, 0, (FAULT, "ILLEGAL_INSTRUCTION")), (2, "load", A, 8, 5)),
    ),
    Row(
        "Zacas_rv64_amocas-q_frst_pair_entry_reg_even",
        "rs2",
        (*PAIR, (1, "cas odd rs2", A, 0, 0, (FAULT, "ILLEGAL_INSTRUCTION")), (2, "load", A, 8, 5)),
    ),
    Row(
        "Zacas_rv64_amocas-q_rs2_frst_reg_x0",
        "stores zeros",
        (
            *PAIR,
            (1, "cas rs2 x0", A, 6 << 64 | 5, ONES, 6 << 64 | 5),
            (2, "load", A, 8, 0),
            (2, "load", A + 8, 8, 0),
        ),
    ),
    Row(
        "Zacas_rv64_amocas-q_rd_frst_reg_x0",
        "compares with zeros, and writes no register",
        (
            (1, "cas rd x0", A, 3 << 64 | 2, 8 << 64 | 7, 3 << 64 | 2),
            (2, "load", A, 8, 7),
            (2, "load", A + 8, 8, 8),
        ),
    ),
    Row(
        "Zacas_amocas_rs1_addr_alignment",
        "all sizes",
        misaligned(("cas", A + 8, 16, 0, 0), ("cas", A + 4, 8, 0, 0), ("cas", A + 2, 4, 0, 0)),
    ),
    Row(
        "Zacas_amocas_w_permission",
        "also if it would not match",
        (
            (0, "cas", END, 16, 1, 0, (FAULT, "STORE_ACCESS_FAULT")),
            (0, "cas", END, 8, 1, 0, (FAULT, "STORE_ACCESS_FAULT")),
        ),
    ),
)

WAITS = (
    Row("Zawrs_wrs-nto_stall_exec", "reserved", (LR, (0, "wrs.nto", STALLED))),
    Row("Zawrs_wrs-nto_stall_exec", "stored to before", (LR, OTHER, (0, "wrs.nto", WENT_ON))),
    Row(
        "Zawrs_wrs-nto_stall_exec",
        "nothing reserved",
        ((0, "wrs.nto", WENT_ON), LR, WINS, (0, "wrs.nto", WENT_ON)),
    ),
    Row(
        "Zawrs_wrs-nto_stall_exec",
        "the same value stored before",
        (SET, LR, (1, "store", A, 8, 5, None), (0, "wrs.nto", WENT_ON)),
    ),
    Row("Zawrs_wrs-sto_stall_duration", "stored to before", (LR, OTHER, (0, "wrs.sto", WENT_ON))),
    Row(
        "Zawrs_exec_resume_rules",
        "an interrupt is pending",
        (LR, (0, "interrupt", None), (0, "wrs.nto", WENT_ON), (0, "wrs.sto", WENT_ON)),
    ),
)

ROWS = (*LRSC, *AMOS, *CAS, *WAITS)

# LR/SC pairs that a policy may fuse, in one hart's code: the pair's LR here, then others' steps, then an SC.
FUSED = (0, "fused lr", A, 8, ANY)
FUSED_ROWS = (
    Row("sc_w_success", "fused", (SET, (0, "fused lr", A, 8, 5), WINS, (1, "load", A, 8, 9))),
    Row("sc_other_hart_store_fail", "fused", (SET, FUSED, OTHER, FAILS)),
    Row("sc_addr_not_in_reservation_fail", "fused", (SET, FUSED, (0, "sc", FAR, 8, 1, False), FAILS)),
    Row("sc_pairs_latest_lr", "fused", ((0, "lr", FAR, 8, ANY), FUSED, (0, "sc", FAR, 8, 1, False))),
    Row("sc_intervening_sc_fail", "fused", (FUSED, (0, "sc", FAR, 8, 1, False), FAILS)),
    Row(
        "sc_success_conditions",
        "fused on a tracked page",
        ((1, "lr", A, 8, ANY), SET, FUSED, (1, "store", A, 8, 6, None), SET, FAILS),
    ),
)
INLINE_FUSED_ROWS = (
    Row("sc_success_conditions", "an own store between", (SET, FUSED, (0, "store", FAR, 8, 1, None), FAILS)),
    Row("sc_success_conditions", "an own load between", (SET, FUSED, (0, "load", FAR, 8, ANY), FAILS)),
    Row("sc_success_conditions", "an own fence between", (SET, FUSED, (0, "fence", None), FAILS)),
    Row("sc_success_conditions", "a trap between", (SET, FUSED, (0, "trap", None), FAILS)),
    Row("sc_success_conditions", "another address", (SET, FUSED, (0, "sc", A + 4, 4, 1, False))),
    Row("sc_success_conditions", "the page becomes tracked", (SET, FUSED, (1, "lr", A + 8, 8, ANY), FAILS)),
)
"""What lies between ends what was fused, which no other policy does."""
