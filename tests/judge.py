"""What a trace comes to, judged as a run judges it."""

from __future__ import annotations

from collections.abc import Iterable

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems


def judged(case: Case, problem: AnyProblem, trace: Trace) -> RunResult:
    """Judge a trace of a problem that may be another than its case's own."""
    problems = Problems()
    problems.put(problem)
    return Judge(problems).judge_trace(case, "b", trace)


def causes_of(runs: Iterable[RunResult]) -> list[Diagnosis]:
    """What explains the runs that diverge, each cause once."""
    return list({cause.fault: cause for run in runs for cause in run.diagnosis}.values())
