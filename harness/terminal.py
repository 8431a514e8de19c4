"""What the terminal shows: progress, the table case x backend, and the text of what is not right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.messages import (
    adequacy_lines,
    anatomy_lines,
    blind_texts,
    check_text,
    failure_texts,
    first_diverging,
    number,
    printable,
    seen,
    text_of,
)

if TYPE_CHECKING:
    from harness.adequacy import Adequacy
    from harness.anatomy import Anatomy
    from harness.check import Checked
    from harness.findings import Finding
    from harness.results import RunResult

MOST_NAMES = 4  # cases that are named where more were left out
_STYLES = {"agree": "green", "diverge": "bold red", "unsupported": "dim"}


def plain(text: str) -> Text:
    """Give text as it is: no markup, no control characters."""
    return Text(printable(text))


@contextmanager
def progress(console: Console, total: int) -> Iterator[Progress]:
    """Show how many runs are done, while there is a terminal to show it on."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        bar.add_task("starting frameworks", total=total)
        yield bar


def advance(bar: Progress, run: RunResult) -> None:
    """Count one run done."""
    bar.update(bar.task_ids[0], advance=1, description=escape(f"{run.case} x {run.backend}"))


def results_table(runs: list[RunResult]) -> Table:
    """Give the table case x backend: status, and the worst sigma where there is one."""
    backends = list(dict.fromkeys(run.backend for run in runs))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("case", overflow="fold")
    for backend in backends:
        table.add_column(plain(backend), justify="right", overflow="fold")
    cells = {(run.case, run.backend): run for run in runs}
    for case in dict.fromkeys(run.case for run in runs):
        row = (cells.get((case, backend)) for backend in backends)
        table.add_row(plain(case), *(_cell(run, short=len(backends) >= MANY) for run in row))
    return table


COLUMNS = 8  # backends that fit beside each other


def side_by_side(runs: list[RunResult]) -> list[list[RunResult]]:
    """Part runs into tables: backends that ran the same cases, so many that they fit beside each other."""
    alike: dict[tuple[str, ...], list[str]] = {}
    cases: dict[str, list[str]] = {}
    for run in runs:
        cases.setdefault(run.backend, []).append(run.case)
    for backend, own in cases.items():
        # An interrupted run leaves backends with fewer cases than others: they belong where their first case does.
        key = next((key for key in alike if set(own) & set(key)), tuple(own))
        alike.setdefault(key, []).append(backend)
    groups = [
        names[k : k + COLUMNS] for names in alike.values() for k in range(0, len(names), COLUMNS)
    ]  # fmt: skip
    return [[run for run in runs if run.backend in names] for names in groups]


MANY = 4  # columns beside which there is no room for the word "unsupported"; below the table it is said in full


def show_results(console: Console, runs: list[RunResult]) -> None:
    """Print the table, then every refusal with its reason, every divergence and failure in full, and the sum."""
    console.print("Worst difference from the reference, in sigma of rounding:")
    for group in side_by_side(runs):
        console.print(results_table(group))
    for text in _refusals(runs):
        console.print(plain(text), style="dim", soft_wrap=True)
    for text in _known_texts(runs):
        console.print(plain(text), style="yellow", soft_wrap=True)
    for run in runs:
        if run.status not in {"agree", "unsupported"} and run.known is None:
            console.print(plain(text_of(run)), soft_wrap=True)
    if all(run.status == "unsupported" for run in runs):
        console.print("Nothing could be compared.", style="red")
    console.print(summary(runs))


def _refusals(runs: list[RunResult]) -> list[str]:
    """Say once for each reason what is unsupported, by which backends, and in which cases."""
    cases: dict[tuple[str, str | None], list[str]] = {}
    for run in runs:
        if run.status == "unsupported":
            cases.setdefault((run.backend, run.message), []).append(run.case)
    alike: dict[tuple[str | None, str], list[str]] = {}
    for (backend, reason), names in cases.items():
        alike.setdefault((reason, ", ".join(names)), []).append(backend)
    return [f"{', '.join(who)}, unsupported: {reason} ({names})" for (reason, names), who in alike.items()]


def _known_texts(runs: list[RunResult]) -> list[str]:
    """Say once for each known finding which runs it is."""
    from harness.findings import findings

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


def summary(runs: list[RunResult]) -> str:
    """Count results by status; what was expected apart."""
    counts: dict[str, int] = {}
    for run in runs:
        status = f"{run.status} as known" if run.known else run.status
        counts[status] = counts.get(status, 0) + 1
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{len(runs)} runs: {parts or 'nothing'}"


