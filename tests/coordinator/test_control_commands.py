"""The commands around the control server, end to end: real VMs behind a real `hartstorm serve`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator import paths
from coordinator.cli import app
from coordinator.commands.exit_codes import ExitCode
from coordinator.control.access import Client, Keyring, KeyringError, Role
from coordinator.control.keys import KeyFileError, generate, load, public_key, write
from coordinator.local import local_coordinator
from coordinator.result import Ending
from coordinator.spec import VmSpec
from hart.asm import assemble
from hart.isa.extensions import REGISTRY, effective

TWO_VMS = paths.CONFIGS / "two-vms.toml"
TEXT = """
    .globl _start
_start:
    la a0, word
    li a1, 5
    amoadd.d x0, a1, (a0)
    li t0, 1
    la t1, tohost
    sd t0, 0(t1)
1:  j 1b
    .data
    .balign 64
word: .dword 0
    .globl tohost
    .balign 64
tohost: .dword 0
    .size tohost, 8
"""


def hartstorm(*arguments: object, ok: bool = True, code: int = ExitCode.AS_EXPECTED) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert (done.exit_code == code) is ok, done.output
    if not ok:
        assert done.exit_code == ExitCode.USAGE_OR_CONFIG, done.output
        return done.stderr
    return done.stdout


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    endpoint = f"ipc://{tmp_path}/private/control"
    command = [
        sys.executable,
        "-c",
        "from coordinator.cli import main; main()",
        "serve",
        "--endpoint",
        endpoint,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"serving at {endpoint}\n"
        yield endpoint
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert list((tmp_path / "private").iterdir()) == []


def test_two_vms_in_one_server(server: str):
    at = ("--server", server)
    created = hartstorm("vm", "create", TWO_VMS, *at)
    assert [line.split()[1] for line in created.splitlines()] == ["with", "without"]
    assert [v["state"] for v in json.loads(hartstorm("vm", "list", "--json", *at))] == ["created", "created"]
    assert [line.split() for line in hartstorm("reg", "get", "with", "zacas", "pc", *at).splitlines()] == [
        ["isa_ext.zacas", "0x1"],
        ["core.pc", "0x80000000"],
    ]
    assert json.loads(hartstorm("reg", "get", "with", "x10", "--json", *at)) == {"core.a0": 0}
    assert hartstorm("reg", "get", "without", "isa_ext.zacas", *at) == "0x0\n"
    hartstorm("reg", "set", "with", "core.s11", "0xabc", "--hart", 1, *at)
    assert "core.s11                                  0xabc" in hartstorm(
        "reg", "list", "with", "--hart", 1, *at
    )
    listed = json.loads(hartstorm("reg", "list", "with", "config.isa", "--json", *at))
    letters = {"id": "0x8030000001000000", "name": "config.isa", "value": 0x1105, "meaning": "A C I M"}
    assert listed == [letters]
    assert "no register's name begins with 'x'; there are config, core" in hartstorm(
        "reg", "list", "with", "x", *at, ok=False
    )
    for name in ("with", "without"):
        hartstorm("vm", "run", name, *at)
    assert "exit 0" in hartstorm("vm", "wait", "with", *at)
    assert "illegal instruction: amoadd.b zero, t1, (s1): needs Zabha" in hartstorm(
        "vm", "wait", "without", *at
    )
    result = json.loads(hartstorm("vm", "wait", "without", "--json", *at))["result"]
    assert result["ending"] == "trap"
    assert "EBUSY" in hartstorm("reg", "set", "with", "isa_ext.zacas", 0, *at, ok=False)
    assert "EINVAL: VM with is ended" in hartstorm("vm", "run", "with", *at, ok=False)
    hartstorm("vm", "rm", "with", *at)
    assert "ENOENT: no VM 'with'" in hartstorm("vm", "status", "with", *at, ok=False)


def test_pause_and_resume_a_running_vm(server: str, tmp_path: Path):
    at = ("--server", server)
    spin = tmp_path / "spin.S"
    spin.write_text(".globl _start\n_start: addi s1, s1, 1\n j _start\n")
    [line] = hartstorm("vm", "create", spin, "--harts", 2, *at).splitlines()
    name = line.split()[0]
    assert line.split()[1] == "spin"
    hartstorm("vm", "run", name, *at)
    deadline = time.monotonic() + 60
    while hartstorm("vm", "status", name, *at).startswith("running, 0 ") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "EBUSY" in hartstorm("reg", "get", name, "core.s1", *at, ok=False)
    hartstorm("vm", "pause", name, *at)
    count = hartstorm("reg", "get", name, "core.s1", *at)
    assert int(count, 0) > 0
    assert hartstorm("reg", "get", name, "core.s1", *at) == count
    hartstorm("reg", "set", name, "core.pc", 0x8000_0000, *at)
    assert hartstorm("vm", "step", name, *at) == "1 retired, pc 0x80000004: jal zero, 0x80000000\n"
    assert hartstorm("vm", "step", name, 3, "--hart", 1, *at).startswith("3 retired, pc 0x8000000")
    assert "has no vCPU 7; it has 0 to 1" in hartstorm("vm", "step", name, "--hart", 7, *at, ok=False)
    hartstorm("reg", "set", name, "core.s1", 1 << 63, *at)
    hartstorm("vm", "resume", name, *at)
    hartstorm("vm", "pause", name, *at)
    assert int(hartstorm("reg", "get", name, "core.s1", *at), 0) >= 1 << 63
    hartstorm("vm", "stop", name, *at)
    assert "stopped" in hartstorm("vm", "status", name, *at)


def test_names_of_vms(server: str, tmp_path: Path):
    """Those of several configurations keep apart, and the same one can be there twice."""
    at = ("--server", server)

    def made(*arguments: object) -> list[str]:
        return [line.split()[1] for line in hartstorm("vm", "create", *arguments, *at).splitlines()]

    assert made("quickstart") == ["quickstart"]
    assert made("quickstart", "--name", "second") == ["second"]
    assert made(TWO_VMS, "--name", "third") == ["third-with", "third-without"]
    assert "EEXIST: you have a VM 'quickstart'" in hartstorm("vm", "create", "quickstart", *at, ok=False)
    refused = hartstorm("vm", "create", TWO_VMS, "--name", "no good", *at, ok=False)
    assert "--name: a VM cannot be called 'no good-with'" in refused
    odd = tmp_path / "an odd name.S"
    odd.write_text(TEXT)
    assert made(odd) == ["vm"]


def test_looking_into_a_vm(server: str, tmp_path: Path):
    at = ("--server", server)
    source = tmp_path / "amo.S"
    source.write_text(TEXT)
    word = assemble([source]).image.symbols["word"].address
    hartstorm("vm", "create", source, *at)
    assert hartstorm("vm", "events", "amo", "--timeout", 0, *at, code=ExitCode.WATCHDOG) == "created 0\n"
    hartstorm("reg", "set", "amo", "isa_ext.zicond", 0, *at)
    assert '"zicond"' not in hartstorm("vm", "dt", "amo", *at)
    hartstorm("vm", "dt", "amo", "-o", tmp_path / "t.dtb", *at)
    assert (tmp_path / "t.dtb").read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
    zicond = 1 << 35
    probed = json.loads(hartstorm("vm", "hwprobe", "amo", "--hart", 0, "--json", *at))["amo"]
    assert not probed["IMA_EXT_0"] & zicond
    assert "EINVAL: none of the chosen CPUs is online" in hartstorm(
        "vm", "hwprobe", "amo", "--hart", 1, *at, ok=False
    )
    hartstorm("vm", "run", "amo", *at)
    seen = [json.loads(line) for line in hartstorm("vm", "events", "amo", "--json", *at).splitlines()]
    assert seen[-1]["event"] == "ended"
    assert seen[-1]["ending"] == "exit"
    line = hartstorm("vm", "memory", "amo", hex(word), 3, *at)
    assert line.split() == [f"{word:016x}", "05", "00", "00", "..."]
    hartstorm("vm", "memory", "amo", word, 8, "-o", tmp_path / "bytes", *at)
    assert int.from_bytes((tmp_path / "bytes").read_bytes(), "little") == 5
    assert "EFAULT" in hartstorm("vm", "memory", "amo", 0, *at, ok=False)
    assert "address 'word' is no unsigned number" in hartstorm("vm", "memory", "amo", "word", *at, ok=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vm", "status", ""), "vm = '': String should have at least 1 character"),
        (("vm", "run", "v" * 65), "String should have at most 64 characters"),
        (
            ("vm", "wait", "vm", "--timeout", "1e6"),
            "timeout_s = 1000000.0: Input should be less than or equal to",
        ),
        (("reg", "get", "vm", "pc", "--hart", 70_000), "hart = 70000: Input should be less than 65536"),
        (
            ("vm", "memory", "vm", "0x10000000000000000"),
            "address = 18446744073709551616: Input should be less",
        ),
        (("vm", "step", "vm", "--hart", -1), "hart = -1: Input should be greater than or equal to 0"),
    ],
)
def test_arguments_that_fit_no_request(server: str, arguments: tuple[object, ...], message: str):
    assert message in hartstorm(*arguments, "--server", server, ok=False)


def test_events_of_a_vm_that_goes_away(server: str, tmp_path: Path):
    at = ("--server", server)
    hartstorm("vm", "create", "quickstart", *at)
    command = [sys.executable, "-c", "from coordinator.cli import main; main()"]
    with subprocess.Popen(
        [*command, "vm", "events", "quickstart", *at], stdout=subprocess.PIPE, text=True
    ) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "created 0\n"
        hartstorm("vm", "rm", "quickstart", *at)
        assert listening.stdout.read() == "gone no VM 'quickstart'\n"
    assert listening.returncode == 0


def test_what_a_killed_server_leaves_does_not_matter(tmp_path: Path):
    """Its VMs die with it; its socket is no server; the next one serves at the same place."""
    endpoint = f"ipc://{tmp_path}/private/control"
    at = ("--server", endpoint)
    serve = [
        sys.executable,
        "-c",
        "from coordinator.cli import main; main()",
        "serve",
        "--endpoint",
        endpoint,
    ]
    spin = tmp_path / "spin.S"
    spin.write_text(".globl _start\n_start: j _start\n")
    for last in (False, True):
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                assert json.loads(hartstorm("vm", "list", "--json", *at)) == []
                hartstorm("vm", "create", spin, *at)
                hartstorm("vm", "run", "spin", *at)
            finally:
                process.send_signal(signal.SIGTERM if last else signal.SIGKILL)
        assert (tmp_path / "private" / "control").exists() is not last


def test_nobody_serves_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("coordinator.commands.connection.LISTENER_S", 0.2)
    monkeypatch.setattr("coordinator.commands.connection.ANSWER_S", 0.2)
    monkeypatch.setattr("coordinator.commands.connection._NOTICE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    for name, why in (("stale", "Connection refused"), ("none", "No such file or directory")):
        said = hartstorm("vm", "list", "--server", f"ipc://{tmp_path}/{name}", ok=False)
        assert said == (
            f"waiting for a server at ipc://{tmp_path}/{name}; `hartstorm serve` starts one\n"
            f"nothing serves at ipc://{tmp_path}/{name}: {why}\n"
        )
    with socket.socket(socket.AF_UNIX) as dumb:
        dumb.bind(str(tmp_path / "dumb"))
        dumb.listen()
        said = hartstorm("vm", "list", "--server", f"ipc://{tmp_path}/dumb", ok=False)
    assert said.startswith(f"ipc://{tmp_path}/dumb: no answer to list_vms in 0.2 s; the server may be busy")


def test_switching_zaamo_changes_what_the_guest_may_do(tmp_path: Path):
    source = tmp_path / "amo.S"
    source.write_text(TEXT)
    image = assemble([source]).image
    word = image.symbols["word"].address
    without = {"A", "Zaamo", "Zacas", "Zabha"}
    with local_coordinator() as client:
        for lacking, ending, value in (
            (set(), Ending.EXIT, 5),
            (without, Ending.TRAP, 0),
            (without - {"Zaamo"}, Ending.EXIT, 5),
        ):
            vm = client.create_vm(VmSpec(name="vm", harts=1, ram_bytes=1 << 20))
            vm.set_extensions(0, vm.get_extensions(0) - lacking)
            vm.load_image(image)
            vm.run()
            result = vm.wait(20)
            assert result is not None
            assert result.ending is ending
            assert int.from_bytes(vm.get_memory(word, 8), "little") == value
            vm.destroy()


def test_a_server_over_tcp(tmp_path: Path):
    def keys(name: str, role: str = "user") -> str:
        return hartstorm("serve", "keys", tmp_path / name, "--name", name, "--role", role)

    keys("server.key")
    clients = tmp_path / "clients.toml"
    clients.write_text(keys("alice") + keys("bob"))
    server_key = load(tmp_path / "server.key").public_key.decode()
    for port in range(21000, 60000, 2):
        tcp = f"tcp://127.0.0.1:{port}"
        arguments = ["--endpoint", f"ipc://{tmp_path}/private/control", "--tcp", tcp]
        command = [sys.executable, "-c", "from coordinator.cli import main; main()", "serve", *arguments]
        options = ["--key", tmp_path / "server.key", "--clients", clients]
        with subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            if not process.stdout.readline():  # the port is taken
                continue
            try:
                at = ("--server", tcp, "--server-key", server_key, "--key")
                hartstorm("vm", "create", TWO_VMS, *at, tmp_path / "alice")
                assert hartstorm("vm", "list", *at, tmp_path / "alice").count("alice") == 2
                assert "alice" not in hartstorm("vm", "list", *at, tmp_path / "bob")
                refused = hartstorm("reg", "set", "with", "core.a0", 1, *at, tmp_path / "bob", ok=False)
                assert "ENOENT: no VM 'with'" in refused
                hartstorm("vm", "grant", "with", "bob", "observer", *at, tmp_path / "alice")
                in_file = ("--server", tcp, "--server-key", tmp_path / "server.key", "--key")
                assert hartstorm("reg", "get", "with", "a1", *in_file, tmp_path / "bob") == "0x2\n"
                refused = hartstorm("reg", "set", "with", "core.a0", 1, *at, tmp_path / "bob", ok=False)
                assert "EPERM: VM with: takes an owner, you are observer" in refused
                keys("stranger")
                refused = hartstorm("vm", "list", *at, tmp_path / "stranger", ok=False)
                assert refused == f"{tcp}: the server knows no client with this key\n"
                at = ("--server", tcp, "--server-key", tmp_path / "stranger", "--key")
                refused = hartstorm("vm", "list", *at, tmp_path / "alice", ok=False)
                assert refused == f"{tcp}: no server that has this server key\n"
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
        return
    pytest.fail("no free port")


TCP = ("--server-key", "k" * 40, "--key", "README.md")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vm", "list", "--server", "tcp://localhost:1"), "tcp takes --server-key and --key"),
        (("serve", "--endpoint", "ipc:///" + "d" * 150), "at most 107 bytes, this has 158"),
        (("vm", "list", "--server", "ipc:///" + "d" * 150), "at most 107 bytes, this has 151"),
        (("serve", "--tcp", "tcp://127.0.0.1:1"), "tcp takes --key and --clients"),
        (("serve", "--clients", "clients.toml"), "--key and --clients are for --tcp"),
        (
            ("serve", "keys", "/nonexistent/k", "--role", "boss"),
            "role = 'boss': Input should be 'user', 'obs",
        ),
        (("serve", "keys", "/nonexistent/k", "--name", "a b"), "name = 'a b'"),
        (("serve", "keys", "/nonexistent/k"), "/nonexistent/k: No such file or directory"),
        (("vm", "list", "--server", "localhost:5555"), "write ipc://PATH or tcp://HOST:PORT"),
        (("vm", "list", "--server", "tcp://localhost:99999", *TCP), "the port must be from 1 to 65534"),
        (("vm", "list", "--server", "tcp://localhost:9", *TCP), "README.md: "),
        (("vm", "grant", "vm", "bob", "observr"), "'observr' is no standing; did you mean 'observer'?"),
        (("serve", "--endpoint", "tcp://127.0.0.1:1"), "a local endpoint begins with ipc://"),
        (("reg", "get", "vm", "core.aa"), "no register is called 'core.aa'; did you mean 'core.ra'?"),
        (("reg", "set", "vm", "core.a0", "-1"), "is no unsigned number"),
        (("reg", "get", "vm", "time"), "several registers are called 'time': timer.time, sbi_ext.time"),
        (("isa", "explain", "rv64im_zacas"), "Zacas needs Zaamo"),
        (("isa", "explain", "i, a, zacas"), "zacas: the list must hold all of zaamo"),
        (("dt", TWO_VMS, "--vm", "with", "-o", "/nonexistent/t.dtb"), "/nonexistent/t.dtb: No such file"),
        (("dt", TWO_VMS), "several VMs; choose with --vm: with, without"),
        (("dt", TWO_VMS, "--vm", "wihtout"), "no VM 'wihtout'; did you mean 'without'?"),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...], message: str):
    assert message in hartstorm(*arguments, ok=False)


def test_reg_ids():
    rows = json.loads(hartstorm("reg", "ids", "--json"))
    assert {"id": "0x8030000007000035", "name": "isa_ext.zacas", "class": "ISA_EXT", "size": 8} in rows
    assert len(rows) == len({row["id"] for row in rows}) > 250
    assert hartstorm("reg", "ids", "fp_f.f0", "0x8030000002000000", "0x8020000002000000") == (
        "0x8020000005000000  FP_F          4  fp_f.f0\n"
        "0x8030000002000000  CORE          8  core.pc\n"
        "0x8020000002000000  CORE          4  no register: it says 4 bytes, core.pc has 8\n"
    )
    [wrong] = json.loads(hartstorm("reg", "ids", "0x803000000b000000", "--json"))
    assert (wrong["class"], wrong["wrong"]) == (None, "there is no class 11")


def test_isa_explain():
    said = hartstorm("isa", "explain", "rv64ia_zacas")
    assert "Zaamo      with A" in said
    assert said.splitlines()[-1].startswith("rv64ia_zicntr")
    assert "A          with RVA20U64" in hartstorm("isa", "explain", "rva20u64")
    assert hartstorm("isa", "explain", "rva20u64").endswith(
        "hartstorm does not implement F, D, Ziccif, Zcd\n"
    )
    listed = json.loads(hartstorm("isa", "explain", '"i", "a", "zaamo"', "--json"))
    assert listed["isa"] == "rv64i2p1a_zaamo_zalrsc"
    assert listed["extensions"][-1] == {"name": "Zalrsc", "why": "with A", "implemented": True}


def test_isa_list_holds_every_row():
    assert {row["name"] for row in json.loads(hartstorm("isa", "list", "--json"))} == REGISTRY.keys()
    assert "IMA_EXT_0:34" in hartstorm("isa", "list")


def test_isa_query_says_why(tmp_path: Path):
    config = tmp_path / "c.toml"
    config.write_text(
        'name = "c"\n[vm]\nguest.source = ["a.S"]\nreservation.reservation_set_size_exp = 8\n'
        '[vm.isa]\nbase = "rv64imac"\nZacas = true\nZawrs = true\nZalrsc = false\n'
    )
    hartstorm("isa", "query", config, ok=False)  # what is wanted needs what is not
    config.write_text(config.read_text().replace("Zawrs = true\n", ""))
    [vm] = json.loads(hartstorm("isa", "query", config, "--json")).values()
    why = {d["name"]: (d["on"], d["why"]) for d in vm["extensions"]}
    assert why["Zacas"] == (True, "isa.Zacas = true")
    assert why["Zaamo"] == (True, "isa.base: with A")
    assert why["Zalrsc"] == (False, "isa.Zalrsc = false")
    assert why["A"] == (False, "needs Zalrsc")
    assert why["Zba"] == (False, "not in isa.base")
    assert why["V"] == (False, "hartstorm does not implement it")
    assert why["Za64rs"] == (False, "the reservation set is too large")
    assert {name for name, (on, _) in why.items() if on} == effective({n for n, (on, _) in why.items() if on})


def test_isa_query_names_the_host_and_harts_that_differ(tmp_path: Path):
    config = tmp_path / "c.toml"
    config.write_text(
        'name = "c"\n[host.isa]\nZba = false\n[vm]\nharts = 2\nguest.source = ["a.S"]\n'
        "[vm.isa.harts.0]\nZicond = false\n"
    )
    [vm] = json.loads(hartstorm("isa", "query", config, "--json")).values()
    for hart, zicond in (("0", False), ("1", True)):
        why = {d["name"]: (d["on"], d["why"]) for d in vm["harts"][hart]["extensions"]}
        assert why["Zba"] == (False, "the host lacks it: host.isa.Zba = false")
        assert why["Zicond"][0] is zicond
    tree = hartstorm("dt", config)
    assert tree.count('"zicond"') == 1
    assert '"zba"' not in tree
    refused = config.read_text().replace("Zicond = false", "Zba = true")
    config.write_text(refused)
    assert "vm.isa.harts.0.Zba = true: the host lacks Zba (ENOENT)" in hartstorm(
        "isa", "query", config, ok=False
    )


def test_isa_hwprobe():
    values = json.loads(hartstorm("isa", "hwprobe", TWO_VMS, "--json"))
    zacas = 1 << 34
    assert values["with"]["IMA_EXT_0"] & zacas
    assert not values["without"]["IMA_EXT_0"] & zacas
    [with_it, without] = [
        line.split() for line in hartstorm("isa", "hwprobe", TWO_VMS).splitlines() if "IMA_EXT_0" in line
    ]
    assert "Zacas" in with_it
    assert "Zacas" not in without
    assert with_it[1] == hex(values["with"]["IMA_EXT_0"])


def test_dt_writes_both_forms(tmp_path: Path):
    source = hartstorm("dt", TWO_VMS, "--vm", "without")
    assert source.startswith("/dts-v1/;")
    assert '"zacas"' not in source
    hartstorm("dt", TWO_VMS, "--vm", "with", "-o", tmp_path / "t.dtb")
    assert (tmp_path / "t.dtb").read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
    hartstorm("dt", TWO_VMS, "--vm", "without", "-o", tmp_path / "t.dts")
    assert (tmp_path / "t.dts").read_text() == source
    piped = CliRunner().invoke(app, ["dt", str(TWO_VMS), "--vm", "with", "--format", "dtb"])
    assert piped.stdout_bytes == (tmp_path / "t.dtb").read_bytes()


# Key files and keyrings


def test_key_files(tmp_path: Path):
    pair = generate()
    write(tmp_path / "k", pair)
    assert load(tmp_path / "k") == pair
    assert public_key(str(tmp_path / "k")) == public_key(pair.public_key.decode()) == pair.public_key
    with pytest.raises(KeyFileError, match="neither a Z85 key of 40 characters nor a file"):
        public_key("k" * 39)
    with pytest.raises(KeyFileError, match="File exists"):
        write(tmp_path / "k", pair)
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(KeyFileError, match="others can read it"):
        load(tmp_path / "k")
    (tmp_path / "short").touch(0o600)
    (tmp_path / "short").write_text('public_key = "x"')
    with pytest.raises(KeyFileError, match=r"\$\.public_key must be a Z85 key of 40 characters"):
        load(tmp_path / "short")


def test_keyrings(tmp_path: Path):
    file = tmp_path / "clients.toml"
    entry = '[[client]]\nname = "{}"\npublic_key = "{}"\nrole = "{}"\n'
    file.write_text(entry.format("a", "k" * 40, "operator"))
    assert Keyring.load(file).clients == {"k" * 40: Client("a", Role.OPERATOR)}
    for text, message in (
        (entry.format("a", "k" * 39, "admin"), r"\$\.client\[0\]\.public_key"),
        (entry.format("a", "k" * 40, "boss"), r"\$\.client\[0\]\.role.*'admin'"),
        (
            entry.format("a", "k" * 40, "user") + entry.format("a", "l" * 40, "user"),
            "name 'a' is given twice",
        ),
        (
            entry.format("a", "k" * 40, "user") + entry.format("b", "k" * 40, "user"),
            "public_key .* is given twice",
        ),
        ("[[client", "clients.toml"),
    ):
        file.write_text(text)
        with pytest.raises(KeyringError, match=message):
            Keyring.load(file)
    with pytest.raises(KeyringError, match="No such file"):
        Keyring.load(tmp_path / "none")


def test_the_default_endpoint_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from coordinator.runtime import control_endpoint

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert control_endpoint().startswith(f"ipc://{tmp_path}/")
    monkeypatch.setattr("coordinator.commands.connection.LISTENER_S", 0.05)
    assert f"nothing serves at ipc://{tmp_path}/" in hartstorm("vm", "list", ok=False)
