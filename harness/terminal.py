"""What the terminal shows: progress, the table case x backend, and the text of what is not right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.features import Support
from harness.messages import number, text_of
from harness.results import RunResult

_STYLES = {"agree": "green", "diverge": "bold red", "unsupported": "dim"}

# Control characters of a backend's output or a case's name must not steer the terminal.
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def plain(text: str) -> Text:
    """Give text as it is: no markup, no control characters."""
    return Text(text.translate(_CONTROLS))


@contextmanager
def progress(console: Console, total: int) -> Iterator[Progress]:
    """Show how many runs are done, while there is a terminal to show it on."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task("starting frameworks", total=total)
        yield bar


def advance(bar: Progress, run: RunResult) -> None:
    """Count one run done."""
    bar.update(bar.task_ids[0], advance=1, description=escape(f"{run.case} x {run.backend}"))


def results_table(runs: list[RunResult]) -> Table:
    """Give the table case x backend: status, and the worst sigma where there is one."""
    backends = list(dict.fromkeys(run.backend for run in runs))
    table = Table(title="Worst sigma of each backend against the reference", title_justify="left")
    table.add_column("case")
    for backend in backends:
        table.add_column(plain(backend), justify="right")
    cells = {(run.case, run.backend): run for run in runs}
    for case in dict.fromkeys(run.case for run in runs):
        table.add_row(plain(case), *(_cell(cells.get((case, backend))) for backend in backends))
    return table


def show_results(console: Console, runs: list[RunResult]) -> None:
    """Print the table, then every divergence and failure in full, every refusal with its reason, and the sum."""
    console.print(results_table(runs))
    for run in runs:
        if run.status != "agree":
            console.print(plain(text_of(run)), style="dim" if run.status == "unsupported" else None, soft_wrap=True)
    console.print(summary(runs))


def summary(runs: list[RunResult]) -> str:
    """Count results by status."""
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{len(runs)} runs: {parts or 'nothing'}"


def _cell(run: RunResult | None) -> Text:
    if run is None:
        return Text("-", style="dim")
    style = _STYLES.get(run.status, "bold magenta")
    if not run.tensors:
        return Text(run.status, style=style)
    worst = number(max(tensor.worst.sigma for tensor in run.tensors.values()))
    return Text(f"{worst}" if run.status == "agree" else f"{run.status} {worst}", style=style)


def support_table(supports: list[Support]) -> Table:
    """Give the table backend x feature, with versions, and with the reasons below it."""
    table = Table()
    features = list(dict.fromkeys(feature for support in supports for feature in support.reasons))
    for column in ("backend", "versions", *features):
        table.add_column(column)
    notes: list[str] = []
    for support in supports:
        versions = ", ".join(f"{name} {version}" for name, version in support.versions.items())
        cells = []
        for feature in features:
            reason = support.reasons.get(feature, support.problem)
            cells.append(Text("yes", style="green") if reason is None else Text("no", style="dim"))
        notes += [f"{support.backend.name}, {f}: {reason}" for f, reason in support.reasons.items() if reason]
        table.add_row(plain(support.backend.name), plain(support.problem or versions), *cells)
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table
