"""The verdict: each expectation met and missed, with what is said about it."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from runs import BASE, hart, image, read, result, trapped, vm

from bus.access import ScFailure
from coordinator.config import ConfigError
from coordinator.expect import judge, resolve, unknown_names
from coordinator.result import Ending
from hart.image import Symbol


def checks(keys, run=None):
    return judge(vm(keys), run or result(), image(), read).checks


def the_check(keys, run=None):
    """The one check that the keys add to the default ones."""
    added = [c for c in checks(keys, run) if c.what not in ("ending", "exit_code")]
    (check,) = added
    return check


def test_without_expectations_the_guest_must_exit_with_code_0():
    assert [(c.what, c.expected, c.seen, c.ok) for c in checks("")] == [
        ("ending", "exit", "exit", True),
        ("exit_code", "0", "0", True),
    ]
    assert judge(vm(), result(), image(), read).ok


def test_a_wrong_exit_code_names_the_hart():
    ending, code = checks("expect.exit_code = 3", result(exit_code=4))
    assert ending.ok
    assert (code.expected, code.seen, code.ok) == ("3", "4", False)
    assert code.where == "hart 1 at worker+0x8: exit code 0 by hart 1"


def test_a_wrong_ending_names_hart_pc_and_instruction():
    ending, code = checks("", trapped())
    assert (ending.expected, ending.seen, ending.ok) == ("exit", "trap", False)
    assert ending.where == "hart 1: illegal instruction at worker+0x4 (.4byte 0xffffffff), tval 0xffffffff"
    assert (code.seen, code.ok) == ("none", False)


def test_an_ending_by_nobody_gives_the_detail():
    run = result(
        ending=Ending.WATCHDOG, exit_code=None, hart=None, detail="time limit of 1 s: hart 0 at worker"
    )
    assert checks("", run)[0].where == "time limit of 1 s: hart 0 at worker"


@pytest.mark.parametrize("ending", [e.value for e in Ending if e is not Ending.EXIT])
def test_any_ending_can_be_expected(ending):
    (check,) = checks(f'expect.ending = "{ending}"', result(ending=Ending(ending), exit_code=None))
    assert check.ok
    assert not checks(f'expect.ending = "{ending}"')[0].ok


@pytest.mark.parametrize(
    ("trap", "met"),
    [
        ('cause = "illegal instruction"', True),
        ("cause = 2", True),
        ('cause = "Illegal Instruction", hart = 1', True),
        ('cause = "illegal instruction", hart = 0', False),
        ('cause = "breakpoint"', False),
        ('cause = 2, pc = "worker+4"', True),
        ('cause = 2, pc = "worker + 0x4"', True),
        ("cause = 2, pc = 0x80000014", True),
        ('cause = 2, pc = "worker"', False),
        ("cause = 2, tval = 0xffffffff", True),
        ("cause = 2, tval = 0", False),
    ],
)
def test_traps(trap, met):
    check = the_check(f"expect.trap = {{ {trap} }}", trapped())
    assert check.ok is met
    assert check.seen == "hart 1: illegal instruction at worker+0x4 (.4byte 0xffffffff), tval 0xffffffff"


def test_a_trap_that_did_not_come():
    ending, trap = checks('expect.trap = { cause = 2, hart = 0, pc = "worker", tval = 1 }')
    assert (ending.expected, ending.ok) == ("trap", False)
    assert (trap.expected, trap.seen) == ("illegal instruction on hart 0 at worker, tval 0x1", "no trap")


@pytest.mark.parametrize(
    ("keys", "seen", "met"),
    [
        ("symbols.counter = 40000", "40000", True),
        ("symbols.counter = 39999", "40000", False),
        ("symbols.byte = 254", "254", True),
        ("symbols.byte = -2", "-2", True),
        ("symbols.table = { u32 = 1 }", "1", True),
        ("symbols.bare = { u16 = 7 }", "7", True),
        ("symbols.counter = { u8 = 0x40 }", "64", True),
        ("memory.0x80001018 = { u32 = 3 }", "3", True),
        ('memory."table + 12" = { u32 = -1 }', "-1", True),
        ('memory."table + 12" = { u64 = 0x7ffffffff }', "34359738367 (0x7ffffffff)", True),
        ("memory.0x80000000 = { u8 = 0 }", "cannot be read: access fault at 0x80000000", False),
        ("registers.0.a0 = 110", "110", True),
        ("registers.1.x31 = 131", "131", True),
        ("registers.1.fp = 107", "108", False),
        ("registers.0.pc = 0x80000018", "2147483672 (0x80000018)", True),
        ('console = "ell"', "'hello\\n'", True),
        ('console.equals = "hello"', "'hello\\n'", False),
        ('console.matches = "^h.*o$"', "'hello\\n'", True),
        ('console.contains = "x"', "'hello\\n'", False),
        ("sc_failures.other_sc = 8", "8", True),
        ("sc_failures.other_store = 2", "1", False),
        ("sc_failures.injected = 0", "0", True),
    ],
)
def test_memory_registers_console_and_failures(keys, seen, met):
    check = the_check(f"expect.{keys}")
    assert (check.seen, check.ok) == (seen, met)


def test_a_negative_register():
    run = result(harts=(hart(0, x=((1 << 64) - 5,) * 32), hart(1)))
    assert the_check("expect.registers.0.a0 = -5", run).ok
    assert the_check("expect.registers.0.a0 = 0xfffffffffffffffb", run).ok


def test_a_hart_that_left_nothing():
    check = the_check("expect.registers.1.a0 = 0", result(harts=(hart(0),)))
    assert (check.seen, check.ok) == ("hart 1 left no registers", False)


@pytest.mark.parametrize(
    ("text", "seen", "met"),
    [
        ("counter == harts * N", "40000 == 40000", True),
        ("counter < harts * N", "40000 < 40000", False),
        ("instret == 2000000", "2000000 == 2000000", True),
        ("u32(table, 3) == 0xffffffff", "4294967295 == 4294967295", True),
        ("i32(table, 3) == -1", "-1 == -1", True),
        ("u8(table, 1000) == 0", "access fault at 0x800013f8", False),
        ("counter // (byte - 254)", "division of 40000 by zero", False),
    ],
)
def test_invariants(text, seen, met):
    check = the_check(f'guest.defines.N = 20000\nexpect.invariants = ["{text}"]')
    assert (check.what, check.expected, check.seen, check.ok) == ("invariant", text, seen, met)


def test_a_long_console_is_shortened():
    check = the_check('expect.console = "x"', result(console=b"y" * 1000))
    assert len(check.seen) < 250


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ("symbols.conter = 1", ("symbols", "conter"), "a.S has no symbol 'conter'; did you mean 'counter'?"),
        (
            "symbols.bare = 1",
            ("symbols", "bare"),
            "bare has no size, so say how to read it: u8, u16, u32 or u64",
        ),
        (
            'memory."tabel+4".u8 = 1',
            ("memory", "tabel+4"),
            "a.S has no symbol 'tabel'; did you mean 'table'?",
        ),
        ("memory.a-b.u8 = 1", ("memory", "a-b"), "a.S has no symbol 'a-b'"),
        (
            'memory."table+x".u8 = 1',
            ("memory", "table+x"),
            "'table+x' is not a symbol, symbol+offset, or address",
        ),
        (
            'trap = { cause = 2, pc = "wrker" }',
            ("trap", "pc"),
            "a.S has no symbol 'wrker'; did you mean 'worker'?",
        ),
        ('trap = { cause = 2, tval = "x" }', ("trap", "tval"), "a.S has no symbol 'x'"),
        (
            'invariants = ["1 == 1", "counter == hart * N"]',
            ("invariants", 1),
            "no symbol or constant 'hart'; did you mean 'harts'?",
        ),
        (
            'invariants = ["table == 1"]',
            ("invariants", 0),
            "table is 16 bytes, so say how to read it: u8, u16, u32 or u64",
        ),
    ],
)
def test_names_are_looked_up_before_the_run(keys, key, message):
    assert unknown_names(vm(f"guest.defines.N = 1\nexpect.{keys}"), image()) == [(("expect", *key), message)]


def test_known_names_are_no_problem():
    keys = 'expect.symbols.counter = 1\nexpect.invariants = ["u8(table) == byte + harts + instret"]'
    assert unknown_names(vm(keys), image()) == []


@pytest.mark.parametrize(
    ("place", "address"),
    [("counter", BASE + 0x1000), ("counter+8", BASE + 0x1008), ("0x10", 16), ("0x10 + 0x2", 18)],
)
def test_places(place, address):
    assert resolve(place, image()) == address


def test_every_cause_of_failure_can_be_expected():
    for cause in ScFailure:
        assert the_check(f"expect.sc_failures.{cause.name.lower()} = 0", result(harts=())).ok


def event(invoked, responded, kind, value):
    return struct.pack("<QQIIQ", invoked, responded, kind, 0, value)


def linearizable(events, run=None, keys='type = "queue", history = "history"'):
    """The check of a history of two harts."""
    raw = b"".join(events)
    program = replace(image(), symbols=image().symbols | {"history": Symbol("history", BASE, len(raw))})
    given = vm(f"expect.linearizable = {{ {keys} }}")
    assert unknown_names(given, program) == []
    return judge(given, run or result(), program, lambda address, size: raw).checks[-1]


def test_histories():
    enqueue, dequeue, empty = event(1, 2, 1, 5), event(3, 4, 2, 5), event(3, 4, 3, 0)
    check = linearizable([enqueue, dequeue])
    assert (check.what, check.seen, check.ok) == ("linearizable.queue", "linearizable, 2 operations", True)
    check = linearizable([enqueue, empty])
    assert not check.ok
    assert check.seen == (
        "not linearizable, 2 operations: no order gets past hart 1's operation 0, dequeue (empty) 0x0 (from 3 to 4)"
    )
    check = linearizable(
        [event(1, 9, 1, n) for n in range(6)], keys='type = "queue", history = "history", most_states = 2'
    )
    assert (check.seen, check.ok) == ("undecided, 6 operations: gave up after 2 states", False)
    check = linearizable([enqueue, event(3, 4, 9, 0)])
    assert check.seen.startswith("history: hart 1's operation 0 is of kind 9; a queue has 1 (enqueue), ")


def test_a_run_that_did_not_end_leaves_no_whole_history():
    check = linearizable([event(1, 2, 1, 5)] * 2, result(ending=Ending.WATCHDOG, exit_code=None))
    assert (check.seen, check.ok) == ("undecided: the VM ended by watchdog, with operations under way", False)


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("histery", "a.S has no symbol 'histery'"),
        ("table", "table is 16 bytes, not events of 32 bytes, as many for each of 2 harts"),
    ],
)
def test_a_history_that_is_none_is_found_before_the_run(symbol, message):
    keys = f'expect.linearizable = {{ type = "stack", history = "{symbol}" }}'
    assert unknown_names(vm(keys), image()) == [(("expect", "linearizable", "history"), message)]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('type = "quue", history = "h"', "did you mean 'queue'"),
        ('type = "ring", history = "h"', "a ring needs capacity, how much it holds"),
        ('type = "stack", history = "h", capacity = 3', "capacity is for a ring; a stack holds any number"),
    ],
)
def test_a_wrong_linearizable_table(keys, message):
    with pytest.raises(ConfigError, match=message):
        vm(f"expect.linearizable = {{ {keys} }}")
