"""The checks that a table makes when it loads really refuse."""

from __future__ import annotations

import pytest

from hart.isa import BY_NAME, ROWS
from hart.isa.row import Row, Table, TableError, check


def unary(m: object, rd: int, rs1: int) -> None:
    raise AssertionError("not run")


def one_row(form: str, pattern: str, **options: object) -> Row:
    table = Table("X")
    table.add(form, pattern, options.pop("meaning", unary), **options)  # type: ignore[arg-type]
    return table.rows[0]


def test_the_table_is_consistent() -> None:
    check(ROWS)


def test_overlapping_rows() -> None:
    stranger = one_row("mine rd, rs1", "000000000000 rs1 000 rd 0010011")
    with pytest.raises(TableError, match="addi and mine share words"):
        check([*ROWS, stranger])


def test_an_exclusion_separates_rows() -> None:
    wide = one_row("wide rd, rs1", "000000000000 rs1 000 rd 0001011", exclude={"rd": (0, 3)})
    check([wide, one_row("narrow rs1", "000000000000 rs1 000 00000 0001011", meaning=lambda m, rs1: None)])
    with pytest.raises(TableError, match="wide and narrow share words"):
        check(
            [wide, one_row("narrow rs1", "000000000000 rs1 000 00001 0001011", meaning=lambda m, rs1: None)]
        )


def test_two_rows_with_one_name() -> None:
    with pytest.raises(TableError, match="two rows are named addi"):
        check([*ROWS, one_row("addi rd, rs1", "000000000000 rs1 000 rd 0001011")])


@pytest.mark.parametrize("base", ["fence", "nosuch"])
def test_a_refinement_lies_within_its_row(base: str) -> None:
    outside = one_row("outside rd, rs1", "000000000000 rs1 001 rd 0001011", refines=base)
    with pytest.raises(TableError, match=f"outside refines {base}"):
        check([*ROWS, outside])


def test_an_open_opcode() -> None:
    with pytest.raises(TableError, match="opcode bits"):
        check([one_row("odd rd, rs1", "00000000000000000 rs1 rd 00010")])


@pytest.mark.parametrize(
    ("form", "pattern", "options", "message"),
    [
        ("x rd, rs1", "0000000 rs2 00000 000 rd 0001011", {}, "no field 'rs1'"),
        ("x rd, rs1, rs2", "000000000000 rs1 000 rd 0001011", {}, "no field 'rs2'"),
        ("x rd", "000000000000 rs1 000 rd 0001011", {}, "field 'rs1' of pattern .* is not in operands 'rd'"),
        ("x rd, rs1", "imm[11:0] rs1 000 rd 0001011", {}, "field 'imm' .* is not in operands"),
        ("x rd, rs1", "000000000000 rs1 000 rd 0001011", {"exclude": {"imm": (0,)}}, "no field 'imm'"),
        ("x rd", "000000000000 rs1 000 rd 0001011", {"ignored": ("rs1",)}, "'rs1' is said to be ignored"),
        ("x rd", "000000000000 00000 000 rd 0001011", {"constants": {"rs1": 1}, "ignored": ("fm",)}, "'fm'"),
    ],
)
def test_parts_that_do_not_fit(form: str, pattern: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(TableError, match=message):
        one_row(form, pattern, **options)


def test_ignored_fields_and_constants() -> None:
    row = one_row("x rd", "imm[11:0] 00000 000 rd 0001011", constants={"rs1": 7}, ignored=("imm",))
    assert row.bind({"rd": 3, "imm": 5}) == (3, 7)


@pytest.mark.parametrize(
    ("expansion", "message"),
    [("addi rd, imm", "does not have the operands of addi"), ("addi rd, rs1, imm", "no field 'rs1'")],
)
def test_expansions_that_do_not_fit(expansion: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table("X").expand("c.x rd, imm", "001 imm[5] rd imm[4:0] 01", expansion, BY_NAME)


def test_an_expansion_has_the_meaning_of_its_base() -> None:
    row, base = BY_NAME["c.addi16sp"], BY_NAME["addi"]
    assert row.meaning is base.meaning
    assert row.expands == "addi"
    assert row.bind({"nzimm": -16}) == (2, 2, -16)


def test_extensions_of_the_table() -> None:
    assert BY_NAME["amocas.b"].extensions == BY_NAME["amocas.h"].extensions == ("Zabha", "Zacas")
    assert BY_NAME["mret"].extensions == BY_NAME["wfi"].extensions == ()
    assert BY_NAME["pause"].refines == "fence"
    assert BY_NAME["mul"].extensions == ("Zmmul",)  # which M brings
    assert BY_NAME["divw"].extensions == ("M",)