def _cell(run: RunResult | None, *, short: bool) -> Text:
    if run is None:
        return Text("-", style="dim")
    style = "yellow" if run.known else _STYLES.get(run.status, "bold magenta")
    if not run.tensors:
        return Text("n/a" if short and run.status == "unsupported" else run.status, style=style)
    worst = number(max(tensor.worst.sigma for tensor in run.tensors.values()))
    return Text(f"{worst}" if run.status == "agree" else f"{run.status} {worst}", style=style)


def show_check(console: Console, runs: list[RunResult], checked: Checked, *, named: bool) -> None:
    """Print what a check came to: each case, the first divergence in full, why, the fix, and what it could not see.

    ``named``: whether the cases were named; else what of the shipped ones was left out is said.
    """
    from harness.check import left_out

    console.print("Worst difference from the reference, in sigma of rounding:")
    console.print(results_table(runs))
    for text in _refusals(runs):
        console.print(plain(text), style="dim", soft_wrap=True)
    diverging = [run for run in runs if run.status == "diverge"]
    if diverging:
        first = first_diverging(diverging)
        console.print(plain(check_text(first, len(diverging), len(runs))), soft_wrap=True)
    for text in failure_texts(runs):
        console.print(plain(text), soft_wrap=True)
    notes = dict.fromkeys(note for run in runs for note in run.notes)
    for note in notes:
        console.print(plain(f"Note: {note}."), soft_wrap=True)
    if named:
        for text in blind_texts([run.case for run in runs], checked.blind):
            console.print(plain(text), soft_wrap=True)
    elif names := left_out([run.case for run in runs]):
        console.print(plain(_left_out_text(names)), soft_wrap=True)
    console.print(summary(runs))


def _left_out_text(names: list[str]) -> str:
    """Say which shipped cases a check without names does not run, and how to have them run."""
    some = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
    return (
        f"Not run: {len(names)} shipped cases that ask for more than one plain layer ({some}). "
        f"Name those that your port is made for: --case {names[0]}. All are listed by: lockstep cases"
    )


def show_anatomy(console: Console, found: Anatomy) -> None:
    """Print the table of conventions, what differs, and the proof."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in ("convention", "intended", "measured", "evidence"):
        table.add_column(column, overflow="fold", ratio=3 if column == "evidence" else 2)
    marks = {True: ("! ", "bold red"), False: ("", ""), None: ("? ", "yellow")}
    for row in found.conventions:
        mark, style = marks[row.differs]
        same = "as intended" if row.measured == row.intended else row.measured
        table.add_row(*(plain(cell) for cell in (mark + row.name, row.intended, same, row.evidence)), style=style)
    console.print(table)
    console.print(plain("\n".join(anatomy_lines(found))), soft_wrap=True)


def show_adequacy(console: Console, found: Adequacy, *, full: bool) -> None:
    """Print the matrix fault x case, and counts."""
    many = len(found.cases) > MOST_NUMBERS
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("fault", overflow="fold")
    for k, case in enumerate(found.cases):
        table.add_column(plain(str(k + 1) if many else case), justify="right", overflow="fold")
    for name, row in found.sigma.items():
        if full or not all(seen(value, found.limit) for value in row):
            table.add_row(plain(name), *(_adequacy_cell(value, found.limit, short=many) for value in row))
    console.print(f"Faults that change a case's numbers beyond {found.limit:g} sigma; a dot where they do not:")
    console.print(table)
    if many:
        console.print(plain("Cases: " + ", ".join(f"{k + 1} {case}" for k, case in enumerate(found.cases)) + "."))
    for line in adequacy_lines(found):
        console.print(plain(line), soft_wrap=True)


def show_findings(console: Console, found: Sequence[Finding], *, full: bool) -> None:
    """Print findings in full, or one line each."""
    from harness.findings import finding_text

    if full:
        for one in found:
            console.print(plain(finding_text(one)), soft_wrap=True)
        return
    for one in found:
        console.print(plain(f"{one.name} ({one.kind}; {one.framework} {', '.join(one.seen)})"), style="bold")
        console.print(plain(f"  {one.title}: {', '.join(one.backends)}"))
    console.print(f"{len(found)} findings. One in full: lockstep findings NAME", highlight=False)


MOST_NUMBERS = 5  # cases beside each other for which there is room to show by how much


def _adequacy_cell(value: float, limit: float, *, short: bool) -> Text:
    if not seen(value, limit):
        return Text("·", style="bold red")
    return Text("x" if short else number(value))
