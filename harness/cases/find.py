"""Find case files: shipped ones by name, the user's by path.

Shipped ones are found by entry points of the group ``lockstep.cases``, each a package that holds TOML.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from msgspec import Struct

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.errors import CaseError, unknown

CASE_GROUP = "lockstep.cases"


class FoundCase(Struct, frozen=True):
    """A case with the words that name it on the command line, and its file."""

    case: Case
    argument: str
    path: Path


def installed(pattern: str) -> dict[str, Path]:
    """The files of packages of cases, by name without ending."""
    files: dict[str, Path] = {}
    for entry in entry_points(group=CASE_GROUP):
        spec = importlib.util.find_spec(entry.module)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).glob(pattern)):
                # One distribution may be seen twice, as when it is installed for editing.
                files.setdefault(path.stem, path)
    return files


def shipped() -> dict[str, Path]:
    """The files of the installed cases by name."""
    return installed("*.toml")


def find_cases(arguments: Iterable[str] = ()) -> list[FoundCase]:
    """Load cases by name, by file or by folder; without arguments, all that are shipped.

    Raises:
        CaseError: If one is unknown, unreadable or not valid, a folder holds none, or two have one name.
    """
    known = shipped()
    arguments = list(dict.fromkeys(arguments))
    named = [pair for argument in arguments for pair in _files(argument, known)] if arguments else list(known.items())
    by_name: dict[str, FoundCase] = {}
    for argument, path in named:
        case = load_case(path)
        before = by_name.get(case.name)
        if before is not None and before.path.resolve() != path.resolve():
            raise CaseError(
                f'two cases are called "{case.name}": {before.path} and {path}. '
                'Rename one of the files, or give it a key name = "..." of its own.'
            )
        by_name.setdefault(case.name, FoundCase(case, argument, path))
    return list(by_name.values())


def _files(argument: str, known: dict[str, Path]) -> list[tuple[str, Path]]:
    if argument in known:
        return [(argument, known[argument])]
    path = Path(argument)
    try:
        if path.is_dir():
            files = sorted(path.glob("*.toml"))
            if not files:
                raise CaseError(f"{argument}: no case (*.toml) in this folder.")
            return [(str(file), file) for file in files]
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise CaseError(f"{argument!r}: not a case: {error}.") from error
    if exists or path.suffix == ".toml" or len(path.parts) > 1:
        return [(argument, path)]
    raise CaseError(unknown("case", argument, known))
