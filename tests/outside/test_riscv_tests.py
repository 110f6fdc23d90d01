"""riscv-tests: every program of the suites that an M-mode RV64 machine can run, built by GCC and by our assembler.

The sources are not ours and not here: `--riscv-tests DIR` says where a checkout is. A program passes when it ends
with exit code 0 through HTIF; another code n means that its test case n failed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bus import policies
from coordinator.result import Ending
from coordinator.spec import VmSpec
from coordinator.vm import VirtualMachine
from hart.asm import assemble
from hart.elf import read_elf
from hart.image import Image
from hart.isa.extensions import effective, implemented
from hart.jit.codegen import Tier
from tests.differential.tiers import TIERS, final_state
from tests.hart.jit.native_code import limit_regions

pytestmark = pytest.mark.outside

SUITES = {
    "rv64ui": "rv64g", "rv64um": "rv64g", "rv64ua": "rv64g", "rv64uc": "rv64g", "rv64mi": "rv64g",
    "rv64uzba": "rv64g_zba", "rv64uzbb": "rv64g_zbb", "rv64uzbs": "rv64g_zbs", "rv64uzicond": "rv64g_zicond",
}  # fmt: skip
"""Suite and the architecture that GCC must be told."""

NOT_OURS = {
    "rv64mi-breakpoint": "needs the debug triggers (Sdtrig) with tcontrol; the machine has none",
    "rv64mi-pmpaddr": "needs a PMP entry; the machine's are WARL zero, as the manual allows for none implemented",
}
"""Programs that test what the machine does not have."""

NOT_ASSEMBLED = {
    "rv64mi-illegal": "uses sfence.vma and sret, which are no rows of the table: the machine has M-mode only",
}
"""Programs that our assembler cannot take."""

IN_TIERS: dict[str, tuple[Tier, ...]] = {"interpreter": (), **TIERS}
"""What `--tier` chooses from, and the tiers that it stands for."""
HOW_TO = "no sources: git clone --recursive https://github.com/riscv-software-src/riscv-tests, then --riscv-tests DIR"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tier" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--tier") or IN_TIERS
        metafunc.parametrize("tier", [tier for tier in IN_TIERS if tier in wanted])
    if "program" not in metafunc.fixturenames:
        return
    checkout: Path | None = metafunc.config.getoption("--riscv-tests")
    if checkout is None:
        metafunc.parametrize("program", [pytest.param(None, marks=pytest.mark.skip(reason=HOW_TO))])
        return
    suites = getattr(metafunc.function, "suites", tuple(SUITES))
    found = [path for suite in suites for path in sorted((checkout / "isa" / suite).glob("*.S"))]
    if not found:
        raise pytest.UsageError(f"--riscv-tests {checkout}: there is no isa/rv64ui with sources in it")
    metafunc.parametrize("program", found, ids=_name)


def _name(program: Path) -> str:
    return f"{program.parent.name}-{program.stem}"


def _includes(program: Path) -> tuple[Path, Path]:
    checkout = program.parents[2]
    if not (checkout / "env" / "p").is_dir():
        pytest.fail(f"{checkout}/env is empty: git submodule update --init")
    return checkout / "env" / "p", checkout / "isa" / "macros" / "scalar"


def build_with_gcc(program: Path, directory: Path) -> Image:
    gcc = shutil.which("riscv64-unknown-elf-gcc")
    if gcc is None:
        pytest.skip("no riscv64-unknown-elf-gcc on PATH")
    if _name(program) in NOT_OURS:
        pytest.skip(NOT_OURS[_name(program)])
    environment, macros = _includes(program)
    march = SUITES[program.parent.name]
    probe = [
        gcc,
        f"-march={march}",
        "-mabi=lp64d",
        "-c",
        "-x",
        "c",
        "/dev/null",
        "-o",
        str(directory / "probe"),
    ]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"this GCC does not know -march={march}")
    target = directory / _name(program)
    command = [
        gcc, f"-march={march}", "-mabi=lp64d", "-static", "-mcmodel=medany", "-fvisibility=hidden", "-nostdlib",
        "-nostartfiles", f"-I{environment}", f"-I{macros}", f"-T{environment / 'link.ld'}", str(program),
        "-o", str(target),
    ]  # fmt: skip
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return read_elf(target)


def build_with_ours(program: Path, directory: Path) -> Image:
    name = _name(program)
    if name in NOT_OURS or name in NOT_ASSEMBLED:
        pytest.skip(NOT_OURS.get(name) or NOT_ASSEMBLED[name])
    return assemble([program], include_paths=_includes(program)).image


BUILDERS = pytest.mark.parametrize("build", [build_with_gcc, build_with_ours], ids=["gcc", "ours"])


@pytest.fixture
def small_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """These programs go everywhere once: large regions would hold the same code again and again."""
    limit_regions(monkeypatch, 60)


@pytest.mark.usefixtures("small_regions")
@BUILDERS
def test_one_hart_in_this_process(program, build, tier, tmp_path):
    _run_here(build(program, tmp_path), tier, "serial")


def _run_here(image: Image, tier: str, policy_name: str) -> None:
    end = final_state(image, effective(implemented()), IN_TIERS[tier], policy=policy_name, ahead=True)
    assert end.end == "exit 0", f"{end.end} at {image.symbolize(end.pc)}"
    if IN_TIERS[tier]:
        assert end.native > 10, f"{end.native} of {end.instret} instructions were native"


@pytest.mark.usefixtures("small_regions")
@pytest.mark.parametrize("policy_name", [name for name in policies.NAMES if policies.policy(name).correct])
def test_atomics_under_every_policy(program, policy_name, tier, tmp_path):
    """Under `serial` atomics are the bus's, in every tier; other policies compile them."""
    _run_here(build_with_gcc(program, tmp_path), tier, policy_name)


test_atomics_under_every_policy.suites = ("rv64ua",)


def _run_on_processes(image: Image, harts: int, tier: str) -> None:
    vm = VirtualMachine(VmSpec(name="riscv-tests", harts=harts, ram_bytes=1 << 20, timeout_s=60, tier=tier))
    try:
        vm.load(image)
        vm.start()
        result = vm.wait(90)
    finally:
        vm.destroy()
    assert result is not None
    assert (result.ending, result.exit_code) == (Ending.EXIT, 0), result.detail


def test_one_hart_process(program, tier, tmp_path):
    _run_on_processes(build_with_gcc(program, tmp_path), 1, tier)


@pytest.mark.parametrize("harts", [2, 4])
def test_several_hart_processes(program, harts, tier, tmp_path):
    """Hart 0 runs the program; its start-up code lets the others spin."""
    _run_on_processes(build_with_gcc(program, tmp_path), harts, tier)


test_several_hart_processes.suites = ("rv64ua",)

ALL_HARTS = """
#include "riscv_test.h"
#undef RISCV_MULTICORE_DISABLE
#define RISCV_MULTICORE_DISABLE
#include "lrsc.S"
"""


@pytest.mark.parametrize("harts", [2, 4])
def test_lrsc_program_on_every_hart(request, harts, tier):
    """lrsc.S is the one that numbers its harts by an AMO; the start-up code shall let them all through."""
    checkout: Path | None = request.config.getoption("--riscv-tests")
    if checkout is None:
        pytest.skip(HOW_TO)
    suite = checkout / "isa" / "rv64ua"
    image = assemble(ALL_HARTS, include_paths=(suite, *_includes(suite / "lrsc.S"))).image
    _run_on_processes(image, harts, tier)
