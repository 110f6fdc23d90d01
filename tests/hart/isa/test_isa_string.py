"""ISA strings and extension lists: reading, printing, errors that name the rule."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hart.isa.extensions import REGISTRY, implemented, requirements, unmet
from hart.isa.isa_string import IsaError, canonical, explain, format_isa, parse, parse_extension_list

BASE = {"I", "Zicsr", "Zifencei", "Zicntr", "Zihpm"}
MAC = {"M", "Zmmul", "A", "Zaamo", "Zalrsc", "C", "Zca"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rv64i", BASE),
        ("rv64i2p0", BASE),
        ("rv64i2p1", {"I"}),
        ("rv64imac", BASE | MAC),
        ("RV64IMAC", BASE | MAC),
        ("rv64imac_zacas_zabha", BASE | MAC | {"Zacas", "Zabha"}),
        ("rv64imac_zacas1p0_zabha1", BASE | MAC | {"Zacas", "Zabha"}),
        ("rv64i2p0m2p0a2p1c2", BASE | MAC),
        ("rv64imaczacas", BASE | MAC | {"Zacas"}),
        ("rv64i_m_zaamo", BASE | {"M", "Zmmul", "Zaamo"}),
        ("rv64i_za64rs_zalrsc", BASE | {"Za64rs", "Za128rs", "Zalrsc"}),
        ("rv64i_zic64b", BASE | {"Zic64b"}),
        ("rv64ib", BASE | {"B", "Zba", "Zbb", "Zbs"}),
        ("rv64imasu", BASE | MAC - {"C", "Zca"} | {"S", "U"}),
        ("rv64imasuh", BASE | MAC - {"C", "Zca"} | {"S", "U", "H"}),
        ("rv64imasuh_sstc", BASE | MAC - {"C", "Zca"} | {"S", "U", "H", "Sstc"}),
        ("rv64imasstc", BASE | MAC - {"C", "Zca"} | {"Sstc"}),
        ("rv64imasu_sstc", BASE | MAC - {"C", "Zca"} | {"S", "U", "Sstc"}),
        ("rv64i_svinval_ssaia", BASE | {"Svinval", "Ssaia"}),
        ("rv64gc", BASE | MAC | {"F", "D", "Zcd"}),
    ],
)
def test_parse(text: str, expected: set[str]):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rv32imac", "hartstorm's harts are RV64"),
        ("", "an ISA string begins with rv64i or rv64g"),
        ("rv64e", "begins with rv64i or rv64g"),
        ("rv64imac_zakas", "unknown extension 'zakas' at character 10; did you mean 'Zacas'?"),
        ("rv64imy", "unknown extension 'y' at character 7"),
        ("rv64i!", "unknown extension '!' at character 6"),
        ("rv64i_xtheadba", "vendor extension 'xtheadba' at character 7"),
        ("rv64im_zacas", "Zacas needs Zaamo"),
        ("rv64i_zawrs", "Zawrs needs Zalrsc"),
        ("rv64id", "D needs F"),
        ("rv64i2p1_zicntr", "Zicntr needs Zicsr"),
        ("rv64i_zilsd", "Zilsd exists on RV32 only"),
    ],
)
def test_errors_name_the_rule(text: str, message: str):
    with pytest.raises(IsaError) as raised:
        parse(text)
    assert message in str(raised.value)
    assert repr(text) in str(raised.value)


def test_explain_says_why():
    assert explain("rv64iac") == {
        "I": "named", "A": "named", "C": "named",
        "Zicntr": "with I (version 2.0)", "Zicsr": "with I (version 2.0)",
        "Zifencei": "with I (version 2.0)", "Zihpm": "with I (version 2.0)",
        "Zaamo": "with A", "Zalrsc": "with A", "Zca": "with C",
    }  # fmt: skip


def test_canonical_order():
    assert canonical(["Sstc", "Zba", "Smnpm", "Zaamo", "Zicsr", "C", "A", "Zmmul", "I", "Zca"]) == [
        "I", "A", "C", "Zicsr", "Zmmul", "Zaamo", "Zca", "Zba", "Sstc", "Smnpm",
    ]  # fmt: skip


def sound_sets() -> st.SearchStrategy[frozenset[str]]:
    """Random extension sets without a broken rule."""

    def complete(names: frozenset[str]) -> frozenset[str]:
        on = names | {"I"}
        while more := frozenset().union(*(requirements(n, on) for n in on)) - on:
            on |= more
        return on

    usable = sorted(n for n, row in REGISTRY.items() if not row.rv32_only)
    return st.frozensets(st.sampled_from(usable)).map(complete)


@given(sound_sets())
@example(frozenset({"I", "S", "U", "H"}))
@settings(max_examples=300)
def test_printing_and_parsing_give_the_set_back(extensions: frozenset[str]):
    assert unmet(extensions) == []
    assert parse(format_isa(extensions)) == extensions
    listed = [REGISTRY[name].dt_name for name in canonical(extensions)]
    assert parse_extension_list("rv64i", listed) == extensions


@given(st.text(max_size=30).map(lambda s: "rv64i" + s))
def test_any_text_parses_or_is_refused(text: str):
    with contextlib.suppress(IsaError):
        assert unmet(parse(text)) == []


def test_the_default_isa_prints_without_a_base_version():
    assert format_isa(implemented()).startswith("rv64imacb_ziccamoa_")


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
def test_extension_list_errors(base: str, names: list[str], message: str):
    with pytest.raises(IsaError) as raised:
        parse_extension_list(base, names)
    assert message in str(raised.value)


def test_an_extension_list_is_literal():
    assert parse_extension_list("rv64i", ["i", "a"]) == {"I", "A", "Zaamo", "Zalrsc"}
