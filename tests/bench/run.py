"""Measure what the contract says about cost: ``python tests/bench/run.py [PART ...]``.

Each figure is a ratio of two things measured in turn within this run, so that a busy machine slows both; those of the
report alone are seconds and megabytes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from figures import Figure

# Each is a file with a function of that name. Processes are measured before this one has grown.
PARTS = ("startup", "cold", "memory", "warm", "growth", "reference", "comparison", "objects", "report", "causes")
# Takes minutes, is measured only where it is named, and shows a table of its own.
APART = ("fleet",)
# Takes minutes too; shown with the others.
NAMED = ("search",)


def main() -> int:
    """Measure the parts that are asked for, and print their figures."""
    options = _options()
    if options.list:
        sys.stdout.write("\n".join((*PARTS, *NAMED, *APART)) + "\n")
        return 0
    figures = {part: _measure(part) for part in options.parts or PARTS}
    for part in APART:
        if part in figures:
            importlib.import_module(part).show(figures[part])
    if any(part not in APART for part in figures):
        _show({part: measured for part, measured in figures.items() if part not in APART})
    if options.json:
        plain = {part: [figure.as_json() for figure in measured] for part, measured in figures.items()}
        options.json.write_text(json.dumps(plain, indent=2) + "\n")
    beyond = any(figure.beyond for measured in figures.values() for figure in measured)
    return int(options.strict and beyond)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"what to measure: {', '.join(PARTS)} if none is named; {', '.join((*NAMED, *APART))}",
    )
    parser.add_argument("--list", action="store_true", help="list the parts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a figure is beyond its bound")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in (*PARTS, *NAMED, *APART)]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}. There are: {', '.join((*PARTS, *NAMED, *APART))}")
    return options


def _measure(part: str) -> list[Figure]:
    sys.stderr.write(f"measuring {part}\n")
    # Imported when its turn comes: workers import this file, and should find nothing heavy in it.
    return getattr(importlib.import_module(part), part)()


def _show(figures: dict[str, list[Figure]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("figure", box=box.SIMPLE, pad_edge=False, caption="measured: median (lowest to highest)")
    for column in ("measured", "bound"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for part, measured in figures.items():
        table.add_row(Text(part, "bold"))
        for figure in measured:
            name = Text(figure.name).append(f"\n{figure.note}" if figure.note else "", "dim")
            verdict = Text(figure.verdict, "bold red" if figure.beyond else "green")
            table.add_row(name, _measured(figure), "" if figure.bound is None else f"{figure.bound:g}", verdict)
    Console().print(table)


def _measured(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.measured:.3g}"
    return f"{figure.measured:.3g} ({figure.low:.3g} to {figure.high:.3g})"


if __name__ == "__main__":
    sys.exit(main())
