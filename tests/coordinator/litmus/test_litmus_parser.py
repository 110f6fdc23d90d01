"""Litmus tests as text: what is read, what is refused and where, and that printing loses nothing."""

from __future__ import annotations

import pytest

from coordinator.litmus.code import assemble
from coordinator.litmus.condition import compile_proposition, proposition_text
from coordinator.litmus.families import shipped_tests
from coordinator.litmus.hash import hash_of
from coordinator.litmus.parser import NotRiscv, parse, parse_proposition
from coordinator.litmus.printer import print_test
from coordinator.litmus.test import (
    INT,
    Address,
    And,
    Atom,
    CodeLabel,
    Implies,
    Memory,
    Not,
    Or,
    Quantifier,
    Register,
    Type,
)
from coordinator.litmus.text import LitmusError

SB = """RISCV SB
"PodWR Fre PodWR Fre"
Generator=hand
Com=Fr Fr
{
0:x5=1; 0:x6=x; 0:x8=y;
1:x5=1; 1:x6=y; 1:x8=x;
}
 P0          | P1          ;
 sw x5,0(x6) | sw x5,0(x6) ;
 lw x7,0(x8) | lw x7,0(x8) ;
exists (0:x7=0 /\\ 1:x7=0)
"""


def test_parts_of_a_test():
    test = parse(SB)
    assert test.name == "SB"
    assert test.documentation == "PodWR Fre PodWR Fre"
    assert test.metadata == (("Generator", "hand"), ("Com", "Fr Fr"))
    assert test.initial[1].value == Address(Memory("x"))
    assert [line.instruction for line in test.threads[1]] == ["sw x5,0(x6)", "lw x7,0(x8)"]
    assert test.quantifier is Quantifier.EXISTS
    assert test.condition == And((Atom(Register(0, 7), 0), Atom(Register(1, 7), 0)))


def test_every_form_of_initial_state():
    test = parse(
        "RISCV A-b+[c].d/e\n{ int x; uint64_t y = 0x10; int *p = &x; *q=y; uint16_t a[3]={1,2}; [z]=-1;"
        " uint32_t 0:x5; P1:a0=a[1]; 1:x6=P1:L0 }\n"
        " P0 | P1 ;\n nop | L0: ;\n | ret ;\nlocations [x; 0:x5; y int;]\nfilter x=0\nforall true"
    )
    items = {str(i.location): (i.type, i.value) for i in test.initial}
    assert items == {
        "x": (INT, None),
        "y": (Type("uint64_t"), 16),
        "p": (Type("int", pointer=True), Address(Memory("x"))),
        "q": (Type("int", pointer=True), Address(Memory("y"))),
        "a": (Type("uint16_t", length=3), (1, 2, 0)),
        "z": (None, -1),
        "0:x5": (Type("uint32_t"), None),
        "1:x10": (None, Address(Memory("a", 1))),
        "1:x6": (None, CodeLabel(1, "L0")),
    }
    assert test.shown[2].type == INT
    assert test.filter == Atom(Memory("x"), 0)


def test_comments_nest_and_span_cells():
    test = parse(
        "RISCV C\n(* a comment that the header never closes\n{ x=1; (* y=2; (* { *) *) }\n"
        " P0 (* | P9 *) | P1 ;\n nop (* ; | \n ; *) | nop ;\nexists (* not *) x=1"
    )
    assert len(test.initial) == 1
    assert [len(t) for t in test.threads] == [1, 1]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "x=1 \\/ y=1 /\\ z=1",
            Or((Atom(Memory("x"), 1), And((Atom(Memory("y"), 1), Atom(Memory("z"), 1))))),
        ),
        (
            "x=1 => y=1 /\\ z=1",
            And((Implies(Atom(Memory("x"), 1), Atom(Memory("y"), 1)), Atom(Memory("z"), 1))),
        ),
        ("not x=1 => y=1", Implies(Not(Atom(Memory("x"), 1)), Atom(Memory("y"), 1))),
        ("~(x<>1)", Not(Not(Atom(Memory("x"), 1)))),
        ("[x]=[y]", Atom(Memory("x"), Memory("y"))),
        ("0:x5=1:x6", Atom(Register(0, 5), Register(1, 6))),
        ("a[1]==-2", Atom(Memory("a", 1), -2)),
    ],
)
def test_precedence(text, meaning):
    read = parse_proposition(text)
    assert read == meaning
    assert parse_proposition(proposition_text(read)) == meaning


