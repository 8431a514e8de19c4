# ruff: noqa: T201 (a script)
"""How many held-out ports are explained: ``python tests/held_out_causes/score.py [--set N] [--form FORM] [--words]``.

Each is checked as ``lockstep check`` does, and what it is told is held against the words of a right answer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from held_out import HELD_OUT  # noqa: E402
from register import CASES, HeldOut  # noqa: E402

from lockstep.harness.comparison.results import Diagnosis  # noqa: E402
from lockstep.harness.jobs.check import check  # noqa: E402
from lockstep.harness.ports.port import LocalPort  # noqa: E402

# The search ends after some seconds: here those that it computes, so that a busy machine loses no causes.
time.perf_counter = time.process_time


def told_of(held: HeldOut) -> tuple[str, list[Diagnosis]]:
    """The verdict, and what was told.

    The verdict is "right", "other" (something else is proved), "half" (a mistake of two, or an alternative that is
    right), "unexplained" or "undetected".
    """
    with LocalPort(held.port, layout=held.layout) as port, np.errstate(all="ignore"):
        runs = check(port, CASES[held.cases])
    if all(run.status != "diverge" for run in runs):
        return "undetected", []
    first = [run.diagnosis[0] for run in runs if run.status == "diverge" and run.diagnosis]
    causes = {cause.fault: cause for run in runs for cause in run.diagnosis}
    proved = [cause for cause in first if cause.sigma is not None]
    if not proved:
        return "unexplained", list(causes.values())
    if all(held.told(cause) for cause in proved) and len(proved) == len(first):
        return "right", list(causes.values())
    if any(held.told(cause) for cause in causes.values()):
        return "half", list(causes.values())
    return "other", list(causes.values())


def main() -> int:
    """Print a line for each port, and the score by form."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", type=int, choices=range(1, 8), dest="part", help="this part of the set alone")
    parser.add_argument("--form", help="this form alone")
    parser.add_argument("--words", action="store_true", help="print what is wrong and what was told, to read it")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for held in HELD_OUT:
        if options.form not in {None, held.form} or options.part not in {None, held.part}:
            continue
        start = time.perf_counter()
        verdict, causes = told_of(held)
        counts[held.form].update([verdict, "planted"])
        faults = ", ".join(cause.fault for cause in causes[:3])
        print(f"{held.form:10} {held.name:32} {verdict:12} {time.perf_counter() - start:5.1f} s  {faults}", flush=True)
        if options.words:
            print(f"    wrong: {held.wrong}")
            for cause in causes[:2]:
                print(f"    told:  {cause.message} {'; '.join(cause.facts[:6])}")
    for form, of_form in counts.items():
        print(f"{form}: {of_form['right']} of {of_form['planted']} right", dict(of_form))
    return 0


if __name__ == "__main__":
    sys.exit(main())
