"""Many results in few words: which belong together, how many there are of each kind, one word for each.

Pure functions: results in, groups and text out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from lockstep.harness.text import counted, grouped, names_text, number

if TYPE_CHECKING:  # tables are printed by commands that need no NumPy
    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.output.location import Places

TABLE_TITLE = "Largest error, in units of expected rounding (about 1 is healthy, above 10 is wrong)"
MOST_CASE_NAMES = 4  # in a list that counts the other cases
WIDE_TABLE = 4  # columns: from here on "unsupported" is too long for a cell; the text below the table has it in full


def of_same_cases(runs: Sequence[RunResult]) -> list[list[str]]:
    """Group the names of backends by the cases that they ran: those of a group belong into one table."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for backend, of_backend in grouped(runs, lambda run: run.backend).items():
        names = [run.case for run in of_backend]
        # An interrupted run leaves backends with fewer cases than others: they belong where their first case does.
        key = next((key for key in groups if set(names) & set(key)), tuple(names))
        groups.setdefault(key, []).append(backend)
    return list(groups.values())


def is_right(run: RunResult) -> bool:
    """Whether nothing is wrong with a run, or only what a known finding expects."""
    return run.status in {"agree", "unsupported"} or run.known is not None


def cause_of(run: RunResult) -> tuple[str, str | None]:
    """What makes runs wrong alike: the status, and the first diagnosis or else the message."""
    return run.status, run.diagnosis[0].fault if run.diagnosis else run.message


def alike(runs: Iterable[RunResult], places: Places | None = None) -> list[list[RunResult]]:
    """Group runs that are wrong for one cause, at one place if places are given; each backend's first comes first.

    At the place of a port all that ran it are one. GitHub shows ten annotations: of a backend that fails thirty cases
    nine of its own must not hide the other backends.
    """

    def why(run: RunResult) -> tuple[object, ...]:
        place = None if places is None else places(run)
        return "" if place is not None and place.of_port else run.backend, cause_of(run), place

    groups = grouped((run for run in runs if not is_right(run)), why).values()
    by_backend = grouped(groups, lambda same: same[0].backend).values()
    return [same for turn in zip_longest(*by_backend) for same in turn if same is not None]


def names_in(same: Sequence[RunResult]) -> list[str]:
    """The cases of runs that are alike, with the backend where it is not that of the first."""
    backend = same[0].backend
    return [run.case if run.backend == backend else f"{run.case} ({run.backend})" for run in same]


def summary(runs: Sequence[RunResult]) -> str:
    """The number of runs, in all and by status; known findings are counted apart."""
    counts = Counter(f"{run.status} as known" if run.known else run.status for run in runs)
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{counted(len(runs), 'run')}: {parts or 'nothing'}"


def cell_text(run: RunResult, *, short: bool = False) -> str:
    """A run in a cell of a table: its status and its worst sigma; ``short`` where there is little room."""
    if run.worst is None:
        return "n/a" if short and run.status == "unsupported" else run.status
    worst = number(run.worst[1].sigma)
    return worst if run.status == "agree" else f"{run.status} {worst}"


def refusals(runs: Sequence[RunResult]) -> list[str]:
    """A line for each reason why something is unsupported: by which backends, and in which cases."""
    unsupported = [run for run in runs if run.status == "unsupported"]
    alike = grouped(unsupported, lambda run: (run.backend, run.message)).values()
    by_reason = grouped(alike, lambda same: (same[0].message, ", ".join(run.case for run in same)))
    return [
        f"{', '.join(same[0].backend for same in groups)}, unsupported: {reason} ({names})"
        for (reason, names), groups in by_reason.items()
    ]


def cached_texts(runs: Sequence[RunResult]) -> list[str]:
    """A line that tells which runs came from the cache; none if none did."""
    cached = [run for run in runs if run.cached]
    if not cached:
        return []
    counts = Counter(run.backend for run in runs)
    which = [
        backend if len(of_backend) == counts[backend]
        else f"{backend} in {names_text([run.case for run in of_backend], MOST_CASE_NAMES)}"
        for backend, of_backend in grouped(cached, lambda run: run.backend).items()
    ]  # fmt: skip
    names = "" if len(cached) == len(runs) else f": {'; '.join(which)}"
    return [f"From the cache, not run now: {len(cached)} of {counted(len(runs), 'run')}{names}."]


def known_texts(runs: Sequence[RunResult]) -> list[str]:
    """A line for each known finding: in which runs it appears."""
    from lockstep.harness.jobs.findings import findings

    if all(run.known is None for run in runs):
        return []
    titles = {finding.name: f"{finding.title} ({finding.kind})" for finding in findings()}
    lines = []
    for name, of_finding in grouped((run for run in runs if run.known), lambda run: run.known or "").items():
        where = "; ".join(
            f"{backend} in {names_text([run.case for run in of_backend], MOST_CASE_NAMES)}"
            for backend, of_backend in grouped(of_finding, lambda run: run.backend).items()
        )
        lines.append(f"Known: {titles.get(name, name)}: {where}. More: lockstep findings {name}")
    return lines
