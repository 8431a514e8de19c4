"""Text of values: numbers as people read them, what is safe to print; what belongs together; source as a tree."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import ast

_Item = TypeVar("_Item")
# CPython 3.11 counts how deep it is in a tree for all threads together: two that parse at once may both fail.
_PARSING = Lock()
_Key = TypeVar("_Key", bound=Hashable)

# Control characters of a backend's output or a case's name must not steer what shows them, nor turn its lines around;
# half of a surrogate pair has no UTF-8.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text whose control characters are shown as what they are: no text. Tabs and line feeds stay."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def number(value: float) -> str:
    """Write a measure shortly: 0.83, 12, 4.3e+05, inf."""
    if not math.isfinite(value):
        return "inf" if value > 0 else str(value)
    if value == 0:
        return "0"
    return f"{value:.2g}" if abs(value) < 10 or abs(value) >= 1e5 else f"{value:.0f}"  # noqa: PLR2004


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 run, 2 runs."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def names_text(names: Sequence[str], most: int) -> str:
    """Names in a row, at most so many: a, b and 3 more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def shape_text(shape: Sequence[int | str | None]) -> str:
    """Write a shape as it is printed everywhere: (3, 4), (3,), (); a size that nobody knows is "?"."""
    return f"({', '.join('?' if size is None else str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    """Items by what they have in common, groups and members in the order in which they come."""
    groups: dict[_Key, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def parsed_source(source: str | bytes) -> ast.Module:
    """Python as a tree; a SyntaxError or ValueError if it is none. One thread at a time."""
    import ast

    with _PARSING:
        return ast.parse(source)
