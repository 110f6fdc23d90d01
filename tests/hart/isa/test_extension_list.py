"""Extension lists of device trees: the binding's rules, reading and writing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.isa.extension_list import (
    broken_rules,
    explain_extension_list,
    extension_list,
    parse_extension_list,
)
from hart.isa.extensions import effective, implemented, requirements
from hart.isa.isa_string import IsaError

RV64 = "rv64i: the list must hold none of zcf, zilsd, zclsd"
RULES = [
    ("i a zacas", ["zacas: the list must hold all of zaamo"]),
    ("i zaamo zacas", []),
    ("i a zaamo zacas", []),
    ("i a za64rs", []),
    ("i zalrsc za64rs", []),
    ("i za64rs", ["za64rs: the list must hold exactly one of zalrsc, a"]),
    ("i a zalrsc za64rs", ["za64rs: the list must hold exactly one of zalrsc, a"]),
    ("i zalrsc ziccrse", []),
    ("i a zalrsc ziccrse", ["ziccrse: the list must hold exactly one of zalrsc, a"]),
    ("i zaamo ziccamoa", []),
    ("i a zaamo ziccamoa", ["ziccamoa: the list must hold exactly one of zaamo, a"]),
    ("i ziccamoa", ["ziccamoa: the list must hold exactly one of zaamo, a"]),
    ("i d", ["d: the list must hold all of f"]),
    ("i f d", []),
    ("i b zba zbb", ["b: the list must hold all of zba, zbb, zbs"]),
    ("i zba zbb", []),
    ("i zba zbb zbs", ["zba, zbb, zbs: the list must hold all of b"]),
    ("i b zba zbb zbs", []),
    ("i zcb", ["zcb: the list must hold all of zca"]),
    ("i zcmop", ["zcmop: the list must hold all of zca"]),
    ("i zcmop zca", []),
    ("i zca zcd", ["zcd: the list must hold all of zca, d"]),
    ("i f d zca zcd", []),
    ("i f zca zcf", [RV64]),
    ("i zcf", ["zcf: the list must hold all of zca, f", RV64]),
    ("i zilsd", [RV64]),
    ("i zclsd", ["zclsd: the list must hold all of zilsd, zca", RV64]),
    ("i zfbfmin", ["zfbfmin: the list must hold all of f"]),
    # no rule
    ("i a zabha zalasr zawrs ziccif zicclsm", []),
    ("i zaamo", []),
]


@pytest.mark.parametrize(("listed", "broken"), RULES)
def test_the_rules_of_the_binding(listed: str, broken: list[str]):
    assert broken_rules(listed.split()) == broken


@pytest.mark.parametrize(("listed", "broken"), [rule for rule in RULES if rule[1]])
def test_a_list_that_breaks_one_is_refused_with_that_reason(listed: str, broken: list[str]):
    with pytest.raises(IsaError) as raised:
        parse_extension_list("rv64i", listed.split())
    assert str(raised.value) == f"{', '.join(listed.split())!r}: {'; '.join(broken)}"


@pytest.mark.parametrize(
    ("base", "names", "message"),
    [
        ("rv32i", [], "only 'rv64i' is known"),
        (
            "rv64i",
            ["i", "zakas"],
            "riscv,isa-extensions[1]: unknown extension 'zakas'; did you mean 'Zacas'?",
        ),
        ("rv64i", ["i", "Zacas"], "riscv,isa-extensions[1]: 'Zacas' must be written 'zacas'"),
        ("rv64i", ["i", "zabha"], "Zabha needs Zaamo"),
        ("rv64i", ["a"], "base instruction set I"),
    ],
)
def test_errors(base: str, names: list[str], message: str):
    with pytest.raises(IsaError) as raised:
        parse_extension_list(base, names)
    assert message in str(raised.value)


def test_a_list_is_literal():
    assert parse_extension_list("rv64i", ["i", "a"]) == {"I", "A", "Zaamo", "Zalrsc"}


def test_explained():
    assert explain_extension_list("rv64i", ["i", "zba", "a"]) == {
        "I": "listed", "A": "listed", "Zaamo": "with A", "Zalrsc": "with A", "Zba": "listed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extensions", "listed"),
    [
        ({"I", "A"}, ["i", "a", "zaamo", "zalrsc"]),
        ({"I", "A", "Ziccrse"}, ["i", "a", "ziccrse", "zaamo"]),
        ({"I", "A", "Zacas", "Ziccamoa"}, ["i", "ziccamoa", "zaamo", "zacas", "zalrsc"]),
        ({"I", "Zba", "Zbb", "Zbs"}, ["i", "b", "zba", "zbb", "zbs"]),
    ],
)
def test_lists_that_are_written_obey(extensions: set[str], listed: list[str]):
    assert extension_list(frozenset(extensions)) == listed


@given(st.frozensets(st.sampled_from(sorted(implemented()))))
def test_who_reads_the_list_finds_the_same_instructions(some: frozenset[str]):
    on = some | {"I"}
    while more := frozenset().union(*(requirements(name, on) for name in on)) - on:
        on |= more
    listed = extension_list(on)
    assert parse_extension_list("rv64i", listed) - {"A", "B"} == effective(on) - {"A", "B"}


def test_a_set_that_no_list_can_say():
    with pytest.raises(ValueError, match="d: the list must hold all of f"):
        extension_list(frozenset({"I", "D"}))
