"""Columns beside each other: how many fit, and how wide each is. Their headers are names, which are never broken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec import Struct
from rich import box
from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

from lockstep.harness.text import printable

_Item = TypeVar("_Item")

GAP = 2  # between columns: rich's padding, and its divider


class Column(Struct, frozen=True):
    """A header and cells, which may have styles."""

    header: str
    cells: tuple[str | Text, ...]

    @property
    def natural(self) -> int:
        """The width at which nothing is broken."""
        return max(cell_len(str(part)) for part in (self.header, *self.cells))

    @property
    def least(self) -> int:
        """The width at which neither the header nor a word of a cell is broken."""
        words = [cell_len(word) for cell in self.cells for word in str(cell).split()]
        return max([1, cell_len(self.header), *words])


def fitting(columns: Sequence[Column], width: int, *, most: int = 1000, gap: int = GAP) -> list[list[int]]:
    """Part columns, by index, into as few groups as fit beside each other, of at most so many each."""
    for count in range(1, len(columns)):
        groups = parted(range(len(columns)), count)
        if all(len(part) <= most and sum(columns[k].least + gap for k in part) <= width for part in groups):
            return groups
    return parted(range(len(columns)), len(columns))  # a column alone is shown however wide it is


def parted(items: Sequence[_Item], count: int) -> list[list[_Item]]:
    """Part items into so many groups of about one size: three and three are easier to read than five and one."""
    size = -(-len(items) // max(count, 1)) or 1
    return [list(items[k : k + size]) for k in range(0, len(items), size)]


def widths(columns: Sequence[Column], width: int, gap: int = GAP) -> list[int]:
    """Each column its least width, and while there is room its natural one, from the first to the last."""
    column_widths = [column.least for column in columns]
    spare = width - sum(column_widths) - gap * len(column_widths)
    for k, column in enumerate(columns):
        more = max(column.natural - column_widths[k], 0)
        if more <= spare:
            column_widths[k] += more
            spare -= more
    return column_widths


def broken(name: str, width: int, indent: str = "") -> str:
    """Break a name into lines of a width, all but the first indented, after what joins its parts where possible."""
    lines = [""]
    for part in _parts(name):
        if lines[-1].strip() and cell_len(lines[-1] + part) > width:
            lines.append(indent)
        # A part that no line has room for is cut anywhere.
        *full, last = chop_cells(part, width) if cell_len(part) > width else [part]
        lines[-1:] = [lines[-1] + full[0], *full[1:], last] if full else [lines[-1] + last]
    return "\n".join(lines)


def bare_table(gap: int = GAP) -> Table:
    """A table without edges, to which columns and rows are added."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)


def table_of(
    corner: str,
    names: Iterable[str],
    columns: Sequence[Column],
    width: int,
    gap: int = GAP,
    *,
    narrow_first: int | None = None,
) -> Table:
    """A table of which nothing is cut; ``corner`` and ``names`` are its first column.

    It is wider than ``width`` where a name is. ``narrow_first``: how narrow the first column may be; else its names
    are not broken.
    """
    names = [in_one_line(name) for name in names]
    first = max(map(cell_len, [corner, *names]))
    if narrow_first is not None:  # the longest name gives way where the others need the room
        first = min(first, max(narrow_first, width - sum(column.least + gap for column in columns)))
    rooms = widths(columns, width - first, gap)
    needed = first + sum(rooms) + gap * len(rooms)
    table = bare_table(gap)
    table.width = needed if needed > width else None
    table.add_column(corner, width=first)
    for column, room in zip(columns, rooms, strict=True):
        table.add_column(Text(column.header), justify="right", width=room, overflow="fold")
    for name, *cells in zip(names, *(column.cells for column in columns), strict=True):
        table.add_row(Text(broken(name, first)), *cells)
    return table


def in_one_line(name: str) -> str:
    """A name as a table shows it."""
    return " ".join(printable(name).split())


def _parts(name: str) -> list[str]:
    return re.findall(r"[^_\-/.:()\s]*[_\-/.:()\s]+|[^_\-/.:()\s]+", name) or [name]
