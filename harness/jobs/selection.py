"""Which cases and backends a request names, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.harness.adapters.backend import BackendInfo, find_backends, main_ways, matched, pairs
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
    """Find backends for cases, beside users' ``models``: those named, or the main ones of what is installed.

    A name may be a pattern, which stands for what is installed, unless nothing of it is.

    Raises:
        LockstepError: If a backend is unknown, or none is of the cases' model.
    """
    backends = find_backends(names)
    absent = [backend for backend in backends if backend.name not in (names or ()) and backend.absent]
    installed = [backend for backend in backends if backend not in absent]
    if names is None:
        installed = main_ways(installed)
    elif not installed:
        installed, absent = absent, []  # their results tell how to install them
    there = [*models, *installed]
    of_cases = [found_case.case for found_case in cases]
    kept, able = matched(of_cases, there, cases_named=cases_named, backends_named=bool(names))
    alone = [backend for backend in there if backend.name in (names or ()) and backend not in able]
    return Selection([found_case for found_case in cases if found_case.case in kept], able, absent, alone)
