"""What the terminal shows: the table case x backend, and the text of each run that is not right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lockstep.harness.output import messages, overview
from lockstep.harness.output.columns import GAP, Column, bare_table, fitting, table_of
from lockstep.harness.output.console import plain, say, wrapped
from lockstep.harness.output.overview import MOST_CASE_NAMES, TABLE_TITLE
from lockstep.harness.output.results_table import results_tables
from lockstep.harness.text import counted, grouped, names_text, number, printable

if TYPE_CHECKING:
    from lockstep.harness.cases.case import Case
    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.diagnosis.adequacy import Adequacy
    from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy
    from lockstep.harness.diagnosis.anatomy.lanes import LaneAnatomy, NetworkAnatomy
    from lockstep.harness.diagnosis.anatomy.table import Convention
    from lockstep.harness.jobs.dumps.against import Both
    from lockstep.harness.jobs.dumps.explain_dump import Explained
    from lockstep.harness.jobs.findings import Finding
    from lockstep.harness.ports.objects.taken import Taken


def show_results(console: Console, runs: list[RunResult], *, quiet: bool = False) -> None:
    """Print the table, every refusal with its reason, every divergence and failure in full, and the counts.

    ``quiet``: print only what is not right, and nothing if all runs are.
    """
    show_tables(console, runs, quiet=quiet)
    for text in [] if quiet else overview.known_texts(runs):
        say(console, text, "yellow")
    for text in [] if quiet else overview.cached_texts(runs):
        say(console, text, "dim")
    for run in runs:
        if run.status not in {"agree", "unsupported"} and run.known is None:
            say(console, messages.text_of(run))
    if all(run.status == "unsupported" for run in runs):
        console.print("Nothing could be compared.", style="red")
    if not quiet:
        console.print(overview.summary(runs))


def show_tables(console: Console, runs: list[RunResult], *, quiet: bool) -> None:
    """Print tables case x backend, and why what is unsupported is; quietly only that, where there is nothing else."""
    if not quiet:
        console.print(f"{TABLE_TITLE}:", soft_wrap=True)
        for table in results_tables(runs, console.width):
            console.print(table, crop=False)
    if not quiet or all(run.status == "unsupported" for run in runs):
        for text in overview.refusals(runs):
            say(console, text, "dim")


def show_check(
    console: Console, runs: list[RunResult], strength: Callable[[], Adequacy | None] | None = None,
    taken: Taken | None = None, *,
    named: bool, quiet: bool = False,
) -> None:  # fmt: skip
    """Print what a check came to: each case, the first divergence in full, and what the cases could not detect.

    ``strength``: what the cases detect that agree, told where the user named them: it is computed once all else is
    printed, which takes longer than most checks. ``taken``: what an object was taken for, which is printed first.
    ``named``: whether the user named cases; who did not learns which shipped ones were left out. ``quiet``: print
    only what is not right, and nothing if all is.
    """
    from lockstep.harness.jobs.check import left_out

    if taken is not None and not quiet:
        _show_taken(console, taken)
    show_tables(console, runs, quiet=quiet)
    for text in messages.check_texts(runs):
        say(console, text)
    if quiet:
        return
    for text in messages.note_lines(runs):
        say(console, text)
    if not named and (names := left_out([run.case for run in runs])):
        say(console, _left_out_text(names))
    console.print(overview.summary(runs))
    adequacy = strength() if named and strength is not None else None
    if adequacy is not None and adequacy.unseen:
        say(console, messages.blind_text(adequacy))


def _left_out_text(names: list[str]) -> str:
    """Which shipped cases a check without names does not run, and how to run them."""
    return (
        f"Not run: {counted(len(names), 'shipped case')} of other forms, or with settings that arguments do not tell "
        f"({names_text(names, MOST_CASE_NAMES)}). "
        f"If your port supports one, name it: --case {names[0]}. List all cases: lockstep cases"
    )


def show_dumps(
    console: Console, sides: Sequence[Explained], runs: list[RunResult], both: Both | None, *, quiet: bool
) -> None:
    """Print what was read, the table, each file's first divergence in full, and how two files part.

    ``quiet``: print only what is wrong, and nothing if all is right.
    """
    if not quiet:
        for side in sides:
            say(console, "\n".join(side.lines))
    show_tables(console, runs, quiet=quiet)
    for of_file in grouped(runs, lambda run: run.backend).values():
        for text in messages.check_texts(of_file):
            say(console, text)
    if both is not None and (not quiet or any(not overview.is_right(run) for run in runs)):
        for parting in both.partings:
            say(console, messages.parting_text(parting, both))
        say(console, both.verdict)
    if not quiet:
        for text in messages.note_lines(runs):
            say(console, text)
        console.print(overview.summary(runs))


def show_anatomy(console: Console, anatomy: Anatomy | NetworkAnatomy) -> None:
    """Print the table of conventions, of a network that of each lane, what differs, and the proof."""
    from lockstep.harness.diagnosis.anatomy.lanes import NetworkAnatomy

    if not isinstance(anatomy, NetworkAnatomy):
        _show_conventions(console, anatomy.conventions)
        say(console, "\n".join(messages.anatomy_lines(anatomy)))
        return
    say(console, f"{anatomy.subject} is measured as a network: {anatomy.form}.")
    shown: list[LaneAnatomy] = []
    for lane in anatomy.lanes:
        alike = next((before for before in shown if messages.same_conventions(before, lane)), None)
        say(console, messages.lane_line(lane, alike))
        if lane.anatomy is not None and alike is None:
            _show_conventions(console, lane.anatomy.conventions)
            shown.append(lane)
    say(console, "\n".join(messages.network_lines(anatomy)))


def _show_conventions(console: Console, conventions: Sequence[Convention]) -> None:
    table = bare_table()
    for column in ("convention", "intended", "measured", "evidence"):
        table.add_column(column, overflow="fold", ratio=3 if column == "evidence" else 2)
    marks = {True: ("! ", "bold red"), False: ("", ""), None: ("? ", "yellow")}
    for row in conventions:
        mark, style = marks[row.differs]
        same = "as intended" if row.measured == row.intended else row.measured
        table.add_row(*(plain(cell) for cell in (mark + row.name, row.intended, same, row.evidence)), style=style)
    console.print(table)


def _show_taken(console: Console, taken: Taken) -> None:
    """Print what an object was taken for: a table of its arrays, how it is called, what else is to be known."""
    table = bare_table()
    for column in ("parameter", "shape", "taken for", "gates", "known by"):
        table.add_column(column, overflow="fold")
    for array in taken.arrays:
        acts = f"\nacts as {', '.join(array.behaves_as)}" if array.behaves_as else ""
        mark, style = ("! ", "bold red") if acts else ("", "")
        cells = (mark + array.parameter, str(tuple(array.shape)), array.taken_for, ", ".join(array.gates) + acts)
        table.add_row(*(plain(cell) for cell in (*cells, array.known_by)), style=style)
    console.print(table)
    say(console, f"{taken.name} is called with {taken.called}.")
    for note in taken.notes:
        say(console, f"Note: {note}.")


def show_adequacy(console: Console, adequacy: Adequacy, *, full: bool) -> None:
    """Print the matrix fault x case, and the counts."""
    from lockstep.harness.diagnosis.adequacy import detected

    many, limit = len(adequacy.cases) > MOST_NUMBERS, adequacy.limit

    def cell(sigma: float) -> Text:
        return Text("x" if many else number(sigma)) if detected(sigma, limit) else Text(NOT_DETECTED, "bold red")

    rows = {name: row for name, row in adequacy.sigma.items() if full or not all(detected(s, limit) for s in row)}
    columns = [
        Column(str(k + 1) if many else printable(case), tuple(cell(row[k]) for row in rows.values()))
        for k, case in enumerate(adequacy.cases)
    ]
    console.print(f"Faults that change a case's numbers by more than {limit:g} sigma; a dot: not detected:")
    gap = 1 if many else GAP
    longest = max(map(cell_len, ["fault", *rows]))
    for part in fitting(columns, console.width - min(longest, NARROW_FAULTS), gap=gap):
        table = table_of("fault", rows, [columns[k] for k in part], console.width, gap, narrow_first=NARROW_FAULTS)
        console.print(table, crop=False)
    if many:
        console.print(plain("Cases: " + ", ".join(f"{k + 1} {case}" for k, case in enumerate(adequacy.cases)) + "."))
    say(console, "\n".join(messages.adequacy_lines(adequacy)))


def show_findings(console: Console, findings: Sequence[Finding], *, full: bool) -> None:
    """Print findings in full, or one line each."""
    from lockstep.harness.jobs.findings import finding_text

    if full:
        for finding in findings:
            say(console, finding_text(finding))
        return
    for finding in findings:
        versions = f"{finding.framework} {', '.join(finding.seen)}"
        say(console, "\n".join(wrapped(f"{finding.name} ({finding.kind}; {versions})", console.width)), "bold")
        say(console, "\n".join(wrapped(f"{finding.title}: {', '.join(finding.backends)}", console.width, 2)))
    console.print(f"{counted(len(findings), 'finding')}. Details of one: lockstep findings NAME", highlight=False)


def show_cases(console: Console, cases: Sequence[Case]) -> None:
    """Print the sizes of cases, and what each tries to break."""
    table = bare_table()
    for column in ("case", "T", "B", "I", "H", "what it tries to break"):
        table.add_column(column, justify="right" if len(column) == 1 else "left", overflow="fold")
    for case in cases:
        table.add_row(plain(case.name), *(str(size) for size in case.shape), plain(case.description))
    console.print(table)


NOT_DETECTED = "·"
NARROW_FAULTS = 21  # columns for the names of faults, where numbers leave no room for more
MOST_NUMBERS = 5  # cases beside each other for which there is room to show by how much
