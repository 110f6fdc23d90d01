"""The simulated host: what a VM's hypervisor would find in the machine below it.

Owns the facts that decide which registers and extensions a VM can have. Holds no state of any VM.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hart.isa.extensions import REGISTRY, Switch, implemented, unmet

U64 = Annotated[int, Field(strict=True, ge=0, le=(1 << 64) - 1)]
BlockSize = Literal[0, 16, 32, 64, 128, 256]
Rules = Literal["simulator", "kvm"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", defer_build=True))
class HostModel:
    """What the simulated host offers; the defaults are what hartstorm itself can do.

    Attributes:
        extensions: what the host's harts have, by canonical name; None for all that hartstorm implements.
        sbi_extensions: SBI extensions that probe successfully, by their KVM name, e.g. `TIME`.
        mvendorid: CSR value; likewise `marchid` and `mimpid`.
        satp_mode: the translation mode, as in satp.MODE; 0 is Bare.
        zicbom_block_size: in bytes, 0 without; likewise `zicbop_block_size` and `zicboz_block_size`.
        timer_frequency_hz: of the time CSR and the CLINT.
        vlenb: vector register length in bytes.
        hardware_ad_updates: page-table A and D bits are written by hardware.
        user_vector: user space may use vectors.
        misaligned_delegation: misaligned accesses can be delegated to the guest.

    """

    extensions: frozenset[str] | None = None
    sbi_extensions: frozenset[str] = frozenset()
    mvendorid: U64 = 0
    marchid: U64 = 0
    mimpid: U64 = 0
    satp_mode: Annotated[int, Field(strict=True, ge=0, le=15)] = 0
    zicbom_block_size: BlockSize = 0
    zicbop_block_size: BlockSize = 0
    zicboz_block_size: BlockSize = 0
    timer_frequency_hz: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 10_000_000
    vlenb: Literal[16, 32, 64, 128, 256] = 16
    hardware_ad_updates: bool = False
    user_vector: bool = True
    misaligned_delegation: bool = False

    def offers(self, reservation_set_size_exp: int) -> frozenset[str]:
        """The host's extensions for a VM with this granule size."""
        return implemented(reservation_set_size_exp) if self.extensions is None else self.extensions

    def allows(self, rule: Switch) -> bool:
        """Whether KVM's switch rule holds on this host."""
        extensions = frozenset() if self.extensions is None else self.extensions
        return {
            Switch.ALWAYS: True,
            Switch.NEVER: False,
            Switch.IF_USER_VECTOR: self.user_vector,
            Switch.IF_HOST_SSAIA: "Ssaia" in extensions,
            Switch.IF_HOST_SMSTATEEN: "Smstateen" in extensions,
            Switch.IF_HARDWARE_AD: self.hardware_ad_updates,
        }[rule]


def not_simulated(host: HostModel, reservation_set_size_exp: int) -> list[str]:
    """Why hartstorm cannot be this host: each extension or feature it lacks, each broken rule; empty if it can."""
    offered = host.offers(reservation_set_size_exp)
    unknown = sorted(offered - REGISTRY.keys())
    if unknown:
        return [f"unknown extension {name!r}" for name in unknown]
    can = implemented(reservation_set_size_exp)
    missing = [f"hartstorm does not implement {name}" for name in sorted(offered - can)]
    missing += [f"hartstorm does not implement SBI extension {name}" for name in sorted(host.sbi_extensions)]
    missing += [
        f"{name} = {getattr(host, name)}: {why}; it must be 0"
        for name, why in _ZERO.items()
        if getattr(host, name)
    ]
    return missing + unmet(offered)


_ZERO = {
    "satp_mode": "harts do not translate addresses",
    "zicbom_block_size": "hartstorm does not implement Zicbom",
    "zicbop_block_size": "hartstorm does not implement Zicbop",
    "zicboz_block_size": "hartstorm does not implement Zicboz",
    "hardware_ad_updates": "harts do not translate addresses",
    "misaligned_delegation": "there is no SBI",
}
"""Facts about hosts that hartstorm cannot be: their ONE_REG rules are there, what they stand for is not."""
