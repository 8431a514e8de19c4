"""Which cases and backends a request names, and which of them go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


def select(
    cases: Iterable[str],
    backends: Iterable[str] | None,
    begin: Callable[[list[BackendInfo]], None] = lambda backends: None,
) -> Selection:
    """Find cases, all shipped ones if none is named, and the backends that go together with them.

    ``begin`` is called with the backends before cases are read.

    Raises:
        LockstepError: If one is unknown, or finds no partner.
    """
    names, asked = list(cases), list(backends or ()) or None
    there, absent = _installed(asked)
    begin(there)
    return _matched(find_cases(names), asked, there, absent, cases_named=bool(names))


def select_backends(
    cases: Sequence[FoundCase], names: Sequence[str] | None, models: Sequence[BackendInfo]
) -> Selection:
    """Find backends for cases that were named, beside users' ``models``.

    Raises:
        LockstepError: If a backend is unknown, or none is of the cases' model.
    """
    installed, absent = _installed(names)
    return _matched(cases, names, [*models, *installed], absent, cases_named=True)


def _installed(names: Sequence[str] | None) -> tuple[list[BackendInfo], list[BackendInfo]]:
    """Find the backends that are named, or the main ones of what is installed; and what is left out as it is not.

    A name may be a pattern, which stands for what is installed, unless nothing of it is.
    """
    backends = find_backends(names)
    absent = [backend for backend in backends if backend.name not in (names or ()) and backend.absent]
    installed = [backend for backend in backends if backend not in absent]
    if names is None:
        installed = main_ways(installed)
    elif not installed:
        installed, absent = absent, []  # their results tell how to install them
    return installed, absent


def _matched(
    cases: Sequence[FoundCase],
    names: Sequence[str] | None,
    there: Sequence[BackendInfo],
    absent: list[BackendInfo],
    *,
    cases_named: bool,
) -> Selection:
    of_cases = [found_case.case for found_case in cases]
    kept, able = matched(of_cases, there, cases_named=cases_named, backends_named=bool(names))
    alone = [backend for backend in there if backend.name in (names or ()) and backend not in able]
    return Selection([found_case for found_case in cases if found_case.case in kept], able, absent, alone)
