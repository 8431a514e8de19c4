"""Lockstep from a notebook or a script: results, which a notebook shows as a table.

    from lockstep import check, run

    run(["ones", "probe"], ["numpy_loop", "torch_lstm"])
    check(my_port, case="probe")

``lockstep.assert_agrees`` is ``check`` for scripts that are to stop where something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.run import results_of, run_cases
from lockstep.harness.jobs.selection import select
from lockstep.harness.jobs.settings import JOBS, find_settings
from lockstep.harness.testing import Names, assert_agrees, list_names


def run(
    case: Names | None = None,
    backend: Names | None = None,
    *,
    limit: float | None = None,
    timeout: float | None = None,
    jobs: int = JOBS,
    on_result: Callable[[RunResult], None] = lambda result: None,
) -> Results:
    """Run cases through backends and compare each with the reference, as ``lockstep run`` does.

    Args:
        case: The name of a shipped case, a case file or a folder of them, or several; None is all shipped ones.
        backend: The name of a backend, or several; None is one way of each framework that is installed, "*" all.
        limit: Sigma beyond which a number diverges; None leaves it to each case, then to the project's settings.
        timeout: Seconds for one run of one backend; None leaves it to the project's settings, or is 120.
        jobs: How many frameworks run at the same time.
        on_result: Called with each result as it comes.

    Returns:
        The results in the order of cases, then backends.

    Raises:
        LockstepError: If the request is wrong: an unknown case or backend, a limit that is no number.
    """
    check_positive("{}=", limit=limit, timeout=timeout)
    if jobs < 1:
        raise LockstepError(f"jobs={jobs}: must be 1 or above.")
    selection = select(list_names(case, "case"), list_names(backend, "backend"))
    settings = find_settings(Path.cwd())
    cases = [found_case.case for found_case in selection.cases]
    runs = run_cases(
        cases, selection.backends,
        timeout=settings.timeout_or(timeout), limit=settings.limit_or(limit), jobs=jobs, on_result=on_result,
    )  # fmt: skip
    return results_of(cases, runs)


def check(port: Callable[..., Any], **options: Any) -> Results:
    """Check a port, as ``lockstep check`` does; the results come also where it does not agree.

    Args:
        port: As of ``lockstep.assert_agrees``. A function that the notebook itself defines is called in the
            notebook's process, without a time-out.
        options: As of ``lockstep.assert_agrees``.

    Raises:
        LockstepError: If the request is wrong.
    """
    kept: list[Results] = []
    try:
        assert_agrees(port, on_results=kept.append, **options)
    except AssertionError:
        if not kept:  # not of a port that diverges, whose results are there by then
            raise
    return kept[0]


def compare(trace: Trace, problem: AnyProblem, *, limit: float | None = None) -> RunResult:
    """Compare what an implementation returned with what the reference expects of its problem; no cause is looked for.

    Args:
        trace: What it returned.
        problem: What it was given.
        limit: Sigma beyond which a number diverges; None leaves it to the case.

    Raises:
        LockstepError: If nothing can be compared, or a limit is no number.
    """
    check_positive("{}=", limit=limit)
    problems = Problems()
    problems.put(problem)
    return Judge(problems, limit).judge_trace(problem.case, "trace", trace)
