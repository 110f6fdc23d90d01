"""The language: expressions, the preprocessor, macros' corners, layout and symbols."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hart.asm import assemble, expression
from hart.asm.diagnostics import Place, Problem, Report
from hart.asm.expression import C, Value
from hart.asm.macros import define
from hart.asm.preprocess import Preprocessor
from hart.asm.source import split_operands, split_statements
from hart.image import Image

BASE = 0x8000_0000


def words(text: str, **options: object) -> list[int]:
    """The data of a source as 32-bit words."""
    image = assemble(f".section .text\n{text}", **options).image  # type: ignore[arg-type]
    data = image.chunks[0].data
    return [w for (w,) in struct.iter_unpack("<I", data[: len(data) & ~3])]


def no_names(name: str) -> Value:
    raise Problem(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7), ("1 | 1 + 1", 2), ("4 + 4 | 4", 8), ("7 - 2 - 1", 4), ("1 << 2 + 1", 5),
        ("2 * 3 << 1", 12), ("6 & 3 | 8", 10), ("-1 >> 60", 15), ("-7 / 2", -3), ("-7 % 2", -1),
        ("1 == 1", -1), ("1 < 0", 0), ("1 <> 2", -1), ("2 && 0", 0), ("2 || 0", 1), ("!3", 0), ("~0", -1),
        ("5 ! 2", -3), ("1 << 63", -(1 << 63)), ("0xffffffffffffffff", -1), ("1 << 64", 0), ("(1 << 63 << 1) - 1", -1),
        ("'A", 65), ("'A'", 65), ("'\\n'", 10), ("'''", 39), ("017", 15), ("0b101", 5), ("- - 3", 3), ("((4))", 4),
    ],
)  # fmt: skip
def test_gnu_expressions(text: str, value: int) -> None:
    assert expression.constant(expression.parse(text), no_names) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 | 2 == 2", 1),
        ("1 | 1 + 1", 3),
        ("1 + 1 << 2", 8),
        ("6 & 3 == 3", 0),
        ("10UL > 9", 1),
        ("!0 && 2", 1),
        ("1 - 1 || 0", 0),
    ],
)
def test_c_expressions(text: str, value: int) -> None:
    assert expression.constant(expression.parse(text, C), no_names, C) == value


def test_distances_are_constants_and_addresses_are_not() -> None:
    def resolve(name: str) -> Value:
        return Value({"a": 4, "b": 20}[name], {"section": 1})

    assert expression.constant(expression.parse("(b - a) / 2 + 1"), resolve) == 9
    assert expression.constant(expression.parse("b > a"), resolve) == -1
    for text in ("a", "a + b", "a * 2", "-a", "a & 1"):
        with pytest.raises(Problem):
            expression.constant(expression.parse(text), resolve)


def test_statements_and_operands() -> None:
    assert list(split_statements('.ascii "a;#b"; li a0, \'#; nop # no')) == [
        '.ascii "a;#b"',
        "li a0, '#",
        "nop",
    ]
    assert split_operands('a, (b, c), "d, e", \',') == ["a", "(b, c)", '"d, e"', "',"]
    assert split_operands("") == []


def preprocess(text: str, **defines: str) -> list[str]:
    report = Report()
    lines = [
        line.text.strip() for line in Preprocessor(defines, (), report).process(text, Place("t", 0), None)
    ]
    report.check()
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("#define A B\n#define B A\nA B", ["A B"]),
        ("#define F(x) x F(x)\nF(1)", ["1 F(1)"]),
        ("#define F(x) (x)\n#define G F\nG(2) F (3) F", ["(2) (3) F"]),
        ("#define J(a, b) a##b\n#define X 1\nJ(X, 2) J(, z)", ["X2 z"]),
        ('#define S(x) #x\nS(a "b" \\n)', ['"a \\"b\\" \\\\n"']),
        ("#define V(f, ...) f(__VA_ARGS__)\nV(g, 1, 2) V(g)", ["g(1,2) g()"]),
        ("#define N(rest...) <rest>\nN(a, b)", ["<a,b>"]),
        ("#define E()\nE() x", ["x"]),
        ("#define P(x) x\nP((a, b))", ["(a, b)"]),
        ('#define X 1\n.ascii "X" \'X X', ['.ascii "X" \'X 1']),
        ("#define X 1\n.xX X.X x1X", [".xX 1.1 x1X"]),
        ("#ifndef X\n#define X 2\n#endif\n#if X * 2 == 4 && !defined(Y)\nyes\n#else\nno\n#endif", ["yes"]),
        ("#if 0\n#if 1\na\n#else\nb\n#endif\n#elif 1\nc\n#elif 1\nd\n#else\ne\n#endif", ["c"]),
        ("#define X\n#undef X\n#ifdef X\na\n#else\nb\n#endif", ["b"]),
        ("# comment with X( and 'quotes\n#define X(a) a\n# X(\nnop # X(", ["nop"]),
        ("a \\\n b // c\nd /* e */ f /* g\nh */ i", ["a  b", "d   f   i"]),
        ("#if UNKNOWN\na\n#endif\nb", ["b"]),
        ("#define L(a) a:; \\\n  j a\nL(x)", ["x:;   j x"]),
    ],
)
def test_preprocessor(text: str, lines: list[str]) -> None:
    assert preprocess(text) == lines


def test_lines_keep_their_numbers() -> None:
    report = Report()
    text = "a\n/* x\n y */ b\nc \\\n d\n#define F(x) x\nF(\n1)\ne"
    lines = Preprocessor({}, (), report).process(text, Place("t", 0), None)
    assert [(line.text.strip(), line.place.line) for line in lines] == [
        ("a", 1), ("b", 2), ("c  d", 4), ("1", 7), ("e", 9),
    ]  # fmt: skip


def test_macro_arguments() -> None:
    macro = define("m a b:req c=3 rest:vararg", [])
    assert macro.bind("1, 2") == {"a": "1", "b": "2", "c": "3", "rest": ""}
    assert macro.bind("1 2 + 3, 4, 5, 6 7") == {"a": "1", "b": "2 + 3", "c": "4", "rest": "5, 6 7"}
    assert macro.bind('b=2, a="x, y"') == {"a": "x, y", "b": "2", "c": "3", "rest": ""}


def test_macros_are_local_to_a_file_and_exitm_leaves_conditions() -> None:
    source = ".macro m x\n.if \\x\n.word 1\n.exitm\n.endif\n.word 2\n.endm\nm 1\nm 0\n.if 0\nm 1\n.endif\n"
    assert words(source) == [1, 2]


def test_false_branches_are_not_read() -> None:
    assert words(
        ".if 0\nbad\n.macro m\n.else\n.endm\nlabel: .word\n.else\n.word 7\n.endif\nlabel: .word 8"
    ) == [7, 8]


def test_numeric_labels() -> None:
    assert words("1: .word 1b - .\n1: .word 1b - .\n.word 1f - .\n1:") == [0, 0, 4]


def test_set_takes_the_value_of_its_time() -> None:
    assert words(".set a, 1\n.word a\n.set a, a + 1\n.word a, b\n.equ b, 9") == [1, 2, 9]
    assert words("here = .\n.word 5\n.word . - here, here2 - here\nhere2:") == [5, 4, 12]


# Layout


def chunk_at(image: Image, name: str) -> bytes:
    address = image.symbols[name].address
    return next(
        c.data[address - c.address :]
        for c in image.chunks
        if c.address <= address < c.address + len(c.data) + c.zeros
    )


def test_order_of_sections() -> None:
    image = assemble(
        ".section mine\nm: .word 6\n.bss\nb: .zero 8\n.data\nd: .word 4\n.section .rodata\nr: .word 3\n"
        ".section .text.more\nt: nop\n.section .text.init\n.globl _start\ni: nop\n_start: nop\n"
        '.section .comment\n.ascii "gone"\n.section .tohost\ntohost: .dword 0\n.size tohost, 8'
    ).image
    address = {name: s.address for name, s in image.symbols.items()}
    assert sorted(address, key=lambda name: address[name]) == [
        "i",
        "_start",
        "t",
        "r",
        "d",
        "b",
        "m",
        "tohost",
    ]
    assert address["i"] == BASE
    assert address["d"] == BASE + 0x1000
    assert address["tohost"] % 64 == 0
    assert image.symbols["tohost"].size == 8
    assert image.entry == address["_start"]
    assert image.symbolize(BASE + 6) == "_start+0x2"
    assert not any(b"gone" in c.data for c in image.chunks)
    assert [c.zeros for c in image.chunks if c.zeros] == [8]


def test_base_and_empty_source() -> None:
    assert assemble("nop", base=0x1000).image.entry == 0x1000
    assert assemble("", base=0x1000).image.chunks == ()


def test_branches_grow_only_where_they_must() -> None:
    source = "start: beq a0, a1, end\n.space {}\nend: bne a0, a1, start\nj start"
    near, far = words(source.format(4088)), words(source.format(4096))
    assert len(near) == 4088 // 4 + 3
    assert len(far) == 4096 // 4 + 5
    assert far[0] == words("bne a0, a1, . + 8")[0]


def test_growth_of_one_branch_pushes_another() -> None:
    # The inner branch is too far only once the outer one between it and its target has grown.
    source = "a: beqz a0, b\n.space 4080\nc: beqz a0, far\nb: nop\n.space 5000\nfar:"
    assert len(words(source)) == 1 + 1020 + 2 + 1 + 1250
    source = source.replace("4080", "4084")
    assert len(words(source)) == 2 + 1021 + 2 + 1 + 1250


def test_files_share_globals_and_keep_locals(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "common.h").write_text("#define VALUE 5\n")
    (tmp_path / "a.S").write_text(
        "#include <common.h>\n.globl _start\n_start: call f\nlocal: li a0, VALUE\nla a1, missing\n.weak missing\n"
    )
    (tmp_path / "b.S").write_text(
        ".globl f\nf: j local\n.space 4096\nlocal: ret\n.weak maybe\nmaybe: nop\n.comm shared, 16\n"
    )
    (tmp_path / "c.S").write_text(".globl maybe\nmaybe: ret\n.comm shared, 16\n.data\n.dword shared, maybe\n")
    paths = [tmp_path / n for n in ("b.S", "a.S", "c.S")]
    image = assemble(paths, include_paths=[tmp_path / "inc"]).image
    assert image.entry == image.symbols["_start"].address
    locals_ = [name for name in image.symbols if name.endswith("local")]
    assert locals_ == ["local", f"{tmp_path / 'a.S'}:local"]
    # The strong definition wins over the weak one, and one block serves both .comm.
    shared, maybe = struct.unpack("<QQ", next(c.data for c in image.chunks if c.address == BASE + 0x2000))
    assert (shared, maybe) == (image.symbols["shared"].address, image.symbols["maybe"].address)
    assert chunk_at(image, "maybe")[:4] == words("ret")[0].to_bytes(4, "little")
    # Nobody defines `missing`: its address is 0, out of reach of auipc, so that lui makes it.
    assert words("lui a1, 0\naddi a1, a1, 0") == list(
        struct.unpack("<II", chunk_at(image, f"{tmp_path / 'a.S'}:local")[4:12])
    )


def test_source_without_preprocessor(tmp_path: Path) -> None:
    path = tmp_path / "plain.s"
    path.write_text("#define X 1\n# if this were C\nnop // comment\n")
    assert len(assemble([path]).image.chunks[0].data) == 4


def test_listing_covers_every_byte() -> None:
    assembly = assemble('a: li a0, 0x12345678\n.rept 2\nnop\n.endr\n.data\n.word 1, 2\n.ascii "xyz"')
    for chunk in assembly.image.chunks:
        inside = sorted(
            (x for x in assembly.listing if chunk.address <= x.address < chunk.address + len(chunk.data)),
            key=lambda x: x.address,
        )
        assert b"".join(x.data for x in inside) == chunk.data
    line = assembly.line_at(BASE + 8)
    assert line is not None
    assert (line.text, line.place.line, list(line.place.trail())) == ("nop", 3, [".rept at <text>:2"])
    assert assembly.line_at(BASE + 2) is None


def test_options() -> None:
    rv64i = frozenset({"I"})
    source = ".option push\n.option arch, +zacas\namocas.w a0, a1, (a2)\n.option pop\n.option arch, +m\nmul a0, a0, a0"
    assert len(words(source, extensions=rv64i)) == 2
    macros = "#ifdef __riscv_zacas\n.word 1\n#endif\n#ifdef __riscv_a\n.word 2\n#endif\n.word 3"
    assert words(macros, extensions=rv64i) == [3]
    assert words(macros, extensions=frozenset({"I", "A"})) == [2, 3]


def test_large_zero_sections_cost_nothing() -> None:
    image = assemble("nop\n.bss\n.space 1 << 29\nend:").image
    assert image.chunks[-1].zeros == 1 << 29
    assert image.chunks[-1].data == b""
