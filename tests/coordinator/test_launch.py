import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from guests import alive, eventually

from bus.layout import Geometry
from bus.segment import Segment
from coordinator import forkserver
from coordinator.launch import drop, hold, keep_processes, launch, wait


def sleep(seconds):
    time.sleep(seconds)


def stop_itself(_):
    os.kill(os.getpid(), signal.SIGSTOP)


def comm(path):
    Path(path).write_text(Path("/proc/self/comm").read_text() + " ".join(os.listdir("/proc/self/fd")))


def ended(target, spec):
    process = launch(target, spec, "vm-test").started()
    assert process.join(10)
    process.close()
    return process


def test_a_process_runs_its_target_and_reports_its_end(tmp_path):
    process = ended(comm, str(tmp_path / "out"))
    assert (process.exit_code, process.how_it_ended()) == (0, "with exit code 0")
    name, files = (tmp_path / "out").read_text().splitlines()
    assert name == "vm-test"
    assert set(files.split()) <= {"0", "1", "2", "3", "4"}, "it holds files of others"


@pytest.fixture
def keeping():
    """Processes are kept for other work."""
    keep_processes(2)
    yield
    keep_processes(0)


def note(spec):
    """Say who and what this is, and whether it can do something else afterwards."""
    path, can_go_on = spec
    comm(path)
    return can_go_on


def read_all(path, file):
    Path(path).write_bytes(os.read(file, 100))
    os.close(file)
    return True


def done(target, spec, *files):
    """The process that did it, once it has."""
    process = launch(target, spec, "vm-test", files).started()
    assert process.join(10)
    assert process.exit_code == 0
    process.close()
    return process.pid


def test_a_process_that_can_go_on_does_the_next_work(keeping, tmp_path):
    out = tmp_path / "out"
    first = done(note, (str(out), True))
    before = out.read_text()
    assert done(note, (str(out), True)) == first
    assert out.read_text() == before, "neither its name nor its files are different"
    assert eventually(lambda: Path(f"/proc/{first}/comm").read_text() == "hartstorm-idle\n")
    read, write = os.pipe()
    os.write(write, b"a file")
    assert done(read_all, str(out), read) == first
    assert out.read_bytes() == b"a file"
    os.close(read)
    os.close(write)
    assert done(note, (str(out), False)) == first
    assert eventually(lambda: not alive([first]))
    assert done(note, (str(out), True)) != first


def test_without_keeping_each_work_has_its_own_process(tmp_path):
    pids = [done(note, (str(tmp_path / "out"), True)) for _ in range(2)]
    assert pids[0] != pids[1]
    assert eventually(lambda: not alive(pids))


def test_no_more_are_kept_than_asked_for(keeping):
    pids = [process.pid for process in [launch(sleep_and_go_on, 0.1, "t").started() for _ in range(4)]]
    assert eventually(lambda: len([pid for pid in pids if alive([pid])]) == 2)
    keep_processes(0)
    assert eventually(lambda: not alive(pids))


def sleep_and_go_on(seconds):
    time.sleep(seconds)
    return True


def test_a_process_ends_after_so_many_jobs(keeping):
    pids = [done(sleep_and_go_on, 0) for _ in range(forkserver.MOST_JOBS + 1)]
    assert len(set(pids[:-1])) == 1
    assert pids[-1] != pids[0]


def test_a_late_kill_does_not_meet_the_next_work(keeping):
    first = launch(sleep_and_go_on, 0, "t").started()
    assert eventually(first.has_ended)
    second = launch(sleep_and_go_on, 0.2, "t").started()
    assert second.pid == first.pid
    first.kill()  # it has not joined it, so it does not know
    assert second.join(10)
    assert second.exit_code == 0


def test_what_is_killed_while_it_waits_gets_no_work(keeping):
    first = done(sleep_and_go_on, 0)
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not alive([first]))
    assert done(sleep_and_go_on, 0) != first


def test_a_kept_process_that_is_killed_at_work_is_told_of_as_any_other(keeping):
    first = done(sleep_and_go_on, 0)
    process = launch(sleep_and_go_on, 60, "t").started()
    assert process.pid == first
    process.kill()
    assert process.join(5)
    assert process.exit_code == -signal.SIGKILL


def test_who_still_sees_a_segment_is_not_used_again():
    for seen in (True, False):
        segment = Segment.create(Geometry(1, ram_bytes=4096))
        segment.unlink()
        view = segment.header.view[:1] if seen else None
        assert segment.let_go() is not seen
        del view


