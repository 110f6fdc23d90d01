"""ISA strings: reading, printing, errors that name the rule."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hart.isa.extensions import REGISTRY, effective, implemented, requirements, unmet
from hart.isa.isa_string import IsaError, canonical, explain, format_isa, parse

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


@given(st.text(max_size=30).map(lambda s: "rv64i" + s))
def test_any_text_parses_or_is_refused(text: str):
    with contextlib.suppress(IsaError):
        assert unmet(parse(text)) == []


def test_the_default_isa_prints_without_a_base_version():
    assert format_isa(implemented()).startswith("rv64imacb_ziccamoa_")


# Profiles: what riscv-profiles makes mandatory, written down once more

RVA20 = {
    "I",
    "M",
    "A",
    "F",
    "D",
    "C",
    "Zicsr",
    "Zicntr",
    "Ziccif",
    "Ziccrse",
    "Ziccamoa",
    "Za128rs",
    "Zicclsm",
}
RVA22 = RVA20 | {
    "Zihpm", "Za64rs", "Zihintpause", "Zba", "Zbb", "Zbs", "Zic64b", "Zicbom", "Zicbop", "Zicboz", "Zfhmin", "Zkt",
}  # fmt: skip
RVB23 = RVA22 - {"Zfhmin"} | {"B", "Zihintntl", "Zicond", "Zimop", "Zcmop", "Zcb", "Zfa", "Zawrs"}
RVA23 = RVB23 | {"Zfhmin", "V", "Zvfhmin", "Zvbb", "Zvkt", "Supm"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rvi20u64", {"I"}),
        ("rva20u64", RVA20),
        ("rva22u64", RVA22),
        ("rva23u64", RVA23),
        ("rvb23u64", RVB23),
        ("RVA22U64_Zacas", RVA22 | {"Zacas"}),
        ("rvi20u64_a_zicond", {"I", "A", "Zicond"}),
    ],
)
def test_a_profile_stands_for_what_it_makes_mandatory(text: str, expected: set[str]):
    assert parse(text) == effective(expected)


def test_explain_names_the_profile():
    assert explain("rvi20u64_zba1p0") == {"I": "with RVI20U64", "Zba": "named"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rva22s64",
            "or with a profile: rvi20u64, rva20u64, rva22u64, rva23u64, rvb23u64; did you mean 'rva22u64'?",
        ),
        ("rvi20u64_zakas", "unknown extension 'zakas' at character 10; did you mean 'Zacas'?"),
        ("rvi20u64_zacas", "Zacas needs Zaamo"),
    ],
)
def test_errors_in_profiles(text: str, message: str):
    with pytest.raises(IsaError) as raised:
        parse(text)
    assert message in str(raised.value)
