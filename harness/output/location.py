"""Places: the files and lines that results are about, for what shows them there: GitHub, editors, code scanning."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct


class Place(Struct, frozen=True):
    """A line of a file; lines count from 1."""

    path: Path
    line: int = 1

    def within(self) -> str | None:
        """The path as seen from the root of the checkout, with slashes; None if it lies elsewhere."""
        root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
        path = self.path.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


Places = Mapping[str, Place]  # by the name of the case


def place_of_function(path: Path, name: str) -> Place:
    """Find where a file defines a function, or what else bears its name; the file's first line if it does not say."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return Place(path)
    lines = [node.lineno for node in _statements(tree) if name in _names(node)]
    return Place(path, max(lines, default=1))  # what is defined again replaces what was defined before


def places_of_shipped(cases: Iterable[str]) -> dict[str, Place]:
    """Find the files of shipped cases by their names, where no file was named; other cases have no place."""
    from lockstep.harness.cases.find import shipped

    files = shipped()
    return {case: Place(files[case]) for case in cases if case in files}


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements that a module runs when it is imported, those in its ``if`` and ``try`` too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from _statements(child)


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [alias.asname or alias.name for alias in names]
        case _:
            return []
