"""The litmus tests that come with hartstorm, as a table of shapes, links and styles.

Owns their generation: `configs/litmus` holds exactly what `shipped_tests` gives. What they show is standard: a shape
(MP, SB, ...) is a cycle of accesses that no interleaving produces, a link is what stands between two accesses of a
thread, a style is which instructions the accesses are. The verdicts are the model's, not this module's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from coordinator.litmus.parser import parse
from coordinator.litmus.printer import print_test


@dataclass(frozen=True, slots=True)
class Access:
    """A read that returns `value`, or a write of `value`."""

    kind: str
    location: str
    value: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Threads of one or two accesses, and the final values that close the cycle."""

    name: str
    threads: tuple[tuple[Access, ...], ...]
    final: dict[str, int]

    @classmethod
    def parse(cls, name: str, text: str, **final: int) -> Shape:
        """Read e.g. `Wx1 Wy1 | Ry1 Rx0`."""
        threads = (t.split() for t in text.split("|"))
        return cls(name, tuple(tuple(Access(a[0], a[1], int(a[2])) for a in t) for t in threads), final)


SHAPES = (
    Shape.parse("MP", "Wx1 Wy1 | Ry1 Rx0"),
    Shape.parse("SB", "Wx1 Ry0 | Wy1 Rx0"),
    Shape.parse("LB", "Rx1 Wy1 | Ry1 Wx1"),
    Shape.parse("S", "Wx2 Wy1 | Ry1 Wx1", x=2),
    Shape.parse("R", "Wx1 Wy1 | Wy2 Rx0", y=2),
    Shape.parse("2+2W", "Wx2 Wy1 | Wy2 Wx1", x=2, y=2),
    Shape.parse("WRC", "Wx1 | Rx1 Wy1 | Ry1 Rx0"),
    Shape.parse("RWC", "Wx1 | Rx1 Ry0 | Wy1 Rx0"),
    Shape.parse("IRIW", "Wx1 | Rx1 Ry0 | Wy1 | Ry1 Rx0"),
    Shape.parse("ISA2", "Wx1 Wy1 | Ry1 Wz1 | Rz1 Rx0"),
)

COHERENCE = (
    Shape.parse("CoWW", "Wx1 Wx2", x=1),
    Shape.parse("CoRW1", "Rx1 Wx1", x=1),
    Shape.parse("CoRW2", "Rx2 Wx1 | Wx2", x=2),
    Shape.parse("CoWR", "Wx1 Rx2 | Wx2", x=1),
    Shape.parse("CoRR", "Rx1 Rx0 | Wx1"),
)

_FENCES = ("fence.rw.rw", "fence.tso")
LINKS: dict[str, tuple[str, ...]] = {
    "WW": ("po", *_FENCES, "fence.w.w", "fence.w.rw", "fence.rw.w", "fence.r.rw", "fence.i", "rl"),
    "WR": ("po", *_FENCES, "fence.w.r", "fence.w.rw", "fence.rw.r", "fence.rw.w", "fence.i", "rl-aq"),
    "RW": (
        "po", *_FENCES, "fence.r.w", "fence.r.rw", "fence.rw.w", "fence.w.w", "fence.i", "aq", "rl", "addr", "data",
        "ctrl",
    ),
    "RR": (
        "po", *_FENCES, "fence.r.r", "fence.r.rw", "fence.rw.r", "fence.w.w", "fence.i", "aq", "addr", "ctrl",
        "ctrl-fence.i",
    ),
}  # fmt: skip
"""Links by the kinds of the accesses they stand between; FENCE.I orders none of them."""

TOGETHER = (
    {"WW": "fence.w.w", "WR": "fence.w.r", "RW": "fence.r.w", "RR": "fence.r.r"},
    {"WW": "fence.tso", "WR": "fence.tso", "RW": "fence.tso", "RR": "fence.tso"},
    {"WW": "rl", "WR": "rl-aq", "RW": "aq", "RR": "aq"},
    {"WW": "rl", "WR": "rl-aq", "RW": "rl", "RR": "aq"},
    {"WW": "fence.w.w", "WR": "fence.w.r", "RW": "addr", "RR": "addr"},
    {"WW": "fence.w.w", "WR": "fence.w.r", "RW": "data", "RR": "addr"},
    {"WW": "fence.w.w", "WR": "fence.w.r", "RW": "ctrl", "RR": "ctrl-fence.i"},
)
"""Links of all threads at once: the least fences, annotations and dependencies that programs rely on."""

STRONG = "fence.rw.rw"


@dataclass(frozen=True, slots=True)
class Style:
    """Which instructions read and write."""

    name: str
    widths: str
    read: str
    write: str
    orders: bool = True


