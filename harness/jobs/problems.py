"""Problems and expected values of the cases of one request, each made once."""

from __future__ import annotations

import threading

import numpy as np
from msgspec.structs import replace

from lockstep.harness.cases.case import VALUE_KEYS, Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.comparison.compare import check_golden
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected

JudgedCase = tuple[Case, str | None]  # a case, and how its numbers are stored

# Bytes of expected values that are kept whatever cases they are of; beyond it those of the last two cases are.
MOST_EXPECTED_BYTES = 2**26
FRESH_SEED = 1_000_003  # added to a case's seed for numbers that no search has seen


def reseeded(case: Case, seed: int) -> Case:
    """The case with other numbers, where a seed draws them."""
    return case if not seed else replace(case, run=replace(case.run, seed=case.run.seed + seed), expect=None)


class Problems:
    """Problems and expected values by case, made when first asked for and kept until dropped."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._problems: dict[Case, AnyProblem] = {}
        self._expected: dict[JudgedCase, Expected] = {}
        self._widened: dict[JudgedCase, Expected] = {}

    def problem(self, case: Case) -> AnyProblem:
        """The problem of a case; threads may ask at once."""
        with self._lock:
            if case not in self._problems:  # within the lock: two threads would draw the same numbers twice
                self._problems[case] = problem_of(case)
            return self._problems[case]

    def put(self, problem: AnyProblem) -> None:
        """Keep a problem for its case."""
        with self._lock:
            self._problems[problem.case] = problem

    def expected(self, case: Case, quantised: str | None = None) -> Expected:
        """What the reference expects of the problem of a case; ``quantised``: as of ``expect``."""
        key = case, quantised
        expected = self._expected.pop(key, None)
        if expected is None:
            self._make_room(case)
            expected = expect(self.problem(case), quantised)
            check_golden(expected, case)
        self._expected[key] = expected  # the last one asked for is the last one dropped
        return expected

    def _make_room(self, case: Case) -> None:
        """Forget what is expected of large cases, but for this one and that asked for last: it is computed again."""
        kept = sum(tensor.nbytes for expected in self._expected.values() for tensor in expected.values())
        others = list(dict.fromkeys(known for known, _ in self._expected if known != case))
        for old_case in others[:-1] if kept > MOST_EXPECTED_BYTES else ():
            self._forget(old_case)

    def _forget(self, case: Case) -> None:
        for kept in (self._expected, self._widened):
            for key in [key for key in kept if key[0] == case]:
                del kept[key]

    def widened(self, case: Case, quantised: str | None = None) -> Expected:
        """The same with noise that covers what the network amplifies: for what lies beyond the limit.

        What no healthy implementation determines has an infinite noise, or none (``harness.reference.undetermined``).
        """
        key = case, quantised
        if key not in self._widened:
            from lockstep.harness.reference.spread import widened
            from lockstep.harness.reference.undetermined import without_room

            problem, expected = self.problem(case), self.expected(case, quantised)
            wide = widened(problem, expected, lost=True, quantised=quantised)
            self._widened[key] = without_room(problem, wide, expected)
        return self._widened[key]

    def is_widened(self, case: Case) -> bool:
        """Whether rounding that the network amplifies was measured, since something lay beyond the limit."""
        return any(case == known for known, _ in self._widened)

    def is_in_part(self, case: Case) -> bool:
        """Whether something of a case is undetermined by rounding, as far as that was measured."""
        measured = [expected for (known, _), expected in self._widened.items() if case == known]
        return not all(np.isfinite(tensor.noise).all() for expected in measured for tensor in expected.values())

    def check(self, case: Case) -> None:
        """Check, before anything runs, what only the numbers of a case can show.

        Raises:
            CaseError: If a file it names cannot be used, zeros are asked for past the end, or its golden values
                contradict its numbers.
        """
        if any(case.run.values(key).file or case.run.values(key).zero_timesteps for key in VALUE_KEYS):
            self.problem(case)
        if case.expect is not None:  # golden values that the reference contradicts make every verdict worthless
            self.expected(case)

    def keep_only(self, case: Case) -> None:
        """Forget all others: for those who go through cases one by one."""
        for old_case in {*self._problems, *(known for known, _ in self._expected)} - {case}:
            self.drop(old_case)

    def drop(self, case: Case) -> None:
        """Forget a case."""
        with self._lock:
            self._problems.pop(case, None)
        self._forget(case)
