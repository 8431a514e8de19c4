"""What ``lockstep variables`` shows: a table of all variables, and who shares which, as wide as the terminal is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockstep.harness.adapters.inventory import (
    _OWN,
    MANY,
    Group,
    Inventory,
    Scope,
    _list,
    _sentence,
    readers_text,
)
from lockstep.harness.text import printable, shape_text

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


def lines_of(found: Inventory) -> list[tuple[str, str]]:
    """Say in plain words who shares what, what is only a scope's name, and the sum: pairs of a kind and a line."""
    lines = [("shared", line) for line in _shared_lines(found.of("shared"))]
    lines += [("not shared", _sentence(f"{group.message} {group.fix}")) for group in found.of("not shared")]
    lines += [("separate", line) for line in _separate_lines(found.of("separate"))]
    lines += [("scope", line) for line in _scope_lines(found.scopes)]
    lines += [("note", _sentence(note)) for note in found.notes]
    return [*lines, ("sum", _sum(found))]


def _shared_lines(groups: list[Group]) -> list[str]:
    """Tell what is shared one by one; together, where many are so in one way."""
    alike: dict[str, list[Group]] = {}
    for group in groups:
        _, one, how = group.message.partition(" is one variable")
        alike.setdefault(how if one else group.message, []).append(group)
    lines = []
    for how, some in alike.items():
        if len(some) > MANY:
            lines.append(f"{_list([group.role for group in some])} are one variable each{how}")
        else:
            lines += [_sentence(group.message) for group in some]
    return lines


def _separate_lines(groups: list[Group]) -> list[str]:
    """Tell what is separate once for each row of modules, whatever its modules are made of."""
    alike: dict[tuple[str | None, tuple[str, ...]], list[tuple[str, Group]]] = {}
    for group in groups:
        holders, part = _holders(group.variables)
        alike.setdefault((group.place, holders), []).append((part, group))
    lines = []
    for (_, holders), some in alike.items():
        if len(some) == 1:
            lines.append(f"{_sentence(some[0][1].message)} {some[0][1].fix}")
        else:
            parts = ", ".join(part for part, _ in some[:MANY]) + (", ..." if len(some) > MANY else "")
            lines.append(f"{_list(holders)} ({parts}): {_OWN}. {some[0][1].fix}")
    return lines


def _holders(names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Give the modules or scopes in which names differ, and what follows them: cells.0, cells.1 and weight_ih."""
    split = [re.split(r"(?<=[/.])", name) for name in names]
    k = next((k for k, parts in enumerate(zip(*split, strict=False)) if len(set(parts)) > 1), 0)
    return tuple("".join(parts[: k + 1]).rstrip("/.") for parts in split), "".join(split[0][k + 1 :])


def _scope_lines(scopes: Sequence[Scope]) -> list[str]:
    alike: dict[tuple[object, ...], list[Scope]] = {}
    for scope in scopes:
        alike.setdefault((scope.like, scope.reads), []).append(scope)
    lines = []
    for some in alike.values():
        one = len(some) == 1
        is_a = "is only a scope of operations: it holds no variable, and its operations read" if one else (
            "are only scopes of operations: they hold no variable, and their operations read"
        )  # fmt: skip
        lines.append(f"{_list([f'{scope.scope}/...' for scope in some])} {is_a} {_list(some[0].reads)}.")
    return lines


def _sum(found: Inventory) -> str:
    parts = [f"{len(found.of('shared'))} shared"]
    for text, groups in (
        ("not shared", found.of("not shared")),
        ("with weights of their own", found.of("separate")),
    ):
        several = sum(len(group.variables) for group in groups)
        parts += [f"{several} {text}, in {len(groups)} role{'' if len(groups) == 1 else 's'}"] if groups else []
    count = len(found.variables)
    return f"{count} variable{'' if count == 1 else 's'} in the {found.kind}: {'; '.join(parts)}."