STYLES = (
    Style("", "wd", "l", "s"),
    Style("amo", "wd", "amoor", "amoswap"),
    Style("amo", "bh", "amoor", "amoswap", orders=False),
    Style("lrsc", "wd", "lr", "sc"),
    Style("cas", "wd", "amocas", "amocas"),
    Style("cas", "bh", "amocas", "amocas", orders=False),
)
PLAIN = STYLES[0]
"""Plain loads and stores."""


@dataclass(slots=True)
class _Thread:
    """A thread in the making. x5 to x9 hold what is read; x20 on addresses; x10 on values; x28 on are scratch."""

    number: int
    lines: list[str] = field(default_factory=list)
    initial: dict[str, str] = field(default_factory=dict)
    condition: list[str] = field(default_factory=list)
    reads: int = 5
    values: int = 10

    def address(self, location: str) -> str:
        """The register that holds the location's address."""
        register = f"x{20 + 'xyzf'.index(location)}"
        self.initial[register] = location
        return register

    def value(self, number: int) -> str:
        """A register that holds a number."""
        register = f"x{self.values}"
        self.values += 1
        self.initial[register] = str(number)
        return register

    def returns(self, number: int) -> str:
        """A fresh register of which the condition says that it ends with `number`."""
        register = f"x{self.reads}"
        self.reads += 1
        self.condition.append(f"{self.number}:{register}={number}")
        return register


def _access(thread: _Thread, access: Access, style: Style, width: str, link: str, order: str) -> None:
    """Add an access; `link` is the dependency on the last register read, if one."""
    base = thread.address(access.location)
    last = f"x{thread.reads - 1}"
    data = ""
    if link == "addr":
        thread.lines += [f"xor x28,{last},{last}", f"add x29,{base},x28"]
        base = "x29"
    elif link == "data":
        thread.lines += [f"xor x28,{last},{last}", f"ori x30,x28,{access.value}"]
        data = "x30"
    elif link.startswith("ctrl"):
        label = f"L{thread.number}"
        thread.lines += [f"bne {last},x0,{label}", f"{label}:"]
        thread.lines += ["fence.i"] if link == "ctrl-fence.i" else []
    if access.kind == "R":
        target = thread.returns(access.value)
        text = {
            "l": f"l{width}{order} {target},0({base})",
            "amoor": f"amoor.{width}{order} {target},x0,({base})",
            "lr": f"lr.{width}{order} {target},({base})",
            "amocas": f"amocas.{width}{order} {target},x0,({base})",
        }[style.read]
        thread.lines.append(text)
        return
    data = data or thread.value(access.value)
    if style.write == "s":
        thread.lines.append(f"s{width}{order} {data},0({base})")
    elif style.write == "amoswap":
        thread.lines.append(f"amoswap.{width}{order} x0,{data},({base})")
    elif style.write == "sc":
        thread.lines.append(f"lr.{width} x31,({base})")
        thread.lines.append(f"sc.{width}{order} {thread.returns(0)},{data},({base})")
    else:
        # Succeeds on the initial value only.
        thread.lines.append(f"amocas.{width}{order} {thread.returns(0)},{data},({base})")


def _orders(link: str) -> tuple[str, str]:
    """The order suffixes of the accesses before and after a link."""
    match link:
        case "aq":
            return ".aq", ""
        case "rl":
            return "", ".rl"
        case "rl-aq":
            return ".rl", ".aq"
        case "aqrl":
            return ".aqrl", ".aqrl"
        case _:
            return "", ""


_C_TYPES = {"b": "int8_t", "h": "int16_t", "w": "int32_t", "d": "int64_t"}


def build(shape: Shape, links: tuple[str, ...], style: Style, width: str) -> str:
    """The text of a test: `links` has one for each thread of two accesses."""
    threads: list[_Thread] = []
    remaining = iter(links)
    for number, accesses in enumerate(shape.threads):
        thread = _Thread(number)
        link = next(remaining) if len(accesses) == 2 else "po"
        first, second = _orders(link)
        _access(thread, accesses[0], style, width, "po", first)
        if len(accesses) == 2:
            if link in ("fence.i", "fence.tso"):
                thread.lines.append(link)
            elif link.startswith("fence"):
                thread.lines.append(f"fence {link[6:].replace('.', ',')}")
            _access(thread, accesses[1], style, width, link, second)
        threads.append(thread)
    name = "+".join([f"{shape.name}.{width}", *links, *([style.name] if style.name else [])])
    names = sorted({a.location for t in shape.threads for a in t})
    condition = [f"{x}={v}" for x, v in shape.final.items()] + [c for t in threads for c in t.condition]
    return _text(name, [f"{_C_TYPES[width]} {x};" for x in names], threads, _C_TYPES[width], condition)


