"""Guest programs for tests of running VMs, and helpers to run them."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble

MARK = "HARTSTORM_TEST_MARK"
"""In the environment of processes, so that they and all that they start are found."""

EXIT = """
exit: la t6, tohost
      slli a0, a0, 1
      ori a0, a0, 1
      sd a0, (t6)
stay: j stay
.section .tohost, "aw"
.balign 64
.globl tohost
tohost: .dword 0
.globl fromhost
fromhost: .dword 0
"""

# Each hart adds 1 to `amo`, `lrsc` and `cas` n times each; the last one to finish ends the VM.
COUNTERS = (
    """
.globl _start
_start: li s1, {n}
        la s2, amo
        la s3, lrsc
        la s4, cas
        li s5, 1
loop:   amoadd.d zero, s5, (s2)
1:      lr.d t0, (s3)
        addi t0, t0, 1
        sc.d t1, t0, (s3)
        bnez t1, 1b
        ld t0, (s4)
2:      mv t1, t0
        addi t2, t0, 1
        amocas.d t0, t2, (s4)
        bne t0, t1, 2b
        addi s1, s1, -1
        bnez s1, loop
        la t0, done
        amoadd.d t1, s5, (t0)
        addi t1, t1, 1
        li a0, 0
        beq t1, a1, exit
park:   wfi
        j park
.data
.balign 64
amo: .dword 0
.balign 64
lrsc: .dword 0
.balign 64
cas: .dword 0
.balign 64
done: .dword 0
.text
"""
    + EXIT
)

SPIN = ".globl _start\n_start: addi s1, s1, 1\n j _start\n"
PARK = ".globl _start\n_start: wfi\n j _start\n"


def image(source: str):
    """An image of assembly text."""
    return assemble(source).image


@contextmanager
def machine(source: str, **settings):
    """A VM with that program, not started; nothing is left of it afterwards."""
    settings.setdefault("timeout_s", 30)
    vm = VirtualMachine(VmSpec(name="t", **settings))
    try:
        vm.load(image(source))
        yield vm
    finally:
        vm.destroy()
        assert not traces(vm)


def run(source: str, **settings):
    """The result of running that program, and the values of its 8-byte symbols."""
    with machine(source, **settings) as vm:
        vm.start()
        result = vm.wait(60)
        program = image(source)
        values = {
            name: int.from_bytes(vm.read_memory(symbol.address, 8), "little")
            for name, symbol in program.symbols.items()
            if vm.spec.holds(symbol.address, 8)
        }
        return result, values


def traces(vm) -> list[str]:
    """What a destroyed VM has left on the host."""
    name = vm._held[0]
    paths = [Path("/dev/shm", name), Path(vm._held[1])]
    return [str(p) for p in paths if p.exists()]


def processes(mark: str) -> dict[int, str]:
    """Living processes that descend from one started with this mark, and their names."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}\0".encode() in (directory / "environ").read_bytes() + b"\0":
                found[int(directory.name)] = (directory / "comm").read_text().strip()
    return found


def alive(pids) -> list[int]:
    """Those processes that exist and are no zombies."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found.append(pid)
    return found


def eventually(condition, seconds: float = 5.0):
    """Wait until `condition()` is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.005)
    return value


def send(pid: int, number: int) -> bool:
    """Signal a process if it is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
