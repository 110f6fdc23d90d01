"""What a batch notes about the host it ran on and the versions of what it ran with. Measures nothing."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("hartstorm", "llvmlite", "pyzmq", "msgpack", "pyelftools", "pydantic", "ziglang", "distributed")


def host_facts() -> dict[str, object]:
    """Name, CPU, cores that may be used, memory, load and kernel of this host."""
    return {
        "node": platform.node(),
        "machine": platform.machine(),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "cores_present": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "time_zone": time.strftime("%z"),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run does; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _field(file: str, name: str) -> str:
    with suppress(OSError):
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
