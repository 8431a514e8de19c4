"""What a run came to: a trace judged, its divergence explained."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import VALUES, Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.comparison.compare import check_golden, compare, compare_steps, limit_for
from lockstep.harness.comparison.details import details_of
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
from lockstep.harness.diagnosis.diagnose import diagnose_runs
from lockstep.harness.diagnosis.match import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED, unexplained
from lockstep.harness.jobs.findings import known
from lockstep.harness.ports.port import LocalPort, Port
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.spread import widened
from lockstep.harness.reference.undetermined import notes_of, without_room

SMALL = 10_000  # numbers in a trace that is kept although it agrees


class Problems:
    """Problems and expected values by case, made when first asked for and kept until dropped."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._problems: dict[Case, AnyProblem] = {}
        self._expected: dict[Case, Expected] = {}
        self._widened: dict[Case, Expected] = {}

    def problem(self, case: Case) -> AnyProblem:
        """Give a case's problem; threads may ask at once."""
        with self._lock:
            if case not in self._problems:
                self._problems[case] = problem_of(case)
            return self._problems[case]

    def put(self, problem: AnyProblem) -> None:
        """Take a problem for its case."""
        with self._lock:
            self._problems[problem.case] = problem

    def expected(self, case: Case) -> Expected:
        """Give what the reference makes of a case's problem."""
        if case not in self._expected:
            expected = expect(self.problem(case))
            check_golden(expected, case)
            self._expected[case] = expected
        return self._expected[case]

    def widened(self, case: Case) -> Expected:
        """Give the same with noise that covers what the network amplifies: for what lies beyond the limit.

        What no healthy implementation determines has an infinite noise, or none (``harness.reference.undetermined``).
        """
        if case not in self._widened:
            problem, expected = self.problem(case), self.expected(case)
            self._widened[case] = without_room(problem, widened(problem, expected, lost=True), expected)
        return self._widened[case]

    def check(self, case: Case) -> None:
        """Check, before anything runs, what only the numbers of a case can show.

        Raises:
            CaseError: If a file it names cannot be used, or its golden values contradict its numbers.
        """
        files = any(case.run.values(key).file for key in VALUES)
        if files:
            self.problem(case)
        if case.expect is not None:
            self.expected(case)

    def keep_only(self, case: Case) -> None:
        """Forget all others: for those who go through cases one by one."""
        for other in {*self._problems, *self._expected} - {case}:
            self.drop(other)

    def drop(self, case: Case) -> None:
        """Forget a case."""
        with self._lock:
            self._problems.pop(case, None)
        self._expected.pop(case, None)
        self._widened.pop(case, None)


def measurable(run: RunResult) -> RunResult:
    """Say of an unexplained divergence that the backend, which can be called, can be measured."""
    if not run.diagnosis or run.diagnosis[0].fault != UNEXPLAINED:
        return run
    fact = f"its conventions can be measured: lockstep anatomy {run.backend}"
    return replace(run, diagnosis=[replace(run.diagnosis[0], facts=[*run.diagnosis[0].facts, fact])])


class Seen:
    """What each backend returned, kept until it is known which of them diverge."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._observations: dict[str, list[Observation]] = {}

    def keep(self, problem: AnyProblem, trace: Trace, result: RunResult) -> None:
        """Keep what diverges, and what agrees where it is small: an explanation must reproduce both."""
        size = sum(array.size for array in trace.arrays.values())
        if result.status == "diverge" or size <= SMALL:
            seen = Observation(problem, trace.tensors(problem.case))
            self._observations.setdefault(result.backend, []).append(seen)

    def explained(self, runs: list[RunResult], *, pairs: bool = True) -> list[RunResult]:
        """Give the results with the explanations of those that diverge: one search for each backend.

        ``pairs``: whether to look for several faults of a plain layer at once, which takes longer.
        """
        found: dict[tuple[str, str], list[Diagnosis]] = {}
        unknown = [run for run in runs if run.known is None]
        for backend in dict.fromkeys(run.backend for run in unknown if run.status == "diverge"):
            own = [run for run in unknown if run.backend == backend]
            if backend in self._observations:
                by_case = diagnose_runs(self._observations[backend], own, pairs=pairs)
                found |= {(backend, case): diagnosis for case, diagnosis in by_case.items()}
        runs = [replace(run, diagnosis=found.get((run.backend, run.case), run.diagnosis)) for run in runs]
        return [with_counterfactuals([run], self._observations.get(run.backend, []))[0] for run in runs]


def as_known(result: RunResult, case: Case) -> RunResult:
    """Mark a result that is a known finding."""
    finding = known(result.backend, case, result.status)
    return result if finding is None else replace(result, known=finding.name)


def judge_answer(
    case: Case, backend: str, answer: Outcome, problems: Problems, limit: Limit, *, details: bool = False
) -> RunResult:
    """Turn a worker's answer into a result; ``details``: as of ``run_cases``."""
    if answer.trace is None:
        return RunResult(
            case=case.name, backend=backend, status=answer.status,  # type: ignore[arg-type]
            message=answer.message, stderr=answer.stderr, timesteps=case.run.timesteps, seconds=answer.seconds or {},
        )  # fmt: skip
    try:
        result = judge_trace(case, backend, answer.trace, problems, limit, details=details)
    except MemoryError:
        message = "the reference ran out of memory: the case is too large for this machine"
        return RunResult(case=case.name, backend=backend, status="failed", message=message)
    return replace(result, versions=answer.versions or {}, seconds=answer.seconds or {}, repeatable=answer.repeatable)


