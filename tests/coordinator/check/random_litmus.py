"""Random small litmus tests: every kind of memory instruction, sizes, orders, fences and dependencies."""

from __future__ import annotations

from random import Random

_BASES = {"x10": "x", "x11": "y"}
_AMOS = ("amoswap", "amoadd", "amoor", "amomaxu", "amomin")


def random_test(rng: Random, threads: int = 2, operations: int = 3, mixed: bool = False) -> str:
    """The text of a test. Sizes mix within a location only if `mixed`."""
    columns = [_thread(rng, number, rng.randint(1, operations), mixed) for number in range(threads)]
    height = max(map(len, columns))
    rows = [" | ".join(f"P{n}" for n in range(threads))]
    rows += [" | ".join(c[i] if i < len(c) else "" for c in columns) for i in range(height)]
    registers = " ".join(
        f"{t}:x10=x; {t}:x11=y; {t}:x12={2 * t + 1}; {t}:x13={2 * t + 2};" for t in range(threads)
    )
    code = "\n".join(f" {row} ;" for row in rows)
    return f"RISCV random\n{{ uint64_t x; uint64_t y; {registers} }}\n{code}\nforall (x=0 \\/ true)\n"


def _thread(rng: Random, number: int, operations: int, mixed: bool) -> list[str]:
    lines: list[str] = []
    loaded: list[str] = []
    fresh = iter(range(14, 32))
    reserved = ""
    for index in range(operations):
        base = rng.choice(list(_BASES))
        width = rng.choice("whd") if mixed else "w"
        address, value = base, rng.choice(("x12", "x13"))
        if loaded and rng.random() < 0.3:
            source, zero, address = rng.choice(loaded), f"x{next(fresh)}", f"x{next(fresh)}"
            lines += [f"xor {zero},{source},{source}", f"add {address},{base},{zero}"]
        if loaded and rng.random() < 0.25:
            value = rng.choice(loaded)
        if loaded and rng.random() < 0.2:
            label = f"L{number}{index}"
            lines += [f"bne {rng.choice(loaded)},x0,{label}", f"{label}:"]
        if rng.random() < 0.25:
            sets = ("rw,rw", "r,rw", "rw,w", "w,w", "r,r", "w,r", "r,w")
            lines.append(rng.choice((*(f"fence {s}" for s in sets), "fence.tso")))
        target = f"x{next(fresh)}"
        order = rng.choice(("", "", ".aq", ".rl", ".aqrl"))
        wide = width if width in "wd" else "w"
        kind = rng.choice(("load", "load", "store", "store", "amo", "lr", "sc", "cas"))
        if kind == "sc" and not reserved:
            kind = "lr"
        offset = rng.choice({"d": (0,), "w": (0, 4), "h": (0, 2, 4)}[width]) if mixed else 0
        if kind == "load":
            lines.append(
                f"l{width}{order} {target},0({address})"
                if order in (".aq", ".aqrl")
                else f"l{width} {target},{offset}({address})"
            )
        elif kind == "store":
            lines.append(
                f"s{width}{order} {value},0({address})"
                if order in (".rl", ".aqrl")
                else f"s{width} {value},{offset}({address})"
            )
        elif kind == "amo":
            lines.append(f"{rng.choice(_AMOS)}.{wide}{order} {target},{value},({address})")
        elif kind == "cas":
            lines.append(f"amocas.{wide}{order} {target},{value},({address})")
        elif kind == "lr":
            lines.append(f"lr.{wide}{order} {target},({address})")
            reserved = wide
        else:
            lines.append(f"sc.{wide}{order} {target},{value},({address})")
            reserved = ""
        if kind != "store":
            loaded.append(target)
    return lines
