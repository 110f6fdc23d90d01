"""RISC-V profiles by name, as the ISA strings that they stand for.

Owns which extensions each makes mandatory, for those of user mode: `riscv-profiles`, versions 1.0 of RVI20, RVA20,
RVA22, RVA23 and RVB23. Knows nothing of the supervisor profiles, which ask for address translation.
"""

from __future__ import annotations

_RVA20 = "rv64i2p1mafdc_zicsr_zicntr_ziccif_ziccrse_ziccamoa_zicclsm_za128rs"
_RVB22 = f"{_RVA20}_zihpm_zihintpause_zba_zbb_zbs_zic64b_zicbom_zicbop_zicboz_zkt_za64rs"
"""What RVA22 and RVB23 have in common."""
_OF_2023 = "b_zihintntl_zicond_zimop_zcmop_zcb_zfa_zawrs"

PROFILES = {
    "rvi20u64": "rv64i2p1",
    "rva20u64": _RVA20,
    "rva22u64": f"{_RVB22}_zfhmin",
    "rva23u64": f"{_RVB22}_zfhmin_{_OF_2023}_v_zvfhmin_zvbb_zvkt_supm",
    "rvb23u64": f"{_RVB22}_{_OF_2023}",
}
"""ISA strings by a profile's name in lower case, as compilers take it in -march."""