def test_propositions_compare_in_the_type_of_the_location():
    types = {Memory("x"): Type("int8_t"), Memory("y"): Type("uint8_t")}
    holds = compile_proposition(parse_proposition("x=0xff /\\ y=0xff"), types, int)
    assert holds({Memory("x"): -1, Memory("y"): 255})
    assert not holds({Memory("x"): -1, Memory("y"): 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AArch64 X\n{}\nP0;\nexists true", "t:1:1: a test for AArch64"),
        ("RISCV X\n", "t:2:1: there is no initial state"),
        ("RISCV X\n{ x=1 y=2 }\nP0;\n", "t:2:7: expected ';', found 'y'"),
        ("RISCV X\n{ x=1; x=2; }\nP0;\n", "t:2:8: x is initialised twice, first at t:2:3"),
        ("RISCV X\n{ 0:a10=2; }\nP0;\n", "t:2:5: 'a10' is not an integer register; did you mean"),
        ("RISCV X\n{}\n P0 | P2;\nexists true", "t:3:6: expected `P1` here, found 'P2'"),
        ("RISCV X\n{}\n P0 | P1;\n nop;\nexists true", "t:4:2: this row has 1 cells for 2 threads"),
        ("RISCV X\n{}\n P0;\n nop\nexists true", "t:4:2: 'nop': a row of the code does not end in `;`"),
        ("RISCV X\n{}\n P0;\n nop;\n", "there is no condition"),
        ("RISCV X\n{}\n P0;\n nop;\nexists x=", "expected a value, found the end of the section"),
        ("RISCV X\n{}\n P0;\n nop;\nexists x", "expected =, ==, != or <>"),
        ("RISCV X\n{ (* }\n P0;\n nop;\n", "t:2:3: this comment does not end"),
    ],
)
def test_errors_say_where(text, message):
    with pytest.raises(LitmusError) as caught:
        parse(text, "t")
    assert message in str(caught.value)


def test_other_architectures_are_told_apart():
    with pytest.raises(NotRiscv):
        parse("X86 SB\n{}\nP0;\nexists true")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lww x5,0(x6)", "t:4:2: unknown instruction 'lww'; did you mean 'lw'?"),
        ("bne x5,x0,Lemd", "t:4:2: bne: 'Lemd' is neither a number nor a label; did you mean 'Lend'?"),
        ("addi x5,x5,5000", "t:4:2: addi: "),
        ("li x5", "t:4:2: li does not take 'x5'; write li rd, constant"),
    ],
)
def test_instructions_are_the_isa_tables(line, message):
    test = parse(f"RISCV X\n{{}}\n P0 ;\n {line} ;\n Lend: ;\nexists true", "t")
    with pytest.raises(LitmusError) as caught:
        assemble(test, {0: 0x1000}, {})
    assert str(caught.value).startswith(message)


def test_pseudo_instructions_and_spellings():
    test = parse(
        "RISCV X\n{}\n P0 ;\n li x5,0x12345678 ;\n L: fence ;\n lw.aq.rl a0,0(a1) ;\n j L ;\nexists true"
    )
    (program,) = assemble(test, {0: 0x1000}, {})
    assert [i.row.name for i in program.instructions] == ["lui", "addi", "fence", "lw.aqrl", "jal"]
    assert program.labels == {"L": 0x1008}
    assert program.instructions[-1].arguments == (0, -8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # As herd7 7.58 prints them for the tests of these names in litmus-tests-riscv.
        (SB, "1be21f7e9dba92a472a306f5f690a1f6"),
        (SB.replace("Com=", "Hash=0123\nCom="), "0123"),
    ],
)
def test_hash_is_herds(text, expected):
    assert hash_of(parse(text)) == expected


def test_hash_depends_on_what_it_should():
    plain = hash_of(parse(SB))
    assert hash_of(parse(SB.replace("exists (", "~exists (1:x7=1 \\/ "))) == plain
    assert hash_of(parse(SB.replace("sw x5,0(x6)", "sw t0,(x6)"))) == plain
    assert hash_of(parse(SB.replace("0:x5=1", "0:x5=2"))) != plain
    assert hash_of(parse(SB.replace("1:x7=0)", "x=0)"))) != plain


def test_printing_loses_nothing():
    for name, text in shipped_tests():
        test = parse(text, name)
        again = parse(print_test(test), name)
        assert again == test
        assert hash_of(again) == hash_of(test)
        assert print_test(again) == text
