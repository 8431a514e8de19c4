"""How strong a case is: which deviations change its expected numbers; no framework runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.interpret import values_with
from lockstep.harness.diagnosis.explain_causes import OF_TWO_BIASES
from lockstep.harness.faults.deviation import Deviation, edits_of
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
    columns: list[dict[str, float]] = []
    for problem in map(problem_of, cases):
        expected, column = expect(problem), {}
        for name, deviation in named(problem).items():
            if not deviation.scope.suffix and (deviation.site not in OF_TWO_BIASES or layout in TWO_BIASES):
                with suppress(NoPlaceError):
                    column[name] = _apart(problem, expected, deviation)
        columns.append(column)
    names = dict.fromkeys(name for column in columns for name in column)
    rows = {name: [column.get(name, 0.0) for column in columns] for name in names}
    return Adequacy([case.name for case in cases], limit, rows)


class _PlainError(Exception):
    """Nobody asks how far."""


class _Farthest:
    """Watches a run for the largest sigma, and ends it beyond ``PLAIN``."""

    def __init__(self, expected: Expected) -> None:
        self.expected, self.sigma = expected, 0.0

    def tensor(self, name: str, value: Array) -> None:
        """Look at a whole tensor."""
        self.step(name, ..., value)

    def step(self, name: str, t: Any, value: Array) -> None:
        """Look at one timestep."""
        self.sigma = max(self.sigma, _largest_sigma(self.expected[name], value, t))
        if not self.sigma <= PLAIN:
            raise _PlainError


def _apart(problem: AnyProblem, expected: Expected, deviation: Deviation) -> float:
    """The largest sigma between what a deviation gives and what is expected; beyond ``PLAIN`` any that was met."""
    farthest = _Farthest(expected)
    with suppress(_PlainError), np.errstate(all="ignore"):
        wanted = {"h", "c"} if problem.case.plain else None
        values_with(problem, edits_of([deviation], problem), wanted, farthest)
    return farthest.sigma


def _largest_sigma(expected: ExpectedTensor, values: Array, rows: Any) -> float:
    with np.errstate(all="ignore"):
        difference = (values - expected.value[rows]) - expected.rest[rows]
        sigma = np.abs(difference / expected.noise[rows])
        same = (values == expected.value[rows]) | (np.isnan(values) & np.isnan(expected.value[rows]))
        return float(np.where(same, 0, np.where(np.isnan(sigma), np.inf, sigma)).max(initial=0))


def detected(sigma: float, limit: float) -> bool:
    """Whether a fault shows at this many sigma; what cannot be compared shows."""
    return not sigma <= limit
