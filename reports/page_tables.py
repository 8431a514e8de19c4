"""Tables for the page: which cases and backends stand together.

    {"title", "form": "matrix", "list" or "tests", "cases": [index ..], "backends": [index ..]}

Layers and decoders have other cases, and a table each. A table of one backend lists its runs, and so does one of the
ports that tests of pytest checked: a column for each of them would say little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lockstep.harness.comparison.results import Results
from lockstep.harness.text import grouped, printable

Json = dict[str, Any]

TITLES = {"lstm": "Layers", "attention_decoder": "Decoders", None: "Cases"}
# How ``harness.pytest_plugin`` names a port that a test checked.
_CHECKED = re.compile(r"(?P<port>.+) \((?P<test>[^()]*\.py::.+)\)", re.DOTALL)


def tables_of(results: Results, cases: Mapping[str, int], backends: Mapping[str, int]) -> list[Json]:
    """The tables, in the order of their first runs; tests come first."""

    def table_of(run: Any) -> tuple[str, str | None]:
        if checked_by(run.backend) is not None:
            return "tests", None
        info = results.cases.get(run.case)
        return "cases", None if info is None else info.model

    tables = []
    for (kind, model), runs in grouped(results.runs, table_of).items():
        shown = list(dict.fromkeys(backends[run.backend] for run in runs))
        tables.append({
            "title": "Tests" if kind == "tests" else TITLES.get(model, "Cases"),
            "form": "tests" if kind == "tests" else "list" if len(shown) == 1 else "matrix",
            "cases": list(dict.fromkeys(cases[run.case] for run in runs)),
            "backends": shown,
        })  # fmt: skip
    return sorted(tables, key=lambda table: table["form"] != "tests")


def checked_by(backend: str) -> Json | None:
    """The port and the test that a name has both of; None if it is no test's."""
    named = _CHECKED.fullmatch(backend)
    return None if named is None else {name: printable(part) for name, part in named.groupdict().items()}
