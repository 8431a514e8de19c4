"""Which cases and backends a request names, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.harness.adapters.backend import BackendInfo, find_backends, matched, pairs
from lockstep.harness.cases.find import FoundCase, find_cases
from lockstep.harness.output.console import tell, tell_absent


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


def asked_for(
    names: Sequence[str], backend: Sequence[str] | None, *, quiet: bool
) -> tuple[list[FoundCase], list[BackendInfo], int]:
    """Find cases and backends that go together, and count the runs they ask for; what is left out is told."""
    chosen = select(names, backend)
    if chosen.absent and not quiet:
        tell_absent(chosen.absent)
    if chosen.alone and not quiet:
        tell(f"Left out, since no case is for them: {', '.join(one.name for one in chosen.alone)}.")
    return chosen.cases, chosen.backends, chosen.count


def beside(
    own: list[BackendInfo], found: Sequence[FoundCase], names: Sequence[str] | None, *, quiet: bool
) -> tuple[list[BackendInfo], int]:
    """Give users' models and the backends beside them, those named or all that are installed, and count the runs."""
    others = find_backends(names)
    absent = [] if names is not None else [one for one in others if one.missing()]
    if absent and not quiet:
        tell_absent(absent)
    cases = [one.case for one in found]
    there = [*own, *(one for one in others if one not in absent)]
    _, backends = matched(cases, there, cases_named=True, backends_named=bool(names))
    return backends, len(pairs(cases, backends))
