"""Run cases through backends, each framework in a worker of its own, and judge what they give."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from queue import SimpleQueue
from typing import Any

import numpy as np
from msgspec.structs import replace
from threadpoolctl import threadpool_limits

from lockstep.harness.adapters.backend import BackendInfo, by_worker, pairs
from lockstep.harness.adapters.backend_process import THREADS, Answer
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.case import VALUES, Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.comparison.compare import check_golden, compare, compare_steps, limit_for
from lockstep.harness.comparison.details import details_of
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.defaults import JOBS, TIMEOUT
from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
from lockstep.harness.diagnosis.diagnose import diagnose_runs
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.errors import LockstepError
from lockstep.harness.findings import known
from lockstep.harness.reference.exact import description
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


def answers(
    cases: list[Case], backends: list[BackendInfo], problems: Problems, timeout: float = TIMEOUT, jobs: int = JOBS
) -> Iterator[tuple[Case, BackendInfo, Answer]]:
    """Run every case through every backend of its model, the frameworks side by side; give answers as they come.

    ``jobs``: how many frameworks at once; a framework's process ends with its last case.
    """
    groups = by_worker(backends)
    queue: SimpleQueue[tuple[Case, BackendInfo, Answer] | BaseException] = SimpleQueue()
    workers = [Worker(group[0].environment, timeout) for group in groups]
    waiting = deque(zip(workers, groups, strict=True))

    def serve_groups() -> None:
        try:
            while waiting:
                worker, group = waiting.popleft()
                with worker:
                    for case, backend in pairs(cases, group):
                        queue.put((case, backend, _answer(worker, backend, case, problems)))
        except BaseException as error:  # noqa: BLE001 (a fault of ours: whoever waits for the queue must hear of it)
            queue.put(error)

    threads = [threading.Thread(target=serve_groups, daemon=True) for _ in groups[:jobs]]
    for thread in threads:
        thread.start()
    try:
        for _ in pairs(cases, backends):
            answer = queue.get()
            if isinstance(answer, BaseException):
                raise answer
            yield answer
    finally:
        for worker in workers:
            worker.close()


def _answer(worker: Worker, backend: BackendInfo, case: Case, problems: Problems) -> Answer:
    try:
        return worker.run(backend, problems.problem(case))
    except (LockstepError, MemoryError) as error:
        return Answer("failed", message=f"the problem could not be made: {error or 'out of memory'}")


def run_cases(
    cases: list[Case],
    backends: list[BackendInfo],
    *,
    timeout: float = TIMEOUT,
    limit: float | Limit | None = None,
    jobs: int = JOBS,
    on_result: Callable[[RunResult], None] = lambda result: None,
    details: bool = False,
) -> list[RunResult]:
    """Run every case through every backend of its model and judge what they give.

    Args:
        cases: What to run; no two of one name.
        backends: Through what.
        timeout: Seconds for one run.
        limit: Sigma beyond which a number diverges; None leaves it to each case.
        jobs: How many frameworks run at once.
        on_result: Called with each result as it comes.
        details: Whether results tell some places number by number, for a report.

    Returns:
        Results in the order of cases, then backends. An interruption from the keyboard ends the run
        early with the results so far.

    Raises:
        CaseError: If a file that a case names cannot be used, or a case contradicts its golden values.
    """
    problems = Problems()
    for case in cases:
        problems.check(case)
    results: dict[tuple[str, str], RunResult] = {}
    seen = Seen()
    wanted = [(case.name, backend.name) for case, backend in pairs(cases, backends)]
    left = Counter(case for case, _ in wanted)
    # The reference multiplies small matrices: more threads would only take the workers' time.
    with contextlib.suppress(KeyboardInterrupt), threadpool_limits(THREADS):
        for case, backend, answer in answers(cases, backends, problems, timeout, jobs):
            result = judge_answer(case, backend.name, answer, problems, limit_for(case, limit), details=details)
            result = as_known(result, case)
            results[case.name, backend.name] = result
            if answer.trace is not None and result.known is None:  # what is known needs no explanation
                seen.keep(problems.problem(case), answer.trace, result)
            on_result(result)
            left[case.name] -= 1
            if not left[case.name]:
                problems.drop(case)
    return [measurable(run) for run in seen.explained([results[key] for key in wanted if key in results])]


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
    case: Case, backend: str, answer: Answer, problems: Problems, limit: Limit, *, details: bool = False
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


def environment() -> dict[str, Any]:
    """Say where results come from."""
    try:
        ours = version("lockstep-rnn")
    except PackageNotFoundError:
        ours = "not installed"
    return {
        "lockstep": ours,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "reference": {dtype: description(dtype) for dtype in ("float32", "float64")},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": THREADS,
    }
