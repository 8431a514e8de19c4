"""How long runs take, from times that were measured once: of a whole request, and of each run for the time left."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

from lockstep.harness.adapters.backend import BackendInfo, by_worker, pairs
from lockstep.harness.cases.case import Case
from lockstep.harness.text import counted

# Of each backend that was measured; tests/bench/durations.py writes it from the results of a run.
DURATIONS = Path(__file__).with_name("durations.csv")
MINUTE, ROUND_TO = 60, 5  # seconds


class Duration(NamedTuple):
    """Seconds that a backend takes."""

    start: float  # to begin its process and import its framework; of those that share one, the first to run takes it
    run: float  # for one shipped case, in the mean: building, running twice, and what judging it costs us


@cache
def measured() -> dict[str, Duration]:
    """What was measured, by backend."""
    with DURATIONS.open(newline="", encoding="utf-8") as file:
        return {row["backend"]: Duration(float(row["start"]), float(row["run"])) for row in csv.DictReader(file)}


def duration_of(backend: BackendInfo) -> Duration:
    """What a backend takes; one that was not measured, about what others do."""
    table = measured()
    return table.get(backend.name) or Duration(*map(median, zip(*table.values(), strict=True)))


def weights(cases: Sequence[Case], backends: Sequence[BackendInfo]) -> dict[str, float]:
    """Seconds that each run of a backend takes, by its name; the start of its process is shared out among its runs."""
    by_backend: dict[str, float] = {}
    for group in by_worker(backends):
        start = max(duration_of(backend).start for backend in group) / max(1, len(pairs(cases, group)))
        by_backend |= {backend.name: duration_of(backend).run + start for backend in group}
    return by_backend


def seconds_of(cases: Sequence[Case], backends: Sequence[BackendInfo], jobs: int) -> float:
    """About how long a request takes, with so many frameworks at once as far as there are processors."""
    by_backend = weights(cases, backends)
    groups = [sum(by_backend[way.name] for _, way in pairs(cases, group)) for group in by_worker(backends)]
    # No framework is shared out: the longest may be waited for alone.
    return max([sum(groups) / max(1, min(jobs, os.cpu_count() or 1)), *groups])


def duration_text(seconds: float) -> str:
    """A duration as it is told beforehand, no more exact than it is known: 25 s, 8 min."""
    if seconds < MINUTE:
        return f"{max(1, round(seconds / ROUND_TO)) * ROUND_TO} s"
    return f"{round(seconds / MINUTE)} min"


def request_text(cases: Sequence[Case], backends: Sequence[BackendInfo], jobs: int) -> str:
    """How many runs a request is, and about how long they take."""
    runs = len(pairs(cases, backends))
    return (
        f"{counted(runs, 'run')}: {counted(len(cases), 'case')} through {counted(len(backends), 'backend')}, "
        f"about {duration_text(seconds_of(cases, backends, jobs))}."
    )
