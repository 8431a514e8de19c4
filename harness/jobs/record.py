"""Traces recorded in one environment, judged in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeGuard

from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.trace import Recorded, check_same_problem, load_trace, save_trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.info import CaseInfo, case_info
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Limit, RunResult, load_results
from lockstep.harness.errors import LockstepError, TraceError
from lockstep.harness.jobs.judge_run import Judge, judge_trace
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.run import environment, outcomes


def record_cases(
    cases: list[Case],
    backends: list[BackendInfo],
    folder: Path,
    *,
    timeout: float,
    on_result: Callable[[RunResult], None] = lambda result: None,
) -> tuple[list[Path], list[RunResult]]:
    """Run every case through every backend and write their traces into a folder.

    Returns:
        The files, and a result for each run that gave none.
    """
    problems = Problems()
    for case in cases:
        problems.check(case)
    files, others = [], []
    for case, backend, answer in outcomes(cases, backends, problems, timeout):
        result = RunResult(
            case=case.name, backend=backend.name, status="agree" if answer.trace else answer.status,  # type: ignore[arg-type]
            message=answer.message, stderr=answer.stderr, timesteps=case.run.timesteps,
        )  # fmt: skip
        on_result(result)
        if answer.trace is None:
            others.append(result)
            continue
        recorded = Recorded(
            case=case,
            problem=problems.problem(case).digest,
            backend=backend.name,
            parameters=answer.trace.parameters,
            device=answer.trace.device,
            versions=answer.versions or {},
            seconds=answer.seconds or {},
            environment=environment(),
            repeatable=answer.repeatable,
        )
        file = folder / f"{case.name}.{backend.name}.safetensors"
        save_trace(file, answer.trace, recorded)
        files.append(file)
    return files, others


class Judged(NamedTuple):
    """What files came to, and what kept other files from being judged."""

    runs: list[RunResult]
    errors: list[LockstepError]
    cases: dict[str, CaseInfo]


def judge_files(
    paths: Iterable[Path], case: Case | None, limit: float | Limit | None, *, details: bool = False
) -> Judged:
    """Judge traces and saved results.

    Args:
        paths: .safetensors files, folders of them, or .json files.
        case: What the traces must have been recorded from; None: what each says.
        limit: Sigma beyond which a number diverges; None leaves it to each case, and to what results say.
        details: Whether results of traces tell some places number by number; saved ones keep what they have.
    """
    runs: list[RunResult] = []
    errors: list[LockstepError] = []
    infos: dict[str, CaseInfo] = {}
    problems = Problems()
    judge_runs = Judge(problems)
    for path in paths:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not files:
            errors.append(TraceError(f"{path}: no trace (*.safetensors) in this folder."))
        for file in files:
            try:
                runs_of_file, infos_of_file = (
                    _judge_results(file, limit)
                    if file.suffix == ".json"
                    else _judge_trace_file(file, case, limit, problems, judge_runs, details=details)
                )
                runs += runs_of_file
                infos |= infos_of_file
            except LockstepError as error:
                errors.append(error)
    return Judged(judge_runs.explain(runs), errors, infos)


def _judge_results(path: Path, limit: float | Limit | None) -> tuple[list[RunResult], dict[str, CaseInfo]]:
    asked = Limit("option", sigma=limit) if isinstance(limit, (int, float)) else limit
    saved = load_results(path)
    return [judge(run, asked) if _counts(asked, run.limit) else run for run in saved.runs], saved.cases


def _counts(asked: Limit | None, stored: Limit | None) -> TypeGuard[Limit]:
    """Whether a limit that is asked for comes before the one that a result was judged by: see ``limit_for``."""
    if asked is None:
        return False
    return asked.origin == "option" or stored is None or stored.origin in {"derived", "pyproject"}


def _judge_trace_file(
    path: Path, case: Case | None, limit: float | Limit | None, problems: Problems, judge_runs: Judge, *, details: bool
) -> tuple[list[RunResult], dict[str, CaseInfo]]:
    trace, recorded = load_trace(path)
    judged_by = case or recorded.case
    problems.keep_only(judged_by)
    problem = problems.problem(judged_by)
    check_same_problem(recorded, problem, path)
    bound = limit_for(judged_by, limit)
    result = judge_trace(judged_by, recorded.backend, trace, problems, bound, details=details)
    judge_runs.keep(problem, trace, result)
    result = replace(
        result, versions=recorded.versions, seconds=recorded.seconds, repeatable=recorded.repeatable,
        rerun=f"lockstep compare {path}",
    )  # fmt: skip
    return [result], {judged_by.name: case_info(judged_by)}
