"""How strong a case is: which deviations change its expected numbers; no framework runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.interpret import values_with
from lockstep.harness.causes.many import Many
from lockstep.harness.diagnosis.explain_causes import OF_TWO_BIASES
from lockstep.harness.diagnosis.screen import alike, by_candidate, in_runs, joins
from lockstep.harness.faults.deviation import edits_of
from lockstep.harness.faults.table import named
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import TWO_BIASES

PLAIN = 1e5  # sigma beyond which nobody asks how far: a run is ended there


class Adequacy(Struct, frozen=True):
    """Which deviations each case sees: sigma by name, one number for each case; at or below the limit it is blind."""

    cases: list[str]
    limit: float
    sigma: dict[str, list[float]]

    @property
    def unseen(self) -> list[str]:
        """Deviations that no case detects."""
        return [name for name, row in self.sigma.items() if not any(detected(value, self.limit) for value in row)]

    def blind(self, case: str) -> list[str]:
        """Deviations that this case does not detect."""
        k = self.cases.index(case)
        return [name for name, row in self.sigma.items() if not detected(row[k], self.limit)]


def adequacy(cases: Sequence[Case], limit: float = LIMIT_SIGMA, *, layout: str = "canonical") -> Adequacy:
    """Compute which deviations change what is returned of which cases, all of one form.

    Deviations hold in every lane and at every timestep: those of some alone are told by the same numbers. What no case
    has a place for, such as reversed layers of a single one, is left out.

    Args:
        cases: What to look at. Of a plain layer h and c count, which ports return; of others every tensor.
        limit: In sigma.
        layout: In which weights are handed over: two biases, of which one can be left out, are deviations of some.

    Raises:
        CaseError: If a case cannot be made concrete.
    """
    columns = [_column(problem, layout) for problem in map(problem_of, cases)]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = {name: [column.get(name, 0.0) for column in columns] for name in names}
    return Adequacy([case.name for case in cases], limit, rows)


def _column(problem: AnyProblem, layout: str) -> dict[str, float]:
    """The largest sigma of each deviation in a case, by name; many run as one."""
    expected = expect(problem)
    wanted = {"h", "c"} if problem.case.plain else set(expected)
    names: dict[str, float | None] = {}
    groups: defaultdict[Any, list[tuple[str, Edits]]] = defaultdict(list)
    for name, deviation in named(problem).items():
        if deviation.scope.suffix or (deviation.site in OF_TWO_BIASES and layout not in TWO_BIASES):
            continue
        with suppress(NoPlaceError):
            edits = edits_of([deviation], problem)
            goes_back = any(name.startswith("d") for name in wanted)
            joined = joins((deviation,), edits, goes_back=goes_back)
            groups[alike(edits) if joined else name].append((name, edits))
            names[name] = None  # in the order of the catalogue
    size = sum(expected[name].value.size for name in wanted)
    for group in groups.values():
        for part in in_runs(group, size):
            names |= zip(
                [name for name, _ in part], _apart(problem, expected, wanted, [e for _, e in part]), strict=True
            )
    return {name: sigma for name, sigma in names.items() if sigma is not None}


class _PlainError(Exception):
    """Nobody asks how far."""


class _Farthest:
    """Watches a run of many for the largest sigma of each, and ends it when all are beyond ``PLAIN``."""

    def __init__(self, expected: Expected, alive: Array) -> None:
        self.expected, self.alive = expected, alive
        self.sigma = np.zeros(len(alive))

    def tensor(self, name: str, value: Array) -> None:
        """Look at a whole tensor."""
        self.step(name, ..., value)

    def step(self, name: str, t: Any, value: Array) -> None:
        """Look at one timestep."""
        tensor = self.expected[name].at(t)
        sigma = _largest_sigma(tensor, by_candidate(name, value, tensor.value.ndim))
        self.sigma = np.maximum(self.sigma, np.where(self.alive, sigma, 0))
        self.alive &= ~self.plain  # nobody looks at it any more
        if not self.alive.any():
            raise _PlainError

    @property
    def plain(self) -> Array:
        """Those that are beyond ``PLAIN``, whatever comes later."""
        return ~(self.sigma <= PLAIN)


def _apart(problem: AnyProblem, expected: Expected, wanted: set[str], each: list[Edits]) -> list[float | None]:
    """The largest sigma of what each gives; beyond ``PLAIN`` any that was met, None of what has no place."""
    # What cannot be joined, such as parts of batches, is run as it is.
    edits = Many.of(each) if len(each) > 1 else each[0]
    farthest = _Farthest(expected, edits.alive if isinstance(edits, Many) else np.ones(1, bool))
    try:
        with suppress(_PlainError), np.errstate(all="ignore"):
            values_with(problem, edits, wanted, farthest)
    except NoPlaceError:  # of one alone, or of what all of them do
        return [None] if len(each) == 1 else [_apart(problem, expected, wanted, [edits])[0] for edits in each]
    counts = farthest.alive | farthest.plain
    return [float(sigma) if told else None for sigma, told in zip(farthest.sigma, counts, strict=True)]


def _largest_sigma(expected: ExpectedTensor, values: Array) -> Array:
    """The largest sigma of each candidate."""
    with np.errstate(all="ignore"):
        difference = (values - expected.value) - expected.rest
        sigma = np.abs(difference / expected.noise)
        same = (values == expected.value) | (np.isnan(values) & np.isnan(expected.value))
        sigma = np.where(same, 0, np.where(np.isnan(sigma), np.inf, sigma))
        return sigma.reshape(len(values), -1).max(axis=1, initial=0)


def detected(sigma: float, limit: float) -> bool:
    """Whether a fault shows at this many sigma; what cannot be compared shows."""
    return not sigma <= limit
