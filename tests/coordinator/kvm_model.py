"""A second opinion on ONE_REG: the kernel's rules written straight down, sharing no code with the product.

Only the names of extensions by id come from the registry (whose ids are tested against the kernel's header).
Works on bare ids. Results are a value, 0, or the errno's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hart.isa.extensions import BY_KVM_ID

ALL_ONES = (1 << 64) - 1
NAMES = [BY_KVM_ID[i].name for i in range(80)]
MAY_DISABLE = {
    "D", "F", "H", "V", "Svpbmt", "Zicbom", "Zicboz", "Smstateen", "Smnpm", "Svadu", "Zclsd", "Zilsd", "Zicfilp",
    "Zicfiss",
}  # fmt: skip
SBI = [
    "V01",
    "TIME",
    "IPI",
    "RFENCE",
    "SRST",
    "HSM",
    "PMU",
    "EXP",
    "VENDOR",
    "DBCN",
    "STA",
    "SUSP",
    "FWFT",
    "MPXY",
]


@dataclass
class Model:
    host: frozenset[str]
    sbi_host: frozenset[str]
    blocks: dict[int, int]
    ids: dict[int, int]
    satp: int
    hz: int
    vlenb: int
    hardware_ad: bool
    user_vector: bool
    misaligned: bool
    ran: bool = False
    isa: set[str] = field(default_factory=set)
    sbi: set[str] = field(default_factory=set)
    regs: dict[tuple[int, int], int] = field(default_factory=dict)
    armed: bool = False

    def __post_init__(self) -> None:
        for name in NAMES:
            if self.available(name) and self.may_enable(name):
                self.isa.add(name)
        self.sbi = set(self.sbi_host) - {"DBCN", "SUSP", "MPXY"}

    def available(self, name: str) -> bool:
        return ("Ssnpm" if name == "Smnpm" else name) in self.host

    def may_enable(self, name: str) -> bool:
        if name == "H":
            return False
        if name == "V":
            return self.user_vector
        if name == "Sscofpmf":
            return "Ssaia" in self.host
        return self.hardware_ad if name == "Svadu" else True

    def may_disable(self, name: str) -> bool:
        if name == "Ssaia":
            return "Smstateen" in self.host
        return self.hardware_ad if name == "Svade" else name in MAY_DISABLE

    def access(self, number: int, value: int | None) -> int | str:
        """GET where value is None, else SET."""
        kind = number >> 24 & 0xFF
        size = 1 << (number >> 52 & 15)
        rest = number & 0x000F_FFFF_00FF_FFFF
        fault = value is not None and value >= 1 << 8 * size
        subtype, low = rest >> 16 & 0xFF, rest & ~0xFF0000
        if kind == 1:
            return self.config(rest, size, value, fault)
        if kind == 2:
            if size != 8:
                return "EINVAL"
            if rest > 32:
                return "ENOENT"
            if fault:
                return "EFAULT"
            if value is not None and rest == 32:
                value = int(value == 1)
            return self.register(kind, rest, value, default=int(rest == 32))
        if kind == 3:
            return self.csr(subtype, low, size, value, fault)
        if kind == 4:
            return self.timer(rest, size, value, fault)
        if kind in (5, 6):
            return self.fp(kind, rest, size, value, fault)
        if kind == 7:
            return self.isa_ext(subtype, low, size, value, fault)
        if kind == 8:
            return self.sbi_ext(subtype, low, size, value, fault)
        if kind == 9:
            return self.vector(rest, size, value, fault)
        if kind == 10:
            return self.sbi_state(subtype, low, size, value, fault)
        return "ENOENT"

    def register(self, kind: int, at: int, value: int | None, default: int = 0) -> int:
        if value is None:
            return self.regs.get((kind, at), default)
        self.regs[kind, at] = value
        return 0

    def config(self, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if size != 8:
            return "EINVAL"
        if fault:
            return "EFAULT"
        if at > 7:
            return "ENOENT"
        if at == 0:
            now = sum(1 << ord(n) - 65 for n in self.isa if len(n) == 1)
            if value is None:
                return now
            if value & 0xFE00_0000:
                return "EINVAL"
            if value == now:
                return 0
            if self.ran:
                return "EBUSY"
            for name in [n for n in NAMES if len(n) == 1 and n in self.host]:
                wanted = bool(value >> (ord(name) - 65) & 1)
                wanted = (wanted and self.may_enable(name)) or not self.may_disable(name)
                (self.isa.add if wanted else self.isa.discard)(name)
            return 0
        if at in (1, 5, 7):
            if value is None:
                return self.blocks[at]
            return 0 if value in (0, self.blocks[at]) else "EINVAL"
        if at == 6:
            if value is None:
                return self.satp
            return 0 if value == self.satp else "EINVAL"
        if value is None:
            return self.ids[at]
        if value == self.ids[at]:
            return 0
        if self.ran:
            return "EBUSY"
        self.ids[at] = value
        return 0

    def csr(self, subtype: int, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if size != 8:
            return "EINVAL"
        if fault:
            return "EFAULT"
        if subtype > 3:
            return "ENOENT"
        needs, count = [("", 11), ("Ssaia", 7), ("Smstateen", 1), ("Zicfiss", 1)][subtype]
        if (needs and needs not in self.isa) or at >= count:
            return "ENOENT"
        if value is not None and (subtype, at) == (0, 7):
            value &= 0x222
        return self.register(3, subtype << 16 | at, value)

    def timer(self, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if size != 8:
            return "EINVAL"
        if at > 3:
            return "ENOENT"
        if fault:
            return "EFAULT"
        if at == 0:
            if value is None:
                return self.hz
            return 0 if value == self.hz else "EINVAL"
        if at == 3:
            if value is None:
                return int(self.armed)
            if value != 1 and not self.armed:
                return "EINVAL"
            self.armed = value == 1
            if self.armed:
                self.regs[4, 2] = 1  # the value written is the deadline
            return 0
        # the test's clock stands still, so the time register is like any other
        return self.register(4, at, value, default=100 * self.hz if at == 1 else ALL_ONES)

    def fp(self, kind: int, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if kind == 5:
            if "F" not in self.isa:
                return "ENOENT"
            if size != 4:
                return "EINVAL"
            if at > 32:
                return "ENOENT"
        else:
            if "D" not in self.isa or at > 32:
                return "ENOENT"
            if size != (4 if at == 32 else 8):
                return "EINVAL"
        return "EFAULT" if fault else self.register(kind, at, value)

    def vector(self, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if "V" not in self.isa or at > 37:
            return "ENOENT"
        if size != (8 if at <= 5 else self.vlenb):
            return "EINVAL"
        if at == 5:
            return "ENOENT"
        if fault:
            return "EFAULT"
        if at == 4:
            if value is None:
                return self.vlenb
            return 0 if value == self.vlenb else "EINVAL"
        return self.register(9, at, value)

    def set_isa(self, at: int, value: int) -> int | str:
        if at >= 80 or not self.available(NAMES[at]):
            return "ENOENT"
        name = NAMES[at]
        if value == int(name in self.isa):
            return 0
        if self.ran:
            return "EBUSY"
        if value == 1 and self.may_enable(name):
            self.isa.add(name)
            return 0
        if value == 0 and self.may_disable(name):
            self.isa.discard(name)
            return 0
        return "EINVAL"

    def isa_ext(self, subtype: int, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if size != 8:
            return "EINVAL"
        if fault:
            return "EFAULT"
        if subtype == 0:
            if value is not None:
                return self.set_isa(at, value)
            return int(NAMES[at] in self.isa) if at < 80 and self.available(NAMES[at]) else "ENOENT"
        if subtype > 2 or at > 1:
            return "ENOENT"
        if value is None:
            bits = sum(1 << i % 64 for i, n in enumerate(NAMES) if n in self.isa and i // 64 == at)
            return bits if subtype == 1 else bits ^ ALL_ONES
        for bit in range(64):
            if value >> bit & 1:
                self.set_isa(64 * at + bit, int(subtype == 1))
        return 0

    def set_sbi(self, at: int, value: int) -> int | str:
        if value > 1:
            return "EINVAL"
        if at >= 14 or SBI[at] not in self.sbi_host:
            return "ENOENT"
        if value:
            self.sbi.add(SBI[at])
            return 0
        self.sbi.discard(SBI[at])
        dead = {"STA": 0, "FWFT": 1}.get(SBI[at])
        self.regs = {k: v for k, v in self.regs.items() if dead is None or k[0] != 10 or k[1] >> 16 != dead}
        return 0

    def sbi_ext(self, subtype: int, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if size != 8:
            return "EINVAL"
        if value is not None and self.ran:
            return "EBUSY"
        if fault:
            return "EFAULT"
        if subtype == 0:
            if value is not None:
                return self.set_sbi(at, value)
            return int(SBI[at] in self.sbi) if at < 14 and SBI[at] in self.sbi_host else "ENOENT"
        if subtype > 2 or at > 0:
            return "ENOENT"
        if value is None:
            bits = sum(1 << i for i, n in enumerate(SBI) if n in self.sbi)
            return bits if subtype == 1 else bits ^ ALL_ONES
        for bit in range(64):
            if value >> bit & 1:
                self.set_sbi(bit, int(subtype == 1))
        return 0

    def sbi_state(self, subtype: int, at: int, size: int, value: int | None, fault: bool) -> int | str:
        if size not in (1, 2, 4, 8):
            return "EINVAL"
        if fault:
            return "EFAULT"
        if subtype > 1 or ("STA", "FWFT")[subtype] not in self.sbi or size != 8:
            return "EINVAL"
        if subtype == 0:
            if at > 1:
                return "ENOENT"
            if at == 1 and value:
                return "EINVAL"
            return self.register(10, at, value, default=0 if at else ALL_ONES)
        supported = [
            self.misaligned,
            "Smnpm" in self.isa,
            {"Svade", "Svadu"} <= self.isa,
            "Zicfilp" in self.isa,
            "Zicfiss" in self.isa,
        ]
        if at > 14 or not supported[at // 3]:
            return "ENOENT"
        part = at % 3
        if value is not None and part == 1:
            value &= 1
        elif value is not None and value not in ((0, 7, 16) if at == 5 else (0, 1)):
            return "EINVAL"
        return self.register(10, 1 << 16 | at, value, default=int(part == 0))
