"""Code blocks of Markdown pages, and how they are run.

A fence with ``console`` holds commands after ``$``, each followed by what it prints. ``python`` is run where it stands,
the blocks of a page one after the other in one namespace; a fence with ``title="name"`` is written to that file
instead. ``sh``, ``py`` and other languages are for reading only. A line ``<!-- slow -->`` above a fence leaves it to
the slow tests.

In what a command prints

- ``...`` stands for any text, over several lines where it stands alone;
- runs of spaces are one space;
- a number of at most two digits below 10, with a point, stands for any such number: rounding in sigma, which machines
  differ in; any other number with a point or an exponent for one within 5%, or 0.1% if it has more than three digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\w+)(?P<info>.*)")
_TITLE = re.compile(r'title="([^"]+)"')
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_FLOAT = re.compile(r"(?<![\w.])-?(?:\d+\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+)(?![\w.]*\w)")
LIMIT = 10  # of sigma: below it is rounding


@dataclass(frozen=True)
class Block:
    """One block: its language, its lines, and where it begins."""

    language: str
    text: str
    line: int
    title: str | None = None
    slow: bool = False

    def commands(self) -> Iterator[tuple[str, str]]:
        """Give each command of a console block with what it prints."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def blocks_of(path: Path) -> list[Block]:
    """Give the fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
    before = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            before = line or before
            continue
        closing = f"{fence['indent']}```"
        inside = []
        for _, text in lines:
            if text.rstrip() == closing:
                break
            inside.append(text.removeprefix(fence["indent"]))
        else:
            pytest.fail(f"{path.name}:{number}: a fence that nothing closes")
        title = _TITLE.search(fence["info"])
        slow = before.strip() == "<!-- slow -->"
        found.append(Block(fence["language"], "\n".join(inside) + "\n", number, title and title[1], slow))
        before = ""
    return found


def agree(expected: str, actual: str) -> bool:
    """Whether what a command printed is what a page shows."""
    numbers: list[str] = []
    pattern = ""
    for part in re.split(r"(\.\.\.)", _plain(expected)):
        if part == "...":
            pattern += r"(?:.*?)"
            continue
        at = 0
        for number in _FLOAT.finditer(part):
            pattern += re.escape(part[at : number.start()]) + f"({_NUMBER})"
            numbers.append(number[0])
            at = number.end()
        pattern += re.escape(part[at:])
    found = re.fullmatch(pattern, _plain(actual), flags=re.DOTALL)
    return found is not None and all(map(_near, numbers, found.groups()))


def _plain(text: str) -> str:
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.strip().splitlines()]
    return "\n".join(line for line in lines if line)


def _near(shown: str, printed: str) -> bool:
    a, b = float(shown), float(printed)
    digits = len(re.sub(r"e.*|[-.]", "", shown).lstrip("0"))
    if digits <= 2 and "e" not in shown and 0 <= a < LIMIT:
        return 0 <= b < LIMIT
    return abs(a - b) <= (1e-3 if digits > 3 else 0.05) * abs(a)
