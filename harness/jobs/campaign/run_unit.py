"""Run one unit, and a batch of them, inside a worker."""

from __future__ import annotations

import errno
import os
import platform
import time

from msgspec.structs import replace

from lockstep.harness.adapters.backend_process import resident_megabytes
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.precision import as_float32, computed_in_float32, in_dtype
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.hands import Hands, Runner, SharedProblems
from lockstep.harness.jobs.campaign.unit import Ran, Unit, UnitResult
from lockstep.harness.jobs.checks.forms import form_of
from lockstep.harness.jobs.findings import expected_of
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.run import lockstep_version

FURTHER_SECONDS = 10.0  # that the problems of a network have after its first, which is the one that compiles it
LOST_STATUSES = ("crashed", "timeout")  # statuses that a second run in a fresh process must show again
FULL = os.strerror(errno.ENOSPC)


class DiskFullError(LockstepError):
    """There is no room for what a run writes."""


def run_unit(unit: Unit, hands: Hands) -> UnitResult:
    """Run the problems of a unit and judge them; every way to fail is a result.

    Raises:
        DiskFullError: If there is no room for a problem or an answer, which says nothing of the backend.
    """
    runs: list[Ran] = []
    versions: dict[str, str] = {}
    reason: str | None = None
    network = hands.network(unit.problems)
    end = float("inf")
    with hands.runner(unit.backend) as runner:
        for n, case in enumerate(unit.problems):
            if time.monotonic() > end:
                break  # each problem costs it as much as the first: another network tells more
            ran, outcome = run_problem(n, case, unit.backend, hands, network, runner)
            end = min(end, time.monotonic() + FURTHER_SECONDS)
            versions |= outcome.versions
            if ran.verdict == "refused":
                reason = reason or outcome.message
                if case.run.lengths is None:
                    break  # what is refused is the network
                continue
            runs.append(ran)
            if ran.verdict == "timeout":
                break  # the other problems of such a network would take as long
        megabytes = runner.megabytes()
    ours = resident_megabytes()
    worker = None if ours is None else (f"worker {os.getpid()} of {platform.node()}", ours)
    return UnitResult(
        k=unit.k, backend=unit.backend, features=unit.features, runs=tuple(runs), reason=None if runs else reason,
        versions={"lockstep": lockstep_version(), **versions}, machine=platform.node(), megabytes=megabytes,
        worker=worker,
    )  # fmt: skip


def run_problem(
    n: int, case: Case, backend: str, hands: Hands, network: SharedProblems, runner: Runner
) -> tuple[Ran, Outcome]:
    """Run the n-th problem of a network and judge it."""
    start = time.perf_counter()
    case = runner.fitted(case)
    try:
        with network.lock:
            problem = form_of(case).problem(case) if hands.campaign.port else network.problems.problem(case)
            network.problems.put(problem)
    except (LockstepError, MemoryError) as error:
        message = f"the problem could not be made: {error or 'out of memory'}"
        return Ran(n=n, verdict="refused", notes=(message,)), Outcome("unsupported", message=message)
    made = time.perf_counter()
    outcome = runner.run(backend, problem)
    notes: tuple[str, ...] = ()
    if outcome.status in LOST_STATUSES and expected_of(backend, case, outcome.status) is None:
        again = runner.run(backend, problem)
        if again.status not in LOST_STATUSES:
            notes = (f"{outcome.message}; run again, it did not",)
        outcome = again
    if FULL in (outcome.message or ""):
        raise DiskFullError(f"{platform.node()}: the disk is full: {outcome.message}")
    answered = time.perf_counter()
    with network.lock:
        ran = _judged(n, problem.case, backend, hands, network, outcome)
    seconds = {"framework_seconds": answered - made}
    seconds["harness_seconds"] = time.perf_counter() - start - seconds["framework_seconds"]
    return replace(ran, notes=(*notes, *ran.notes), **seconds), outcome


def _judged(n: int, case: Case, backend: str, hands: Hands, network: SharedProblems, outcome: Outcome) -> Ran:
    """What a run came to; of what is known or right without its numbers."""
    if outcome.status == "unsupported":
        return Ran(n=n, verdict="refused")
    finding = expected_of(backend, case)
    ran = Ran(n=n, verdict="agree", expected=None if finding is None else finding.name)
    judge = Judge(network.problems, hands.campaign.limit)
    try:
        sigma = judge.agreement(case, outcome)
        if sigma is not None:  # nearly always
            return replace(ran, sigma=sigma)
        result, case = _result(case, backend, hands, network, outcome)
    except Exception as error:  # noqa: BLE001 (a fault of ours, which is to be found too, not to end a night)
        message = f"judging it raised {type(error).__name__}: {error}"
        return replace(
            ran, verdict="failed", case=case,
            result=RunResult(case=case.name, backend=backend, status="failed", message=message),
        )  # fmt: skip
    ran = replace(
        ran, sigma=None if result.worst is None else result.worst[1].sigma,
        by_copies=network.problems.is_widened(case), in_part=network.problems.is_in_part(case),
    )  # fmt: skip
    if result.status in ("agree", "unsupported"):
        return replace(ran, verdict="agree" if result.status == "agree" else "refused")
    known = expected_of(backend, case, result.status)
    if known is not None:
        return replace(ran, verdict="known", known=known.name, expected=known.name)
    return replace(ran, verdict=result.status, result=result, case=case)


def _result(
    case: Case, backend: str, hands: Hands, network: SharedProblems, outcome: Outcome
) -> tuple[RunResult, Case]:
    """The result of a run, and the case that it was judged by: a port may compute in float32."""
    judge, trace = Judge(network.problems, hands.campaign.limit), outcome.trace
    result = judge.judge_outcome(case, backend, outcome)
    may = hands.campaign.port is not None and case.run.dtype == "float64"
    if result.status != "diverge" or not may or trace is None or not computed_in_float32(trace):
        return result, case
    problem = in_dtype(network.problems.problem(case), "float32")
    network.problems.put(problem)
    return judge.judge_outcome(problem.case, backend, as_float32(outcome)), problem.case
