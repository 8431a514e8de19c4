"""Which cases and backends a request names, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.backend import BackendInfo, find_backends, matched, pairs
from harness.find_cases import FoundCase, find_cases


@dataclass(frozen=True)
class Selection:
    """Cases and backends that go together, and the backends that were left out."""

    cases: list[FoundCase]
    backends: list[BackendInfo]
    absent: list[BackendInfo]  # not named, and what they need is not installed
    alone: list[BackendInfo]  # named, and no case is of their model

    @property
    def count(self) -> int:
        """How many runs they are."""
        return len(pairs([one.case for one in self.cases], self.backends))


def select(cases: Iterable[str], backends: Iterable[str] | None) -> Selection:
    """Find cases and backends that go together.

    Args:
        cases: Names, files or folders; all shipped ones if there are none.
        backends: Names; all whose frameworks are installed if there are none.

    Raises:
        LockstepError: If one is unknown, or finds no partner.
    """
    names, named = list(cases), list(backends or ())
    found, known = find_cases(names), find_backends(named or None)
    absent = [] if named else [one for one in known if one.missing()]
    there = [one for one in known if one not in absent]
    kept, able = matched(
        [one.case for one in found], there, cases_named=bool(names), backends_named=bool(named)
    )  # fmt: skip
    alone = [one for one in there if one not in able] if named else []
    return Selection([one for one in found if one.case in kept], able, absent, alone)