FAILURES = """
from coordinator.launch import launch

class Unpicklable:
    def __reduce__(self):
        return (int, ("no number",))

for target, spec in ((int, "so it goes"), (int, Unpicklable()), (int, "7")):
    process = launch(target, spec, "t").started()
    assert process.join(20)
    print(process.exit_code)
"""


def test_a_failure_ends_only_its_own_process_and_says_why():
    done = subprocess.run(
        [sys.executable, "-c", FAILURES], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split() == ["1", "1", "0"]
    assert "so it goes" in done.stderr
    assert "no number" in done.stderr


def test_kill_ends_a_process_also_a_stopped_one():
    process = launch(stop_itself, None, "t").started()
    eventually(lambda: " T " in Path(f"/proc/{process.pid}/stat").read_text())
    assert not process.has_ended()
    assert not process.join(0.01)
    process.kill()
    assert process.join(5)
    assert (process.exit_code, process.how_it_ended()) == (-9, "by SIGKILL")
    process.kill()
    process.close()


def test_wait_tells_who_has_ended():
    short, long = launch(sleep, 0.01, "s").started(), launch(sleep, 60, "l").started()
    read, write = os.pipe()
    assert wait([short, long, read], 5) == {short}
    os.write(write, b"x")
    assert wait([long, read], 5) == {read}
    assert wait([long], 0) == set()
    long.kill()
    for process in (short, long):
        process.join()
        process.close()
    os.close(read)
    os.close(write)


COORDINATOR = """
import os, signal, sys, time
from coordinator.launch import launch, hold
from coordinator.vm import VirtualMachine
from coordinator.spec import VmSpec
sys.path.insert(0, {tests!r})
from guests import SPIN, image
vm = VirtualMachine(VmSpec(name="t", harts=2, tier="interpreter"))
vm.load(image(SPIN))
vm.start()
os.kill(vm.processes()[1], signal.SIGSTOP)
print(vm._held[0], vm._held[1], *vm.processes(), flush=True)
{then}
"""


@pytest.mark.parametrize("then", ["time.sleep(60)", "raise SystemExit", "os._exit(3)"])
def test_nothing_outlives_the_coordinator_however_it_ends(then):
    """Also a stopped hart is gone, and no process says a word."""
    code = COORDINATOR.format(tests=os.path.dirname(__file__), then=then)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    segment, directory, *pids = process.stdout.readline().split()
    if "sleep" in then:  # the others may have cleaned up by now
        assert Path("/dev/shm", segment).exists()
        process.kill()
    _, errors = process.communicate(timeout=10)
    assert errors == ""
    eventually(lambda: not alive(map(int, pids)), 2)
    eventually(lambda: not Path("/dev/shm", segment).exists() and not Path(directory).exists(), 2)


def test_what_is_dropped_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    code = f"""
from coordinator.launch import launch, hold, drop
hold("no-such-segment", {str(tmp_path / "mine")!r})
drop("no-such-segment", {str(tmp_path / "mine")!r})
hold("no-such-segment", {str(tmp_path / "theirs")!r})
import os
os.mkdir({str(tmp_path / "theirs")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
    assert sorted(os.listdir(tmp_path)) == ["mine"]


def test_a_killed_fork_server_takes_its_children_and_is_replaced(tmp_path):
    code = f"""
import os, signal, sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from coordinator.launch import launch, hold
from guests import alive, eventually
hold("no-such-segment", {str(tmp_path / "held")!r})
os.mkdir({str(tmp_path / "held")!r})
child = launch(time.sleep, 60, "t").started()
server = int(open(f"/proc/{{child.pid}}/stat").read().rpartition(")")[2].split()[1])
os.kill(server, signal.SIGKILL)
assert child.join(5) and child.exit_code == -9
eventually(lambda: not alive([child.pid]))
again = launch(time.sleep, 0, "t").started()
assert again.join(10) and again.exit_code == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == [], "the new server does not know what the old one held"


def test_a_forked_child_of_the_coordinator_does_not_share_the_server():
    ended(sleep, 0)
    child = os.fork()
    if not child:
        code = 1
        try:
            code = ended(sleep, 0).exit_code
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert ended(sleep, 0).exit_code == 0


def test_hold_and_drop_are_idempotent():
    hold("no-such-segment", "/nonexistent/x")
    hold("no-such-segment", "/nonexistent/x")
    drop("no-such-segment", "/nonexistent/x")
    drop("no-such-segment", "/nonexistent/x")