def _text(name: str, memory: list[str], threads: list[_Thread], declared: str, condition: list[str]) -> str:
    initial = [*memory]
    for thread in threads:
        initial += (f"{declared} {c.partition('=')[0]};" for c in thread.condition)
        initial += (f"{thread.number}:{register}={value};" for register, value in thread.initial.items())
    height = max(len(t.lines) for t in threads)
    rows = [" | ".join(f"P{t.number}" for t in threads)]
    rows += [" | ".join(t.lines[i] if i < len(t.lines) else "" for t in threads) for i in range(height)]
    code = " ;\n".join(rows)
    proposition = " /\\ ".join(condition)
    return f"RISCV {name}\n{{ {' '.join(initial)} }}\n{code} ;\nexists ({proposition})\n"


def _kinds(accesses: tuple[Access, ...]) -> str:
    return "".join(a.kind for a in accesses)


def _families() -> Iterator[str]:
    for shape in SHAPES:
        linked: list[tuple[Access, ...]] = [t for t in shape.threads if len(t) == 2]
        two = len(shape.threads) == 2
        for width in "wd":
            alone = (
                tuple(link if i == place else STRONG for i in range(len(linked)))
                for place, accesses in enumerate(linked)
                for link in LINKS[_kinds(accesses)]
            )
            together = (tuple(links[_kinds(accesses)] for accesses in linked) for links in TOGETHER)
            for links in dict.fromkeys((("po",) * len(linked), *alone, *together)):
                yield build(shape, links, PLAIN, width)
        if two:
            yield from _atomic_variants(shape, linked)
    for shape in COHERENCE:
        for style in STYLES:
            # An AMOCAS only writes over the initial value, an LR/SC write ends with a register of its own.
            if style.name != "cas":
                for width in style.widths:
                    yield build(shape, ("po",), style, width)


def _atomic_variants(shape: Shape, linked: list[tuple[Access, ...]]) -> Iterator[str]:
    overwrites = any(a.value > 1 for t in shape.threads for a in t)
    for style in STYLES[1:]:
        if style.name == "cas" and overwrites:
            continue
        for width in style.widths:
            yield build(shape, ("po",) * len(linked), style, width)
            yield build(shape, (STRONG,) * len(linked), style, width)
            if style.orders:
                for link in ("aq", "rl", "rl-aq", "aqrl"):
                    yield build(shape, (link,) * len(linked), style, width)


_OPERANDS = {
    "amoswap": (0, 1, 2), "amoadd": (0, 1, 2), "amoxor": (0, 1, 2), "amoand": (7, 3, 5), "amoor": (0, 1, 2),
    "amomin": (5, -1, -2), "amomax": (-5, 1, 2), "amominu": (-1, 3, 2), "amomaxu": (1, -3, -2),
}  # fmt: skip
"""For each operation an initial value and two operands that change it, in the signedness that the operation has."""


def _atomicity() -> Iterator[str]:
    for operation, (start, first, second) in _OPERANDS.items():
        for width in "bhwd":
            threads = []
            for number, operand in enumerate((first, second)):
                thread = _Thread(number)
                base, data = thread.address("x"), thread.value(operand)
                thread.lines.append(f"{operation}.{width} {thread.returns(start)},{data},({base})")
                threads.append(thread)
            declared = _C_TYPES[width]
            conditions = [c for t in threads for c in t.condition]
            yield _text(
                f"{operation}.{width}+both-first", [f"{declared} x={start};"], threads, declared, conditions
            )
    for width in "bhwd":
        threads = []
        for number in range(2):
            thread = _Thread(number)
            base, data = thread.address("x"), thread.value(number + 1)
            thread.lines.append(f"amocas.{width} {thread.returns(0)},{data},({base})")
            threads.append(thread)
        declared = _C_TYPES[width]
        yield _text(
            f"amocas.{width}+both-first", [f"{declared} x;"], threads, declared,
            [c for t in threads for c in t.condition],
        )  # fmt: skip


