"""The trace is Spike's commit log, line by line; `tests/differential` compares whole logs with Spike's own."""

from __future__ import annotations

import pytest

from hart.asm import assemble
from tests import local_hart

BASE = 0x8000_0000
DATA = 0x8000_1000
FRAME = """
    .option norvc
    .globl _start
_start:
    la t0, handler
    csrw mtvec, t0
    la a0, data
    li a1, -2
here:
    {}
stop:
    wfi
    .balign 4
handler:
    csrr a5, mepc
    wfi
    .data
    .balign 4096
data: .dword 0x1122334455667788, 2, 3, 4
"""


def trace(tmp_path, code):
    """Lines of the code under test, without core, privilege and pc where these are plain."""
    image = assemble(FRAME.format(code)).image
    assert image.symbols["data"].address == DATA
    start, stop = image.symbols["here"].address, image.symbols["stop"].address
    file = tmp_path / "trace"
    with pytest.raises(AssertionError, match="nobody"):  # the wfi at the end
        local_hart.run(image, trace=str(file))
    lines = []
    for line in file.read_text().splitlines():
        where = int(line.split("0x")[1][:16], 16)
        if start <= where < stop:
            lines.append(line.removeprefix(f"core   0: 3 {where:#018x} "))
    return lines


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("addi a2, a1, 1", ["(0x00158613) x12 0xffffffffffffffff"]),
        ("c.addi a1, 1", ["(0x0585) x11 0xffffffffffffffff"]),
        ("addi x5, x0, 1", ["(0x00100293) x5  0x0000000000000001"]),
        ("nop", ["(0x00000013)"]),
        ("ld a2, 0(a0)", [f"(0x00053603) x12 0x1122334455667788 mem {DATA:#018x}"]),
        ("sd a1, 8(a0)", [f"(0x00b53423) mem {DATA + 8:#018x} 0xfffffffffffffffe"]),
        ("sw a1, 8(a0)", [f"(0x00b52423) mem {DATA + 8:#018x} 0xfffffffe"]),
        ("sh a1, 8(a0)", [f"(0x00b51423) mem {DATA + 8:#018x} 0xfffe"]),
        ("sb a1, 8(a0)", [f"(0x00b50423) mem {DATA + 8:#018x} 0xfe"]),
        (
            "amoadd.w a2, a1, (a0)",
            [f"(0x00b5262f) x12 0x0000000055667788 mem {DATA:#018x} mem {DATA:#018x} 0x55667786"],
        ),
        (
            "amoadd.w x0, a1, (a0)",
            [f"(0x00b5202f) mem {DATA:#018x} mem {DATA:#018x} 0x55667786"],
        ),
        ("lr.w a2, (a0)", [f"(0x1005262f) x12 0x0000000055667788 mem {DATA:#018x}"]),
        ("sc.w a2, a1, (a0)", ["(0x18b5262f) x12 0x0000000000000001"]),
        ("amocas.d a2, a1, (a0)", [f"(0x28b5362f) x12 0x1122334455667788 mem {DATA:#018x}"]),
        (
            "sd x0, 0(a0); sd x0, 8(a0); amocas.q a2, a6, (a0)",
            [
                f"(0x00053023) mem {DATA:#018x} 0x0000000000000000",
                f"(0x00053423) mem {DATA + 8:#018x} 0x0000000000000000",
                "(0x2905462f) x12 0x0000000000000000 x13 0x0000000000000000"
                f" mem {DATA:#018x} mem {DATA:#018x} 0x0000000000000000 mem {DATA + 8:#018x} 0x0000000000000000",
            ],
        ),
    ],
)
def test_line(tmp_path, code, expected):
    assert trace(tmp_path, code) == expected


def test_a_successful_sc_writes(tmp_path):
    _, line = trace(tmp_path, "lr.d a2, (a0); sc.d a2, a1, (a0)")
    assert line == f"(0x18b5362f) x12 0x0000000000000000 mem {DATA:#018x} 0xfffffffffffffffe"


def test_a_trap_has_a_line_of_its_own(tmp_path):
    image = assemble(FRAME.format("ld a2, 0(x0)")).image
    here = image.symbols["here"].address
    file = tmp_path / "trace"
    with pytest.raises(AssertionError, match="nobody"):
        local_hart.run(image, trace=str(file))
    lines = file.read_text().splitlines()
    assert f"core   0: trap load access fault, epc {here:#018x}, tval 0x0000000000000000" in lines
    assert not any(f"3 {here:#018x}" in line for line in lines)


def test_the_last_instruction_is_there(tmp_path):
    image = assemble(FRAME.format("nop")).image
    file = tmp_path / "trace"
    with pytest.raises(AssertionError, match="nobody"):
        local_hart.run(image, trace=str(file))
    assert file.read_text().splitlines()[-1].endswith(f"{image.symbols['stop'].address:#018x} (0x10500073)")


def test_an_instruction_that_overwrites_itself_is_shown_as_it_was(tmp_path):
    _, line = trace(tmp_path, "auipc t2, 0; sw x0, 4(t2)")
    assert line.startswith("(0x0003a223) mem ")
