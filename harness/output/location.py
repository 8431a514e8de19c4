"""Places: the files and lines that results are about, for what shows them there: GitHub, editors, code scanning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from lockstep.harness.adapters.user_code import defined_in, parsed_file
from lockstep.harness.cases.find import shipped
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


def place_of_function(path: Path, name: str) -> Place:
    """Find where a file defines a function, or what else bears its name; the file's first line if it does not say."""
    try:
        lines = [node.lineno for defined, node in defined_in(parsed_file(path)) if defined == name]
    except LockstepError:
        return Place(path)
    return Place(path, max(lines, default=1))  # what is defined again replaces what was defined before


def places_of_shipped(cases: Iterable[str]) -> dict[str, Place]:
    """Find the files of shipped cases by their names, where no file was named; other cases have no place."""
    files = shipped()
    return {case: Place(files[case]) for case in cases if case in files}
