"""Places: the files and lines that results are about, for what shows them there: GitHub, editors, code scanning."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from lockstep.harness.adapters.user_code import defined_in, parsed_file
from lockstep.harness.cases.find import FoundCase, shipped
from lockstep.harness.comparison.results import Results, RunResult, Source
from lockstep.harness.errors import LockstepError

MOST_SOURCE_LINES = 400  # of a function: a report shows some of them, and results hold no whole files


class Place(Struct, frozen=True):
    """A line of a file; lines count from 1."""

    path: Path
    line: int = 1
    of_port: bool = False  # else of a case

    def within(self) -> str | None:
        """The path as seen from the root of the checkout, with slashes; None if it lies elsewhere."""
        return within(self.path)


def within(path: Path, root: Path | None = None) -> str | None:
    """A path as seen from the root of the checkout, else from ``root`` or the current directory; None if not in it."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or root or Path.cwd()).resolve()
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


class Places:
    """Where each of several runs belongs: at the function of its port, else at the file of its case."""

    def __init__(self, results: Results) -> None:
        """Take what results say of files; those of shipped cases are known anyway."""
        self._sources, self._files = results.sources, results.files
        self._shipped = shipped()

    def __call__(self, run: RunResult) -> Place | None:
        """The place of a run; None if it is not known."""
        source = self._sources.get(run.backend)
        if source is not None:
            return Place(_found(source.file), source.line, of_port=True)
        if run.case in self._files:
            return Place(_found(self._files[run.case]))
        return Place(self._shipped[run.case]) if run.case in self._shipped else None


def _found(file: str) -> Path:
    """The file that saved results name as seen from a root, which is here or further up."""
    here = Path.cwd()
    return next((folder / file for folder in (here, *here.parents) if (folder / file).is_file()), here / file)


def files_of(cases: Iterable[FoundCase]) -> dict[str, str]:
    """The files of cases by name, as seen from the root if they lie in it; installed ones are known anyway."""
    installed = shipped()
    files = {found_case.case.name: (within(found_case.path), found_case.path) for found_case in cases}
    return {
        name: seen or str(path.resolve())
        for name, (seen, path) in files.items()
        if seen is not None or installed.get(name) != path
    }


def source_of_function(path: Path, name: str) -> Source | None:
    """The lines with which a file defines a function, its decorators among them; None if it cannot be read.

    Where the file does not show what bears the name, as after a star import, it is the first line.
    """
    try:
        lines = path.read_text("utf-8").splitlines() or [""]
    except (OSError, ValueError):
        return None
    first, last = 1, 1
    try:
        nodes = [node for defined, node in defined_in(parsed_file(path)) if defined == name]
    except LockstepError:
        nodes = []
    if nodes:
        node = max(nodes, key=lambda node: node.lineno)  # what is defined again replaces what was defined before
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        last = node.end_lineno or first
    return _source(path, first, lines[first - 1 : last])


def source_of(port: Callable[..., Any], root: Path | None = None) -> Source | None:
    """The lines that define a function or the class of a callable object; None if they are not in a file of ours.

    ``root``: as of ``within``. What lies outside it, or in an environment in it, is a library's.
    """
    function = inspect.unwrap(getattr(port, "func", port))  # of a functools.partial
    subject = function if hasattr(function, "__code__") else type(function)
    try:
        file = inspect.getsourcefile(subject)
        lines, first = inspect.getsourcelines(subject)
    except (OSError, TypeError):  # made by exec, built in
        return None
    if file is None or within(Path(file), root) is None or "site-packages" in Path(file).parts:
        return None
    return _source(Path(file), first, [line.rstrip("\n") for line in lines], root)


def _source(path: Path, first: int, lines: list[str], root: Path | None = None) -> Source:
    return Source(within(path, root) or str(path), first, "\n".join(lines[:MOST_SOURCE_LINES]))
