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
        return len(pairs([found_case.case for found_case in self.cases], self.backends))


def select(cases: Iterable[str], backends: Iterable[str] | None) -> Selection:
    """Find cases, all shipped ones if none is named, and the backends that go together with them.

    Raises:
        LockstepError: If one is unknown, or finds no partner.
    """
    names = list(cases)
    return select_backends(find_cases(names), list(backends or ()) or None, cases_named=bool(names))


def select_backends(
    cases: Sequence[FoundCase],
    names: Sequence[str] | None,
    models: Sequence[BackendInfo] = (),
    *,
    cases_named: bool = True,
) -> Selection:
    """Find backends for cases: those named, or all whose frameworks are installed, beside users' ``models``.

    Raises:
        LockstepError: If a backend is unknown, or none is of the cases' model.
    """
    backends = find_backends(names)
    absent = [backend for backend in backends if names is None and backend.missing()]
    there = [*models, *(backend for backend in backends if backend not in absent)]
    of_cases = [found_case.case for found_case in cases]
    kept, able = matched(of_cases, there, cases_named=cases_named, backends_named=bool(names))
    alone = [backend for backend in there if names and backend not in able]
    return Selection([found_case for found_case in cases if found_case.case in kept], able, absent, alone)
