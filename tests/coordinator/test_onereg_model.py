"""Random sequences of ONE_REG accesses: the product and the independent model of `kvm_model` agree throughout."""

from __future__ import annotations

import errno

import pytest
from fake_machine import FakeMachine
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from kvm_model import ALL_ONES, NAMES, Model

from coordinator.host import HostModel
from coordinator.onereg import get_one_reg, register_list, set_one_reg
from coordinator.refusal import Refusal
from coordinator.registers import SBI_EXTENSIONS, Class, known
from coordinator.spec import VmSpec
from coordinator.vcpu import Vcpu

BLOCKS = (0, 16, 64)
IDS = sorted({r.encode() for vlenb in (16, 32) for r in known(vlenb)})
SWITCHES = [i for i in IDS if i >> 24 & 0xFF in (Class.ISA_EXT, Class.SBI_EXT)]


@st.composite
def numbers(draw: st.DrawFn) -> int:
    """Ids: mostly of registers that exist, some with one field changed, some anything."""
    number = draw(st.sampled_from(SWITCHES) | st.sampled_from(IDS))
    change = draw(st.sampled_from(["", "", "", "size", "subtype", "index", "class", "middle", "arch", "all"]))
    if change == "size":
        return number & ~(0xF << 52) | draw(st.integers(0, 15)) << 52
    if change == "subtype":
        return number & ~(0xFF << 16) | draw(st.integers(0, 5)) << 16
    if change == "index":
        return number & ~0xFFFF | draw(st.integers(0, 90))
    if change == "class":
        return number & ~(0xFF << 24) | draw(st.integers(0, 12)) << 24
    if change == "middle":
        return number | 1 << draw(st.integers(32, 51))
    if change == "arch":
        return number & ~(0xFF << 56) | draw(st.integers(0, 255)) << 56
    return draw(st.integers(0, ALL_ONES)) if change == "all" else number


VALUES = (
    st.sampled_from([0, 0, 1, 1, 2, 7, 16, 32, 64, 10_000_000, 1 << 32, ALL_ONES, ALL_ONES + 1])
    | st.integers(0, ALL_ONES)
    | st.integers(0, 1 << 130)
)


class Comparison(RuleBasedStateMachine):
    """Both sides get the same accesses."""

    @initialize(
        lacking=st.frozensets(st.sampled_from(NAMES), max_size=12),
        sbi=st.frozensets(st.sampled_from(SBI_EXTENSIONS)),
        blocks=st.tuples(*[st.sampled_from(BLOCKS)] * 3),
        ids=st.tuples(*[st.integers(0, 3)] * 3),
        vlenb=st.sampled_from([16, 32]),
        switches=st.tuples(*[st.booleans()] * 3),
    )
    def make(self, lacking, sbi, blocks, ids, vlenb, switches):
        extensions = frozenset(NAMES) - lacking
        # the model knows the last three of these by other names
        sbi_model = frozenset({"EXPERIMENTAL": "EXP"}.get(name, name) for name in sbi)
        host = HostModel(
            extensions=extensions,
            sbi_extensions=sbi,
            zicbom_block_size=blocks[0],
            zicboz_block_size=blocks[1],
            zicbop_block_size=blocks[2],
            mvendorid=ids[0],
            marchid=ids[1],
            mimpid=ids[2],
            satp_mode=8,
            vlenb=vlenb,
            hardware_ad_updates=switches[0],
            user_vector=switches[1],
            misaligned_delegation=switches[2],
        )
        self.machine = FakeMachine(VmSpec(name="m", harts=1, ram_bytes=4096, host=host, rules="kvm"), 1e9)
        self.vcpu = Vcpu(self.machine, 0)
        self.vcpu.reset()
        self.model = Model(
            extensions,
            sbi_model,
            dict(zip((1, 5, 7), blocks, strict=True)),
            dict(zip((2, 3, 4), ids, strict=True)),
            8,
            host.timer_frequency_hz,
            vlenb,
            *switches,
        )

    @rule(number=numbers())
    def get(self, number):
        assert self.outcome(number, None) == self.model.access(number, None)

    @rule(number=numbers(), value=VALUES)
    def set(self, number, value):
        assert self.outcome(number, value) == self.model.access(number, value)

    @rule()
    def run(self):
        self.machine.start()
        self.machine.pause()
        self.model.ran = True

    @rule()
    def compare_everything(self):
        listed = register_list(self.vcpu)
        found = [i for i in IDS if isinstance(self.model.access(i, None), int)]
        multi = {i for i in found if i >> 24 & 0xFF in (7, 8) and i >> 16 & 0xFF}
        assert set(listed) == set(found) - multi
        for number in found:
            assert get_one_reg(self.vcpu, number) == self.model.access(number, None)

    def outcome(self, number: int, value: int | None) -> int | str:
        try:
            if value is None:
                return get_one_reg(self.vcpu, number)
            set_one_reg(self.vcpu, number, value)
        except Refusal as refusal:
            return errno.errorcode[refusal.number]
        return 0


def test_random_sequences_agree_with_the_model():
    run_state_machine_as_test(Comparison, settings=settings(max_examples=60, stateful_step_count=40))


@pytest.mark.soak
def test_ten_thousand_sequences_agree_with_the_model():
    run_state_machine_as_test(Comparison, settings=settings(max_examples=10_000, stateful_step_count=50))
