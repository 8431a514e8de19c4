"""The table of versions: which there are, and which are asked for."""

from __future__ import annotations

import difflib
from pathlib import Path

import msgspec
from msgspec import Struct

TABLE = Path(__file__).with_name("table.toml")


class Version(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row as table.toml has it."""

    version: str
    packages: tuple[str, ...]
    backends: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()
    pinned: bool = False
    asked: bool = False
    note: str = ""


class Framework(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A framework's rows; the first is what the others are held against."""

    backends: tuple[str, ...]
    inference: bool = False
    version: tuple[Version, ...]


class Row(Struct, frozen=True, kw_only=True):
    """One environment: what is installed, and what is recorded in it."""

    name: str
    framework: str
    version: str
    packages: tuple[str, ...]
    backends: tuple[str, ...]
    inference: bool = False
    unbound: tuple[str, ...] = ()
    pinned: bool = False
    asked: bool = False
    note: str = ""


def load_rows(path: Path = TABLE) -> list[Row]:
    """Read the table."""
    frameworks = msgspec.toml.decode(path.read_bytes(), type=dict[str, Framework])
    return [
        Row(
            **msgspec.structs.asdict(version) | {"backends": version.backends or framework.backends},
            framework=name,
            inference=framework.inference,
            name=f"{name}-{version.version}",
        )
        for name, framework in frameworks.items()
        for version in framework.version
    ]


def choose(rows: list[Row], names: list[str]) -> list[Row]:
    """Give the rows that are named, by their own name or their framework's; else all but those to be asked for.

    Raises:
        ValueError: If a name is neither.
    """
    if not names:
        return [row for row in rows if not row.asked]
    known = {row.name for row in rows} | {row.framework for row in rows}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f' Did you mean "{close[0]}"?' if close else ""
            raise ValueError(f'no row is called "{name}".{guess} There are: {", ".join(sorted(known))}.')
    return [row for row in rows if row.name in names or (row.framework in names and not row.asked)]
