"""What a port's replies come to: judged like a backend's, and explained by what fresh numbers confirm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from lockstep.harness.adapters.backend_process import Answer
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.diagnosis.diagnose import diagnose_runs
from lockstep.harness.diagnosis.match import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import unexplained
from lockstep.harness.ports.port import LocalPort, Port, Reply
from lockstep.harness.run import Problems, judge_answer

FRESH_SEED = 1_000_003  # added to a case's seed for numbers that no search has seen
ATTENTION, NETWORK = "attention", "network"  # families of what ``harness.faults.network_faults`` explains


def judged(
    case: Case, name: str, reply: Reply, problems: Problems, limit: float | Limit | None, *, details: bool = False
) -> RunResult:
    """Judge a reply, with its notes; ``details``: as of ``harness.run.run_cases``."""
    answer = Answer(
        reply.status, reply.trace, message=reply.message, stderr=reply.stderr, seconds={"run": reply.seconds}
    )
    result = judge_answer(case, name, answer, problems, limit_for(case, limit), details=details)
    return replace(result, notes=list(reply.notes))


def observed(problems: Sequence[AnyProblem], replies: Sequence[Reply]) -> list[Observation]:
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
