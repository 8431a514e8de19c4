"""How strong a case is: which faults and deviations change its expected numbers; no framework runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.deviation import Deviation, edits_of
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.interpret import values_with
from lockstep.harness.causes.table import named
from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.execution import Execution
from lockstep.harness.faults.fault import Fault
from lockstep.harness.faults.interpret import interpret_values, returns_as_computed
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import LIMIT_SIGMA

# What a port or a backend returns; gates are seldom exposed.
SEEN = ("h", "c")
PLAIN = 1e5  # sigma beyond which nobody asks how far: a run is ended there


class Adequacy(Struct, frozen=True):
    """Which faults each case sees: sigma by fault, one number for each case; at or below the limit it is blind."""

    cases: list[str]
    limit: float
    sigma: dict[str, list[float]]

    @property
    def unseen(self) -> list[str]:
        """Faults that no case detects."""
        return [name for name, row in self.sigma.items() if not any(detected(value, self.limit) for value in row)]

    def blind(self, case: str) -> list[str]:
        """Faults that this case does not detect."""
        k = self.cases.index(case)
        return [name for name, row in self.sigma.items() if not detected(row[k], self.limit)]


def adequacy(
    cases: Sequence[Case],
    faults: Iterable[Fault] | None = None,
    limit: float = LIMIT_SIGMA,
    *,
    two_biases: bool = False,
) -> Adequacy:
    """Compute which faults change the expected h or c of which cases beyond the limit.

    Args:
        cases: What to look at.
        faults: Of the catalogue; all of them if None.
        limit: In sigma.
        two_biases: Whether faults count that need b handed over as two biases.

    Raises:
        CaseError: If a case cannot be made concrete.
    """
    looked_at = list(catalogue().values()) if faults is None else list(faults)
    if not two_biases:
        looked_at = [fault for fault in looked_at if not any(name.endswith("_bias_gain") for name in fault.changes)]
    columns = [_column(Problem.from_case(case), looked_at) for case in cases]
    rows = {fault.name: [column[k] for column in columns] for k, fault in enumerate(looked_at)}
    return Adequacy([case.name for case in cases], limit, rows)


def network_adequacy(cases: Sequence[Case], limit: float = LIMIT_SIGMA) -> Adequacy:
    """Compute which deviations change any expected number of which networks, or of which attention decoders.

    Deviations hold in every lane and at every timestep: those of some alone are told by the same numbers. All cases
    are of one model. What no case has a place for, such as reversed layers of a single one, is left out.
    """
    columns: list[dict[str, float]] = []
    for problem in map(problem_of, cases):
        expected, column = expect(problem), {}
        for name, deviation in named(problem).items():
            if not deviation.scope.suffix:
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
        values_with(problem, edits_of([deviation], problem), watcher=farthest)
    return farthest.sigma


def _column(problem: Problem, faults: Sequence[Fault]) -> list[float]:
    expected = expect(problem)
    return [distance(problem, expected, fault.execution) for fault in faults]


def distance(problem: Problem, expected: Expected, execution: Execution) -> float:
    """The largest sigma by which an execution changes h or c of a problem; beyond ``PLAIN`` any that was met."""
    worst = 0.0

    def watch(t: int, h: Array, c: Array) -> bool:
        nonlocal worst
        worst = max(worst, _largest_sigma(expected["h"], h, t), _largest_sigma(expected["c"], c, t))
        return worst <= PLAIN

    early = returns_as_computed(execution)
    computed = interpret_values(problem, execution, watch if early else None)
    if early or computed is None:
        return worst
    return max(_largest_sigma(expected[name], computed[name], ...) for name in SEEN)


def _largest_sigma(expected: ExpectedTensor, values: Array, rows: Any) -> float:
    with np.errstate(all="ignore"):
        difference = (values - expected.value[rows]) - expected.rest[rows]
        sigma = np.abs(difference / expected.noise[rows])
        same = (values == expected.value[rows]) | (np.isnan(values) & np.isnan(expected.value[rows]))
        return float(np.where(same, 0, np.where(np.isnan(sigma), np.inf, sigma)).max(initial=0))


def detected(sigma: float, limit: float) -> bool:
    """Whether a fault shows at this many sigma; what cannot be compared shows."""
    return not sigma <= limit
