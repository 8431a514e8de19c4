"""The table of routes: what came of each, how far it is off, where first, and how large its file is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lockstep.harness.jobs.exports.export import CHUNKS
from lockstep.harness.output import messages, overview
from lockstep.harness.output.columns import Column, table_of
from lockstep.harness.output.console import say
from lockstep.harness.text import grouped, number

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import RunResult

_STYLES = {"agree": "green", "diverge": "bold red", "unsupported": "dim"}
ROUTES_TITLE = "Routes; errors in units of expected rounding (about 1 is healthy, above 10 is wrong)"


def show_routes(console: Console, runs: Sequence[RunResult], *, quiet: bool) -> None:
    """Print a table for each case, every refusal with its reason, and every divergence and failure in full."""
    if not quiet:
        say(console, f"{ROUTES_TITLE}:")
        for case, of_case in grouped(runs, lambda run: run.case).items():
            console.print(_table(case, of_case, console.width), crop=False)
    if not quiet or all(run.status == "unsupported" for run in runs):
        for text in overview.refusals(runs):
            say(console, text, "dim")
    for run in runs:
        if run.status not in {"agree", "unsupported"}:
            say(console, messages.text_of(run))
    for text in [] if quiet else messages.note_lines([run for run in runs if run.status == "agree"]):
        say(console, text, "dim")
    if all(run.status == "unsupported" for run in runs):
        say(console, "Nothing could be compared.", "red")
    if not quiet:
        say(console, overview.summary(runs))


def _table(case: str, runs: Sequence[RunResult], width: int):  # noqa: ANN202 (rich's)
    columns = [
        Column("verdict", tuple(Text(run.status, _STYLES.get(run.status, "bold magenta")) for run in runs)),
        Column("worst error", tuple(number(run.worst[1].sigma) if run.worst else "-" for run in runs)),
        Column("first wrong timestep", tuple(map(_first, runs))),
        Column("in chunks", tuple(map(_chunks, runs))),
        Column("file, kB", tuple(_size(run.size) for run in runs)),
    ]
    return table_of(case, [run.backend for run in runs], columns, width)


def _first(run: RunResult) -> str:
    first = run.first_divergence
    if first is None:
        return "-"
    return str(first.timestep) if run.tensors[first.tensor].timed else "no timesteps"


def _chunks(run: RunResult) -> str:
    verdicts = {tensor.verdict for name, tensor in run.tensors.items() if name.endswith(CHUNKS)}
    return "-" if not verdicts else "diverge" if "diverge" in verdicts else "agree"


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e3:.1f}"
