"""Results as a notebook shows them: a fragment of HTML without scripts, in whatever colors the notebook has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.output.messages import text_of
from lockstep.harness.output.overview import (
    TABLE_TITLE,
    alike,
    cached_texts,
    cell_text,
    is_right,
    known_texts,
    of_same_cases,
    refusals,
    summary,
)
from lockstep.harness.text import counted
from lockstep.reports.page_files import pages

MOST_ROWS = 60  # of a table, and
MOST_TEXTS = 20  # texts: a notebook keeps what it shows, and the page of --html shows all
MOST_TEXT, MOST_NAME = 20_000, 120  # characters


def render(results: Results) -> str:
    """Results as a fragment of HTML."""
    runs = results.runs
    wrong = alike(runs)
    texts = [(_title(same), text_of(same[0])) for same in wrong[:MOST_TEXTS]]
    others = {
        "Known findings, as expected": known_texts(runs),
        "Unsupported, and why": refusals(runs),
        "From the cache": cached_texts(runs),
    }
    texts += [(title, "\n".join(lines)) for title, lines in others.items() if lines]
    return (
        pages()
        .get_template("notebook.html.j2")
        .render(
            summary=summary(runs),
            table_title=TABLE_TITLE,
            tables=[_table(runs, names) for names in of_same_cases(runs)],
            texts=[(title, _cut(text, MOST_TEXT)) for title, text in texts],
            more_texts=max(len(wrong) - MOST_TEXTS, 0),
            cell_text=cell_text,
        )
    )


def _table(runs: Sequence[RunResult], backends: Sequence[str]) -> dict[str, Any]:
    """A table case x backend; if it is long, cases in which something is wrong come first."""
    by_case: dict[str, dict[str, RunResult]] = {}
    shown = set(backends)
    for run in runs:
        if run.backend in shown:
            by_case.setdefault(run.case, {})[run.backend] = run
    cases = list(by_case)
    if len(cases) > MOST_ROWS:
        cases.sort(key=lambda case: all(is_right(run) for run in by_case[case].values()))
    rows = [(_cut(case, MOST_NAME), [by_case[case].get(name) for name in backends]) for case in cases[:MOST_ROWS]]
    return {
        "backends": [_cut(name, MOST_NAME) for name in backends],
        "rows": rows,
        "more": counted(len(cases) - len(rows), "more case") if len(cases) > len(rows) else "",
    }


def _title(same: Sequence[RunResult]) -> str:
    more = f" and {len(same) - 1} more" if len(same) > 1 else ""
    return f"{_cut(same[0].backend, MOST_NAME)}: {same[0].status} in {_cut(same[0].case, MOST_NAME)}{more}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "..."
