"""How strong a case is: which faults of the catalogue change its expected numbers; no framework runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from harness.case import Case
from harness.execution import CANONICAL, Execution
from harness.faults import Fault, catalogue
from harness.interpret import interpret
from harness.messages import seen
from harness.noise import LIMIT_SIGMA
from harness.problem import Problem
from harness.reference import Expected, expect

# What a port or a backend returns; gates are seldom exposed.
SEEN = ("h", "c")


class Adequacy(Struct, frozen=True):
    """Which faults each case sees: sigma by fault, one number for each case; at or below the limit it is blind."""

    cases: list[str]
    limit: float
    sigma: dict[str, list[float]]

    @property
    def unseen(self) -> list[str]:
        """Faults that no case sees."""
        return [name for name, row in self.sigma.items() if not any(seen(value, self.limit) for value in row)]

    def blind(self, case: str) -> list[str]:
        """Faults that this case does not see."""
        k = self.cases.index(case)
        return [name for name, row in self.sigma.items() if not seen(row[k], self.limit)]


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
    chosen = list(catalogue().values()) if faults is None else list(faults)
    if not two_biases:
        chosen = [fault for fault in chosen if not any(name.endswith("_bias_gain") for name in fault.changes)]
    columns = [_column(Problem.from_case(case), chosen) for case in cases]
    rows = {fault.name: [column[k] for column in columns] for k, fault in enumerate(chosen)}
    return Adequacy([case.name for case in cases], limit, rows)


def _column(problem: Problem, faults: Sequence[Fault]) -> list[float]:
    expected = expect(problem)
    return [distance(problem, expected, fault.execution) for fault in faults]


def distance(problem: Problem, expected: Expected, execution: Execution) -> float:
    """Give the largest sigma by which an execution changes h or c of a problem."""
    if execution == CANONICAL:
        return 0.0
    computed = interpret(problem, execution)
    worst = 0.0
    with np.errstate(all="ignore"):
        for name in SEEN:
            is_, other = expected[name], computed[name]
            difference = np.abs((other.value - is_.value) + (other.rest - is_.rest))
            sigma = difference / np.maximum(is_.noise, np.minimum(other.noise, 1e3 * is_.noise))
            same = (other.value == is_.value) & (other.rest == is_.rest)
            sigma = np.where(same | (np.isnan(other.value) & np.isnan(is_.value)), 0, sigma)
            worst = max(worst, float(np.where(np.isnan(sigma), np.inf, sigma).max(initial=0)))
    return worst
