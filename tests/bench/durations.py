"""Measure how long each backend takes to start and to run the shipped cases, for ``lockstep run`` to tell beforehand.

``python tests/bench/durations.py [NAME ...]``, where the frameworks are; what is not installed keeps its
row. Processor time is measured, ours and the worker's: other programs of the machine do not count.
"""

from __future__ import annotations

import os
import resource
import sys
import time

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.durations import DURATIONS, Duration, measured
from lockstep.harness.jobs.run import run_cases


def duration_of_cases(cases: list[Case], backend: BackendInfo) -> float:
    """Seconds of processor time that running cases takes, in this process and in the worker, which ends with them."""
    before = _used()
    run_cases(cases, [backend], timeout=600)
    return _used() - before


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(backend: BackendInfo) -> Duration:
    """Run one case, then all: what the first takes beyond a usual one is the start."""
    cases = [found.case for found in find_cases() if found.case.model == backend.model]
    first, together = (duration_of_cases(some, backend) for some in (cases[:1], cases))
    run = (together - first) / (len(cases) - 1)
    return Duration(max(first - run, 0.0), run)


def main(names: list[str]) -> None:
    """Measure what is installed of the backends named, or of all, and write the table after each."""
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # as at somebody's first run
    table = dict(measured()) if DURATIONS.exists() else {}
    for backend in find_backends(names or None):
        if backend.missing():
            continue
        table[backend.name] = measure(backend)
        rows = [f"{name},{start:.2g},{run:.2g}" for name, (start, run) in sorted(table.items())]
        DURATIONS.write_text("\n".join(["backend,start,run", *rows, ""]), encoding="utf-8")
        print(rows[sorted(table).index(backend.name)], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
