"""Measures the litmus parser and the model against a corpus of tests and reference states; not a test itself.

    python tests/measure_litmus_corpus.py CORPUS_FOLDER REFERENCE.jsonl [TESTS_BETWEEN]

A line of the reference is one test: `path` below the corpus folder, `hash`, `observation` and `states` (null where the
reference tool refuses the test), each state its items without brackets, sorted, joined by `; `.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from coordinator.check.enumerator import Timeout, enumerate_states
from coordinator.check.models import RVWMO
from coordinator.litmus.hash import hash_of
from coordinator.litmus.log import normal_state, state_text
from coordinator.litmus.parser import parse_file
from coordinator.litmus.text import LitmusError

LIMIT_S = 60.0


def main() -> None:
    """Print every difference, then a summary."""
    corpus, reference = Path(sys.argv[1]), Path(sys.argv[2])
    step = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    counts = dict.fromkeys(("read", "refused", "hash", "finished", "too long", "compared", "equal"), 0)
    seconds: list[float] = []
    for line in reference.read_text().splitlines()[::step]:
        entry = json.loads(line)
        began = time.process_time()
        try:
            test = parse_file(corpus / entry["path"])
            counts["read"] += 1
            counts["hash"] += entry["states"] is not None and hash_of(test) == entry["hash"]
            outcome = enumerate_states(test, RVWMO, limit_s=LIMIT_S)
        except LitmusError as error:
            counts["refused"] += 1
            print(f"refused: {error}")
            continue
        except Timeout:
            counts["too long"] += 1
            print(f"too long: {entry['path']}")
            continue
        seconds.append(time.process_time() - began)
        counts["finished"] += 1
        if entry["states"] is None:
            continue
        counts["compared"] += 1
        ours = {normal_state(state_text(outcome.shown, s)) for s in outcome.states}
        theirs = {normal_state(s) for s in entry["states"]}
        if ours == theirs and outcome.tally.observation == entry["observation"]:
            counts["equal"] += 1
        else:
            only = f"only ours {sorted(ours - theirs)[:2]}, only theirs {sorted(theirs - ours)[:2]}"
            print(f"differs: {entry['path']}: {only}")
    seconds.sort()
    print(", ".join(f"{name} {n}" for name, n in counts.items()))
    at = [f"{label} {1e3 * seconds[int(q * (len(seconds) - 1))]:.2f}" for label, q in QUANTILES]
    print(f"processor time per test in ms: {', '.join(at)}; in all {sum(seconds):.1f} s")


QUANTILES = (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))

if __name__ == "__main__":
    main()
