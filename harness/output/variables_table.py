"""What ``lockstep variables`` shows: a table of all variables, and who shares which, as wide as the terminal is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console

from lockstep.harness.adapters.inventory import (
    OWN_WEIGHTS,
    EmptyScope,
    Group,
    Inventory,
    listed_names,
    readers_text,
    when_read,
)
from lockstep.harness.output.columns import bare_table, broken
from lockstep.harness.output.console import plain, wrapped
from lockstep.harness.text import counted, grouped, shape_text

_STYLES = {"shared": "green", "not shared": "bold red", "not registered": "bold red", "scope": "dim", "note": "yellow"}
MOST_CELL = 30  # columns that a cell beside the name may take before it is wrapped
MOST_SENTENCES = 6  # of one kind; more are told in one


def show_variables(console: Console, inventory: Inventory) -> None:
    """Print an inventory."""
    table = bare_table()
    for column in ("variable", "shape", "dtype", "read by")[: 4 if inventory.reads_known else 3]:
        table.add_column(column, overflow="fold")
    rows = [(shape_text(v.shape), v.dtype, readers_text(v))[: len(table.columns) - 1] for v in inventory.variables]
    others = sum(min(MOST_CELL, max(map(len, column), default=0)) + 1 for column in zip(*rows, strict=True))
    room = max(console.width - others - 1, 1)
    for v, row in zip(inventory.variables, rows, strict=True):
        names = "\n".join(broken(name, room, "  ") for name in (v.name, *(f"= {alias}" for alias in v.aliases)))
        table.add_row(*map(plain, (names, *row)))
    console.print(table)
    for kind, line in lines_of(inventory):
        console.print(
            "\n".join(wrapped(line, console.width)), style=_STYLES.get(kind, ""), markup=False, highlight=False
        )


def lines_of(inventory: Inventory) -> list[tuple[str, str]]:
    """Who shares what, what is only the name of a scope, and the counts: pairs of a kind and a line."""
    lines = [("shared", line) for line in _shared_lines(inventory)]
    for verdict in ("not shared", "not registered"):
        lines += [(verdict, _sentence(f"{group.message} {group.fix}")) for group in inventory.of(verdict)]
    lines += [("separate", line) for line in _separate_lines(inventory.of("separate"))]
    lines += [("scope", line) for line in _scope_lines(inventory.scopes)]
    lines += [("note", _sentence(note)) for note in inventory.notes]
    return [*lines, ("sum", _sum(inventory))]


def _shared_lines(inventory: Inventory) -> list[str]:
    """Lines about shared variables, one each; one line for many that are shared in the same way."""
    by_name = {v.name: v for v in inventory.variables}

    def how_shared(group: Group) -> tuple[str, str]:
        v = by_name[group.variables[0]]
        return when_read(v), v.name if v.aliases else ""  # one of several names has a line of its own

    lines = []
    for (when, _), same in grouped(inventory.of("shared"), how_shared).items():
        if len(same) > MOST_SENTENCES:
            lines.append(f"{listed_names([group.role for group in same])} are one variable each, read {when}: shared.")
        else:
            lines += [_sentence(group.message) for group in same]
    return lines


def _separate_lines(groups: list[Group]) -> list[str]:
    """One line for each row of modules with weights of their own, whatever the modules are made of."""
    lines = []
    for (_, holders), same in grouped(groups, lambda group: (group.place, _holders(group.variables)[0])).items():
        if len(same) == 1:
            lines.append(f"{_sentence(same[0].message)} {same[0].fix}")
        else:
            parts = [_holders(group.variables)[1] for group in same[:MOST_SENTENCES]]
            more = ", ..." if len(same) > MOST_SENTENCES else ""
            lines.append(f"{listed_names(holders)} ({', '.join(parts)}{more}): {OWN_WEIGHTS}. {same[0].fix}")
    return lines


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _holders(names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The modules or scopes in which names differ, and what follows them: cells.0, cells.1 and weight_ih."""
    split = [re.split(r"(?<=[/.])", name) for name in names]
    k = next((k for k, parts in enumerate(zip(*split, strict=False)) if len(set(parts)) > 1), 0)
    return tuple("".join(parts[: k + 1]).rstrip("/.") for parts in split), "".join(split[0][k + 1 :])


def _scope_lines(scopes: Sequence[EmptyScope]) -> list[str]:
    lines = []
    for same in grouped(scopes, lambda scope: (scope.like, scope.reads)).values():
        single = len(same) == 1
        is_a = "is only a scope of operations: it holds no variable, and its operations read" if single else (
            "are only scopes of operations: they hold no variable, and their operations read"
        )  # fmt: skip
        lines.append(f"{listed_names([f'{scope.scope}/...' for scope in same])} {is_a} {listed_names(same[0].reads)}.")
    return lines


def _sum(inventory: Inventory) -> str:
    parts = [f"{len(inventory.of('shared'))} shared"]
    for text, groups in (
        ("not shared", inventory.of("not shared")),
        ("not registered", inventory.of("not registered")),
        ("with weights of their own", inventory.of("separate")),
    ):
        several = sum(len(group.variables) for group in groups)
        parts += [f"{several} {text}, in {counted(len(groups), 'role')}"] if groups else []
    return f"{counted(len(inventory.variables), 'variable')} in the {inventory.kind}: {'; '.join(parts)}."
