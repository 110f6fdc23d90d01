"""The command line: commands, options, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from coordinator import paths
from coordinator.cli import app
from coordinator.commands import run as run_command
from coordinator.commands.exit_codes import ExitCode

QUICKSTART = str(paths.CONFIGS / "quickstart.toml")
EXIT = """
    .globl _start
_start:
    li t0, CODE << 1 | 1
    la t1, tohost
    sd t0, 0(t1)
1:  j 1b
    .data
    .balign 64
    .globl tohost
tohost: .dword 0
    .size tohost, 8
"""
TRAP = ".globl _start\n_start: ebreak\n"
SPIN = ".globl _start\n_start: j _start\n"


def hartstorm(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def program(tmp_path):
    def write(text, name="a.S"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


# run


def test_a_run_that_meets_its_expectations(program):
    done = hartstorm("run", program(EXIT.replace("CODE", "0")), "--harts", 2)
    assert (done.exit_code, done.stderr) == (ExitCode.AS_EXPECTED, "")
    assert "a: 2 harts, policy serial, tier auto, seed 0" in done.stdout
    assert done.stdout.rstrip().endswith("a: as expected (2 checks)")


def test_a_run_that_does_not(program):
    done = hartstorm("run", program(EXIT.replace("CODE", "3")))
    assert done.exit_code == ExitCode.NOT_AS_EXPECTED
    assert "FAILED  exit_code  0         3" in done.stdout


def test_a_trap_names_hart_pc_and_instruction(program):
    done = hartstorm("run", program(TRAP))
    assert done.exit_code == ExitCode.NOT_AS_EXPECTED
    assert "hart 0: breakpoint at _start (ebreak)" in done.stdout


def test_a_trap_names_the_extension_that_the_vm_lacks(program):
    done = hartstorm("run", program(".globl _start\n_start: .word 0x000002af"), "--isa", "rv64i")
    assert "hart 0: illegal instruction at _start (amoadd.b t0, zero, (zero): needs Zabha)" in done.stdout


def test_the_watchdog_has_its_own_exit_code(program):
    done = hartstorm("run", program(SPIN), "--timeout", 0.3)
    assert done.exit_code == ExitCode.WATCHDOG
    assert "time limit of 0.3 s: hart 0 at _start" in done.stdout


def test_a_limit_of_instructions(program):
    done = hartstorm("run", program(SPIN), "--max-instructions", 1000, "--json")
    assert done.exit_code == ExitCode.NOT_AS_EXPECTED
    (vm,) = json.loads(done.stdout)["vms"]
    assert (vm["ending"], vm["harts"][0]["instret"]) == ("instruction limit", 1000)


def test_an_expected_watchdog_is_success(program):
    program(SPIN)
    config = program(
        'name = "t"\nvm.guest.source = ["a.S"]\nvm.limits.timeout_s = 0.2\nvm.expect.ending = "watchdog"',
        "a.toml",
    )
    assert hartstorm("run", config).exit_code == ExitCode.AS_EXPECTED


def test_json_of_several_files(program):
    good, bad = program(EXIT.replace("CODE", "0")), program(TRAP, "b.S")
    done = hartstorm("run", good, bad, "--json")
    assert done.exit_code == ExitCode.NOT_AS_EXPECTED
    assert [(d["run"], d["ok"]) for d in json.loads(done.stdout)] == [("a", True), ("b", False)]


def test_trace_and_isa(program, tmp_path):
    done = hartstorm("run", program(TRAP), "--trace", tmp_path / "t.txt", "--isa", "rv64i", "--json")
    (vm,) = json.loads(done.stdout)["vms"]
    assert vm["isa"] == "rv64i_zicntr_zicsr_zifencei_zihpm"
    assert list(tmp_path.glob("t*")) != []


def test_a_tier(program, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled = []
    for tier in ("interpreter", "t1"):
        done = hartstorm("run", program(SPIN), "--tier", tier, "--max-instructions", 1_000_000, "--json")
        (vm,) = json.loads(done.stdout)["vms"]
        assert (vm["tier"], vm["ending"], vm["harts"][0]["instret"]) == (tier, "instruction limit", 1_000_000)
        compiled.append(vm["regions_compiled"])
    assert compiled == [0, 1]  # only t1 compiled anything


def test_a_shipped_configuration_by_name(program, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert hartstorm("run", "ebreak", "breakpoint").exit_code == ExitCode.USAGE_OR_CONFIG
    done = hartstorm("run", "breakpoint")
    assert (done.exit_code, done.stdout[:11]) == (ExitCode.AS_EXPECTED, "breakpoint:")
    program(EXIT.replace("CODE", "3"), "breakpoint")  # a file of that name is what is meant
    assert "not a valid ELF file" in hartstorm("run", "breakpoint").stderr


def test_all_files_are_checked_before_any_runs(program):
    good, bad = program(EXIT.replace("CODE", "0")), program('name = "x"\n[vm]\nhart = 1', "b.toml")
    done = hartstorm("run", good, bad)
    assert (done.exit_code, done.stdout) == (ExitCode.USAGE_OR_CONFIG, "")
    assert "b.toml:3: vm.hart: unknown key; did you mean 'harts'?" in done.stderr
    assert "b.toml:2: vm.guest: missing" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["run", "none.S"], "none.S: there is no such file"),
        (["run", QUICKSTART, "--harts", "0"], "quickstart.toml: --harts = 0: must be at least 1"),
        (
            ["run", QUICKSTART, "--isa", "rv64q"],
            "--isa = \"rv64q\": 'rv64q': an ISA string begins with rv64i or rv64g",
        ),
        (["run", QUICKSTART, "--isa", "rv64ima"], "amocas.d"),
        (
            ["run", QUICKSTART, "--tier", "t3"],
            '--tier = "t3": is not allowed; allowed: auto, interpreter, t1, t2',
        ),
        (
            ["run", "quikstart"],
            "quikstart: neither a file nor a configuration that comes along; did you mean",
        ),
        (
            ["run", "zzz"],
            "zzz: neither a file nor a configuration that comes along; 'hartstorm configs list'",
        ),
        (["configs", "show", "quikstart"], "did you mean 'quickstart'?"),
        (["run", QUICKSTART, "--hart", "2"], "No such option"),
        (["run"], "Missing argument"),
        (["disasm", "0x45g1"], "'0x45g1': is neither a file nor an instruction word in hexadecimal"),
        (["disasm", "quikstart"], "a configuration that comes along; did you mean 'quickstart'?"),
        (["asm", "none.S"], "none.S"),
        (["asm", QUICKSTART, "--base", "x"], "--base = x: must be an address"),
        (["asm", QUICKSTART, "--isa", "rv64q"], "--isa"),
        (["configs", "check", "none.toml"], "none.toml: cannot be read"),
        (["nonsense"], "No such command"),
    ],
)
def test_usage_and_config_errors(arguments, message):
    done = hartstorm(*arguments)
    assert done.exit_code == ExitCode.USAGE_OR_CONFIG
    assert message in done.stderr
    assert done.stdout == ""


def test_an_interrupt_ends_with_130(program, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_command, "_run", interrupted)
    done = hartstorm("run", program(TRAP))
    assert (done.exit_code, done.stderr) == (ExitCode.INTERRUPTED, "interrupted; all VMs are ended\n")


# asm, disasm


def test_asm_elf_runs(program, tmp_path):
    elf = tmp_path / "a.elf"
    assert hartstorm("asm", program(EXIT), "-D", "CODE=7", "-o", elf).exit_code == 0
    done = hartstorm("run", elf, "--json")
    assert json.loads(done.stdout)["vms"][0]["exit_code"] == 7


def test_asm_listing_and_raw(program, tmp_path):
    source = program(TRAP)
    done = hartstorm("asm", source)
    assert done.exit_code == 0
    assert done.stdout.split()[:2] == ["80000000", "00100073"]
    raw = tmp_path / "a.bin"
    assert hartstorm("asm", source, "-o", raw).exit_code == 0
    assert raw.read_bytes() == b"\x73\0\x10\0"
    assert hartstorm("asm", source, "--format", "raw").exit_code == ExitCode.USAGE_OR_CONFIG


def test_asm_errors_have_file_and_line(program):
    done = hartstorm("asm", program("nop\namoad.w a0, a1, (a2)\n"))
    assert done.exit_code == ExitCode.USAGE_OR_CONFIG
    assert "a.S:2: " in done.stderr
    assert "unknown instruction 'amoad.w'; did you mean" in done.stderr


def test_disasm_words():
    done = hartstorm("disasm", "0x00b6252f", "4501", "ffffffff")
    assert done.stdout.splitlines() == ["amoadd.w a0, a1, (a2)", "c.li a0, 0", ".4byte 0xffffffff"]
    assert hartstorm("disasm", "00b6252f", "--isa", "rv64i").stdout == ".4byte 0x00b6252f\n"


def test_disasm_programs(program, tmp_path):
    elf = tmp_path / "a.elf"
    hartstorm("asm", program(SPIN), "-o", elf)
    for file in (elf, tmp_path / "a.S"):
        assert hartstorm("disasm", file).stdout.split() == [
            "_start:", "80000000", "0000006f", "jal", "zero,", "0x80000000", "<_start>",
        ]  # fmt: skip


def test_disasm_guests_of_a_configuration(program, tmp_path):
    program(SPIN)
    config = tmp_path / "two.toml"
    config.write_text(
        'name = "two"\n[vms.left]\nguest.source = ["a.S"]\n[vms.right]\nguest.source = ["a.S"]\n'
    )
    code = ["_start:", "80000000", "0000006f", "jal", "zero,", "0x80000000", "<_start>"]
    assert hartstorm("disasm", config).stdout.split() == ["#", "left", *code, "#", "right", *code]


# configs


def test_configs_list_names_every_file():
    done = hartstorm("configs", "list")
    assert done.exit_code == 0
    runs, batches, _ = done.stdout.split("\n\n")
    for table, shipped in ((runs, paths.shipped_configs()), (batches, paths.shipped_batches())):
        assert sorted(line.split()[0] for line in table.splitlines()[1:]) == sorted(shipped)
    assert {*paths.shipped_configs(), *paths.shipped_batches()} == {
        f.stem for f in paths.CONFIGS.rglob("*.toml")
    }


def test_configs_check_reports_every_file(program):
    bad = program('name = "x"', "bad.toml")
    done = hartstorm("configs", "check", QUICKSTART, bad)
    assert done.exit_code == ExitCode.USAGE_OR_CONFIG
    assert done.stdout == f"{QUICKSTART}: ok\n"
    assert "bad.toml: vm: missing" in done.stderr


def test_configs_schema_and_show():
    assert json.loads(hartstorm("configs", "schema").stdout)["title"] == "Run"
    shown = json.loads(hartstorm("configs", "show", QUICKSTART).stdout)
    assert shown["vms"]["vm"]["harts"] == 4


def test_configs_by_name():
    assert hartstorm("configs", "check", "quickstart").exit_code == ExitCode.AS_EXPECTED
    assert (
        hartstorm("configs", "show", "quickstart").stdout == hartstorm("configs", "show", QUICKSTART).stdout
    )


# cache


def test_cache_info_and_clear(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "hartstorm"
    hartstorm("run", QUICKSTART, "--tier", "t1")
    files = [file for kind in ("objects", "programs") for file in (cache / kind).rglob("*") if file.is_file()]
    assert len(files) > 1
    total = sum(file.stat().st_size for file in files)
    seen = hartstorm("cache", "info").stdout.splitlines()[1].split()
    assert seen == [str(cache), f"{len(files):,}", f"{total:,}"]
    assert hartstorm("cache", "clear").stdout == f"{len(files)} entries removed from {cache}\n"
    assert hartstorm("cache", "info").stdout.splitlines()[1].split()[1:] == ["0", "0"]


# the program itself


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def _helps(command, name):
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    for sub, child in getattr(command, "commands", {}).items():
        yield from _helps(child, f"{name} {sub}")


def test_help_shows_all_that_is_written():
    """Rich takes words in brackets for markup and drops them."""
    texts = dict(_helps(typer.main.get_command(app), "hartstorm"))
    assert len(texts) > 100
    lost = {name for name, text in texts.items() if Text.from_markup(text).plain != text}
    assert not lost


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from coordinator.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as e: assert e.code == 0, e.code\n"
        "heavy = {'pydantic', 'zmq', 'llvmlite', 'elftools', 'hart.isa', 'coordinator.config'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run" in done.stdout


PLAIN_RUN = """
import atexit, sys
from coordinator.__main__ import main
sys.argv = ["hartstorm", "run", {program!r}]
needless = {{
    "asyncio",  # a connection over tcp
    "tomllib",  # a configuration
    "sqlite3",  # a batch
    "hart.jit.compiler",  # the compile service
    "elftools",  # an ELF file
    "coordinator.check.checker",
    "coordinator.batch.plan",
}}
atexit.register(lambda: print("needless:", *sorted(needless & set(sys.modules)), file=sys.stderr))
main()
"""


def test_a_plain_run_loads_nothing_that_it_does_not_need(tmp_path):
    program = tmp_path / "exit.S"
    program.write_text(EXIT.replace("CODE", "0"))
    done = python("-c", PLAIN_RUN.format(program=str(program)))
    assert (done.returncode, done.stderr.split()) == (0, ["needless:"])
    assert "as expected" in done.stdout


def test_version():
    done = hartstorm("--version")
    assert (done.exit_code, done.stdout[:9]) == (0, "hartstorm")


def test_an_internal_error_has_exit_code_3():
    code = (
        "import sys; sys.argv = ['hartstorm', 'configs', 'schema']\n"
        "from coordinator import cli, config\n"
        "def broken(): raise RuntimeError('a bug')\n"
        "config.json_schema = broken\n"
        "cli.main()"
    )
    done = python("-c", code)
    assert done.returncode == ExitCode.INTERNAL_ERROR
    assert "RuntimeError: a bug" in done.stderr
    assert done.stderr.endswith("hartstorm: internal error; the lines above say where\n")
