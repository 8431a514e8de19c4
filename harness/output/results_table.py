"""Tables case x backend: cases down and backends across, or turned; no name is broken, in however many tables.

A name is what people search for and copy: it stands in one line, wider than the terminal if it must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from lockstep.harness.output import overview
from lockstep.harness.output.columns import Column, fitting, in_one_line, table_of

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import RunResult

MOST_BESIDE = 8  # columns beside each other: more are hard to follow, however wide the terminal is

_STYLES = {"agree": "green", "diverge": "bold red", "unsupported": "dim"}


def results_tables(runs: Sequence[RunResult], width: int) -> list[Table]:
    """The tables of runs: status, and the worst sigma where there is one; backends that ran the same cases together."""
    return [
        table
        for names in overview.of_same_cases(runs)
        for table in _tables([run for run in runs if run.backend in names], width)
    ]


def _tables(runs: Sequence[RunResult], width: int) -> list[Table]:
    """The tables of a group, in the direction in which they are fewer; cases go down where both are alike."""
    by_place = {(run.case, run.backend): run for run in runs}
    cases, backends = (list(dict.fromkeys(names)) for names in zip(*by_place, strict=True))
    down = _directed("case", cases, backends, lambda case, backend: by_place.get((case, backend)), width)
    if len(down) == 1:
        return down
    turned = _directed("backend", backends, cases, lambda backend, case: by_place.get((case, backend)), width)
    return min(down, turned, key=len)


def _directed(
    corner: str, rows: Sequence[str], across: Sequence[str], run_at: Callable[[str, str], RunResult | None], width: int
) -> list[Table]:
    short = len(across) >= overview.WIDE_TABLE
    columns = [
        Column(in_one_line(name), tuple(_cell(run_at(row, name), short=short) for row in rows)) for name in across
    ]
    longest = max(cell_len(in_one_line(name)) for name in (corner, *rows))
    groups = fitting(columns, width - longest, most=MOST_BESIDE)
    return [table_of(corner, rows, [columns[k] for k in group], width) for group in groups]


def _cell(run: RunResult | None, *, short: bool) -> Text:
    if run is None:
        return Text("-", style="dim")
    style = "yellow" if run.known else _STYLES.get(run.status, "bold magenta")
    return Text(overview.cell_text(run, short=short), style=style)