def judge_trace(
    case: Case, backend: str, trace: Trace, problems: Problems, limit: Limit, *, details: bool = False
) -> RunResult:
    """Compare a trace with what is expected, and judge it; ``details``: as of ``run_cases``.

    Raises:
        LockstepError: If nothing can be compared, or the case contradicts its golden values.
    """
    expected = problems.expected(case)
    result = _judged(case, backend, trace, problems, expected, limit)
    if result.status == "diverge" and limit.sigma is not None:
        # Is it rounding that the network itself amplifies, all of it or where it seems to begin?
        wider = _judged(case, backend, trace, problems, problems.widened(case), limit)
        if wider.status == "agree" or wider.first_divergence != result.first_divergence:
            expected = problems.widened(case)
            result = replace(wider, notes=[*wider.notes, *notes_of(expected, case)])
    return replace(result, details=details_of(trace.tensors(case), expected, result.tensors)) if details else result


def _judged(case: Case, backend: str, trace: Trace, problems: Problems, expected: Expected, limit: Limit) -> RunResult:
    measured = RunResult(
        case=case.name,
        backend=backend,
        status="agree",
        limit=limit,
        tensors=compare(trace, expected, case, limit),
        local=compare_steps(trace, problems.problem(case), limit),
        parameters=list(trace.parameters),
        device=trace.device,
        timesteps=case.run.timesteps,
    )
    return judge(measured, limit)


FRESH_SEED = 1_000_003  # added to a case's seed for numbers that no search has seen


ATTENTION, NETWORK = "attention", "network"  # families of what ``harness.faults.network_faults`` explains


def judged(
    case: Case, name: str, reply: Outcome, problems: Problems, limit: float | Limit | None, *, details: bool = False
) -> RunResult:
    """Judge a reply, with its notes; ``details``: as of ``harness.jobs.run.run_cases``."""
    result = judge_answer(case, name, reply, problems, limit_for(case, limit), details=details)
    return replace(result, notes=list(reply.notes))


def observed(problems: Sequence[AnyProblem], replies: Sequence[Outcome]) -> list[Observation]:
    """Give what was returned, by lane, where anything was."""
    return [
        Observation(problem, reply.trace.tensors(problem.case))
        for problem, reply in zip(problems, replies, strict=True)
        if reply.trace is not None
    ]


def explained(
    port: Port | LocalPort,
    seen: Sequence[Observation],
    runs: Sequence[RunResult],
    fresh: Callable[[AnyProblem], AnyProblem],
) -> dict[str, list[Diagnosis]]:
    """Explain what diverges in cases beyond one plain layer, by case; what fresh numbers speak against is dropped.

    Args:
        port: What was called, and is called again with other numbers.
        seen: What it returned for these cases, right or wrong.
        runs: The results of the comparison, one for each.
        fresh: Gives a problem like another one, of other numbers.
    """
    if all(run.status != "diverge" for run in runs):
        return {}
    found = diagnose_runs(seen, runs)
    held_against = {case for case, own in found.items() if own and own[0].family in {ATTENTION, NETWORK}}
    if not held_against:
        return found
    problems = [fresh(one.problem) for one in seen if one.problem.case.name in held_against]
    again = observed(problems, port.call(problems))
    if not again:
        return found
    held = {one.fault for one in explain(again)}
    nothing = unexplained(seen, runs)
    kept = {case: [one for one in diagnosis if one.fault in held] for case, diagnosis in found.items()}
    return {case: kept[case] or [nothing] if case in held_against else found[case] for case in found}