SINGLE = (
    # One for each rule that the shapes do not need, and what reservations promise.
    """RISCV MP+fence.w.w+lr-sc-rfi-addr
"rule 3: a load of what an SC wrote comes after the SC"
{ 0:x20=x; 0:x21=y; 0:x10=1; 1:x20=x; 1:x21=y; 1:x10=2; }
 P0 | P1 ;
 sw x10,0(x20) | lr.w x5,(x21) ;
 fence w,w | sc.w x6,x10,(x21) ;
 sw x10,0(x21) | lw x7,0(x21) ;
 | xor x28,x7,x7 ;
 | add x29,x20,x28 ;
 | lw x8,0(x29) ;
exists (1:x5=1 /\\ 1:x6=0 /\\ 1:x7=2 /\\ 1:x8=0)
""",
    """RISCV LB+fence.rw.rw+fence.r.r-lr-sc
"rule 8: LR comes before the SC it is paired with, also in another word of the reservation set"
{ int a[2]; 0:x19=x; 0:x20=a[0]; 0:x21=a[1]; 0:x10=1; 1:x19=x; 1:x21=a[1]; 1:x10=1; }
 P0 | P1 ;
 lw x5,0(x19) | lw x5,0(x21) ;
 fence r,r | fence rw,rw ;
 lr.w x6,(x20) | sw x10,0(x19) ;
 sc.w x7,x10,(x21) | ;
exists (0:x5=1 /\\ 0:x7=0 /\\ 1:x5=1)
""",
    """RISCV MP+fence.w.w+data-rfi-addr
"rule 12: a load of a store comes after what the store's data came from"
{ 0:x20=x; 0:x21=y; 0:x10=1; 1:x20=x; 1:x21=y; 1:x22=z; }
 P0 | P1 ;
 sw x10,0(x20) | lw x5,0(x21) ;
 fence w,w | sw x5,0(x22) ;
 sw x10,0(x21) | lw x6,0(x22) ;
 | xor x28,x6,x6 ;
 | add x29,x20,x28 ;
 | lw x7,0(x29) ;
exists (1:x5=1 /\\ 1:x6=1 /\\ 1:x7=0)
""",
    """RISCV LB+fence.rw.rw+addr-po
"rule 13: a store comes after what the address of an access before it came from"
{ 0:x20=x; 0:x21=y; 0:x22=z; 0:x10=1; 1:x20=x; 1:x21=y; 1:x10=1; }
 P0 | P1 ;
 lw x5,0(x20) | lw x5,0(x21) ;
 xor x28,x5,x5 | fence rw,rw ;
 add x29,x22,x28 | sw x10,0(x20) ;
 lw x6,0(x29) | ;
 sw x10,0(x21) | ;
exists (0:x5=1 /\\ 1:x5=1)
""",
    """RISCV LR-SC+ABA
"an SC fails after a foreign store, also one that restores the value"
{ 0:x20=x; 0:x21=y; 0:x22=z; 0:x10=1; 0:x11=7; 1:x20=x; 1:x21=y; 1:x22=z; 1:x10=1; 1:x11=5; }
 P0 | P1 ;
 lr.w x5,(x20) | lw x5,0(x21) ;
 fence rw,rw | fence rw,rw ;
 sw x10,0(x21) | sw x11,0(x20) ;
 lw x6,0(x22) | sw x0,0(x20) ;
 fence rw,rw | fence rw,rw ;
 sc.w x7,x11,(x20) | sw x10,0(x22) ;
exists (0:x5=0 /\\ 0:x6=1 /\\ 0:x7=0 /\\ 1:x5=1)
""",
    """RISCV LR-SC+spurious
"an SC may always fail"
{ 0:x20=x; 0:x10=1; }
 P0 ;
 lr.w x5,(x20) ;
 sc.w x6,x10,(x20) ;
exists (0:x6=1)
""",
    """RISCV LR-SC+own-store
"a store of the hart's own between LR and SC does not make the SC fail"
{ 0:x20=x; 0:x10=1; 0:x11=2; }
 P0 ;
 lr.w x5,(x20) ;
 sw x10,0(x20) ;
 sc.w x6,x11,(x20) ;
exists (0:x6=0 /\\ x=2)
""",
    """RISCV LR-SC+elsewhere
"an SC outside the reservation set fails"
{ 0:x20=x; 0:x21=y; 0:x10=1; }
 P0 ;
 lr.w x5,(x20) ;
 sc.w x6,x10,(x21) ;
exists (0:x6=0)
""",
    """RISCV amomin.w+signed
"amomin.w compares as signed words and returns its result sign-extended"
{ int32_t x=-1; int64_t 0:x5; 0:x20=x; 0:x10=1; }
 P0 ;
 amomin.w x5,x10,(x20) ;
exists (0:x5=-1 /\\ x=-1)
""",
    """RISCV amocas.q+pair
"amocas.q compares and swaps sixteen bytes at once: no half of it is seen"
{ uint64_t a[2]; uint64_t 1:x6; uint64_t 1:x7; 0:x20=a[0]; 0:x10=1; 0:x11=1; 1:x20=a[0]; }
 P0 | P1 ;
 amocas.q x6,x10,(x20) | amocas.q x6,x8,(x20) ;
exists (1:x6=1 /\\ 1:x7=0)
""",
)
"""Tests of their own."""


def shipped_tests() -> Iterator[tuple[str, str]]:
    """Name and text of every test that comes with hartstorm."""
    for text in (*_families(), *_atomicity(), *SINGLE):
        test = parse(text)
        yield test.name, print_test(test)
