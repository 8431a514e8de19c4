"""What ``lockstep variables`` shows: a table of all variables, and who shares which, as wide as the terminal is."""

from __future__ import annotations

import re
import textwrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockstep.harness.adapters.inventory import Inventory, lines_of, readers_text, shape_text
from lockstep.harness.text import printable

_STYLES = {"shared": "green", "not shared": "bold red", "scope": "dim", "note": "yellow"}


def show_variables(console: Console, found: Inventory) -> None:
    """Print an inventory."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in ("variable", "shape", "dtype", "read by")[: 4 if found.reads_known else 3]:
        table.add_column(column, overflow="fold")
    rows = [(shape_text(v.shape), v.dtype, readers_text(v))[: len(table.columns) - 1] for v in found.variables]
    others = sum(min(MOST_CELL, max(map(len, column), default=0)) + 1 for column in zip(*rows, strict=True))
    for v, row in zip(found.variables, rows, strict=True):
        names = "\n".join(
            _broken(name, console.width - others - 1) for name in (v.name, *(f"= {one}" for one in v.aliases))
        )
        table.add_row(*(Text(printable(cell)) for cell in (names, *row)))
    console.print(table)
    for kind, line in lines_of(found):
        console.print(Text(_wrapped(printable(line), console.width)), style=_STYLES.get(kind, ""))


MOST_CELL = 30  # columns that a cell beside the name may take before it is wrapped


def _broken(name: str, width: int) -> str:
    """Break a name that is too long for its column, after the end of a scope where there is one."""
    lines = [""]
    for part in re.split(r"(?<=[/.\n])", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


def _wrapped(line: str, width: int) -> str:
    """Break a line between words, and indent what follows; a name is broken only where it fits in no line."""
    return textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False)
