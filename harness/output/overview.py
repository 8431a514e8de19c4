"""What is said of many results together: which belong together, how many of each kind there are, a word on each.

Pure functions: results in, groups and text out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lockstep.harness.text import number

if TYPE_CHECKING:  # tables are printed by commands that need no NumPy
    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.output.location import Places

MOST_NAMES = 4  # cases that are named where more were left out
MANY = 4  # columns beside which there is no room for the word "unsupported"; below the table it is said in full


def of_same_cases(runs: Sequence[RunResult]) -> list[list[str]]:
    """Group the names of backends by the cases that they ran: those of a group belong into one table."""
    groups: dict[tuple[str, ...], list[str]] = {}
    cases: dict[str, list[str]] = {}
    for run in runs:
        cases.setdefault(run.backend, []).append(run.case)
    for backend, own in cases.items():
        # An interrupted run leaves backends with fewer cases than others: they belong where their first case does.
        key = next((key for key in groups if set(own) & set(key)), tuple(own))
        groups.setdefault(key, []).append(backend)
    return list(groups.values())


def is_right(run: RunResult) -> bool:
    """Whether nothing is wrong with a run, or nothing that was not expected."""
    return run.status in {"agree", "unsupported"} or run.known is not None


def alike(runs: Iterable[RunResult], places: Places | None = None) -> list[list[RunResult]]:
    """Put together what is not right for one cause, at one place where places are given; first each backend's first.

    GitHub shows ten annotations: of a backend that fails thirty cases nine of its own must not hide the other backends.
    """
    groups: dict[tuple[object, ...], list[RunResult]] = {}
    for run in runs:
        if not is_right(run):
            cause = run.diagnosis[0].fault if run.diagnosis else run.message
            place = None if places is None else places.get(run.case)
            groups.setdefault((run.backend, run.status, cause, place), []).append(run)
    turn: dict[str, int] = {}
    order = []
    for same in groups.values():
        turn[same[0].backend] = turn.get(same[0].backend, 0) + 1
        order.append((turn[same[0].backend], same))
    return [same for _, same in sorted(order, key=lambda pair: pair[0])]


def summary(runs: Sequence[RunResult]) -> str:
    """Count results by status; what was expected apart."""
    counts: dict[str, int] = {}
    for run in runs:
        status = f"{run.status} as known" if run.known else run.status
        counts[status] = counts.get(status, 0) + 1
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{len(runs)} runs: {parts or 'nothing'}"


def cell_text(run: RunResult, *, short: bool = False) -> str:
    """Give what a table says of a run: its status, and its worst sigma; ``short`` where there is little room."""
    if not run.tensors:
        return "n/a" if short and run.status == "unsupported" else run.status
    worst = number(max(tensor.worst.sigma for tensor in run.tensors.values()))
    return worst if run.status == "agree" else f"{run.status} {worst}"


def refusals(runs: Sequence[RunResult]) -> list[str]:
    """Say once for each reason what is unsupported, by which backends, and in which cases."""
    cases: dict[tuple[str, str | None], list[str]] = {}
    for run in runs:
        if run.status == "unsupported":
            cases.setdefault((run.backend, run.message), []).append(run.case)
    by_reason: dict[tuple[str | None, str], list[str]] = {}
    for (backend, reason), names in cases.items():
        by_reason.setdefault((reason, ", ".join(names)), []).append(backend)
    return [f"{', '.join(who)}, unsupported: {reason} ({names})" for (reason, names), who in by_reason.items()]


def known_texts(runs: Sequence[RunResult]) -> list[str]:
    """Say once for each known finding which runs it is."""
    from lockstep.harness.jobs.findings import findings

    if all(run.known is None for run in runs):
        return []
    titles = {one.name: f"{one.title} ({one.kind})" for one in findings()}
    told: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        if run.known is not None:
            told.setdefault(run.known, {}).setdefault(run.backend, []).append(run.case)
    lines = []
    for name, by in told.items():
        where = "; ".join(f"{backend} in {_some(cases)}" for backend, cases in by.items())
        lines.append(f"Known: {titles.get(name, name)}: {where}. More: lockstep findings {name}")
    return lines


def _some(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
