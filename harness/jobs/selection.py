"""Which cases and backends a request names, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.harness.adapters.backend import BackendInfo, find_backends, matched, pairs
from lockstep.harness.cases.find import FoundCase, find_cases


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
        return len(pairs([found.case for found in self.cases], self.backends))

    @property
    def arguments(self) -> dict[str, str]:
        """By the name of a case, how the user named it."""
        return {found.case.name: found.argument for found in self.cases}


def select(cases: Iterable[str], backends: Iterable[str] | None) -> Selection:
    """Find cases and backends that go together.

    Args:
        cases: Names, files or folders; all shipped ones if there are none.
        backends: Names; all whose frameworks are installed if there are none.

    Raises:
        LockstepError: If one is unknown, or finds no partner.
    """
    names, named = list(cases), list(backends or ())
    cases_found, known = find_cases(names), find_backends(named or None)
    absent = [] if named else [backend for backend in known if backend.missing()]
    there = [backend for backend in known if backend not in absent]
    kept, able = matched(
        [found_case.case for found_case in cases_found], there, cases_named=bool(names), backends_named=bool(named)
    )  # fmt: skip
    alone = [backend for backend in there if backend not in able] if named else []
    return Selection([found_case for found_case in cases_found if found_case.case in kept], able, absent, alone)


def select_beside(models: Sequence[BackendInfo], cases: Sequence[FoundCase], names: Sequence[str] | None) -> Selection:
    """Users' models and the backends that run beside them: those named, or all whose frameworks are installed.

    Raises:
        LockstepError: If a backend is unknown, or none is of the cases' model.
    """
    backends = find_backends(names)
    absent = [] if names is not None else [backend for backend in backends if backend.missing()]
    installed = [*models, *(backend for backend in backends if backend not in absent)]
    _, able = matched([found.case for found in cases], installed, cases_named=True, backends_named=bool(names))
    return Selection(list(cases), able, absent, [])
