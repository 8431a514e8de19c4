"""Places: the files and lines that results are about, for what shows them there: GitHub, editors, code scanning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from lockstep.harness.adapters.user_code import defined_in, parsed_file
from lockstep.harness.cases.find import shipped
from lockstep.harness.comparison.results import Source
from lockstep.harness.errors import LockstepError


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
MOST_SOURCE_LINES = 400  # of a function: a report shows some of them, and results hold no whole files


def place_of_function(path: Path, name: str) -> Place:
    """Find where a file defines a function, or what else bears its name; the file's first line if it does not say."""
    try:
        lines = [node.lineno for defined, node in defined_in(parsed_file(path)) if defined == name]
    except LockstepError:
        return Place(path)
    return Place(path, max(lines, default=1))  # what is defined again replaces what was defined before


def source_of_function(path: Path, name: str) -> Source | None:
    """The lines with which a file defines a function, its decorators among them; None if they cannot be found."""
    try:
        nodes = [node for defined, node in defined_in(parsed_file(path)) if defined == name]
        lines = path.read_text("utf-8").splitlines()
    except (LockstepError, OSError, ValueError):
        return None
    if not nodes:
        return None
    node = max(nodes, key=lambda node: node.lineno)
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
    last = min(node.end_lineno or first, first + MOST_SOURCE_LINES - 1)
    place = Place(path, first)
    return Source(place.within() or str(path), first, "\n".join(lines[first - 1 : last]))


def places_of_shipped(cases: Iterable[str]) -> dict[str, Place]:
    """Find the files of shipped cases by their names, where no file was named; other cases have no place."""
    files = shipped()
    return {case: Place(files[case]) for case in cases if case in files}
