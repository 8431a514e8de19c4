"""How strong a case is: which faults of the catalogue change its expected numbers; no framework runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.decoder_faults import decoder_faults
from lockstep.harness.faults.execution import Execution
from lockstep.harness.faults.fault import Fault
from lockstep.harness.faults.interpret import interpret_values, returns_as_computed
from lockstep.harness.faults.network_faults import variations
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
    """Compute which variations of networks, or faults of attention decoders, change any expected number of which cases.

    All cases are of one model. A variation that a case has no place for, such as reversed layers of a single one, is
    not seen by it.
    """
    problems = [problem_of(case) for case in cases]
    expected = [expect(problem) for problem in problems]
    decoders = any(case.model == "attention_decoder" for case in cases)
    known: list[Any] = list(decoder_faults() if decoders else variations())
    rows = {
        fault.name: [_apart(fault.of(problem), right) for problem, right in zip(problems, expected, strict=True)]
        for fault in known
    }
    return Adequacy([case.name for case in cases], limit, rows)


def _apart(deviating: Expected | None, expected: Expected) -> float:
    """The largest sigma between what a variation gives and what is expected."""
    if deviating is None:
        return 0.0
    if deviating.keys() != expected.keys():
        return np.inf
    return max(
        _largest_sigma(tensor, deviating[name].value.astype(np.longdouble) + deviating[name].rest, ...)
        for name, tensor in expected.items()
    )  # fmt: skip


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
