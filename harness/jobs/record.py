"""Traces recorded in one environment, judged in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.trace import Recorded, Trace, check_same_problem, load_trace, save_trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.info import CaseInfo, case_info
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Limit, RunResult, load_results
from lockstep.harness.errors import LockstepError, TraceError
from lockstep.harness.jobs.judge_run import Judge
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
    """Run every case through every backend, write traces into a folder: the files, and a result where none came."""
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
            case=case, problem=problems.problem(case).digest, backend=backend.name,
            parameters=answer.trace.parameters, device=answer.trace.device, environment=environment(),
            versions=answer.versions, seconds=answer.seconds, repeatable=answer.repeatable,
            quantised=answer.trace.quantised,
        )  # fmt: skip
        # Written at once: a run that is ended keeps what it had recorded.
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
    """Judge traces and saved results: .safetensors files, folders of them, or .json files.

    ``case`` is what the traces must have been recorded from; None: what each says. ``limit`` is a sigma; None leaves it
    to each case, and to what results say. ``details``: whether results of traces tell some places number by number;
    saved ones keep what they have.
    """
    judged = Judged([], [], {})
    problems = Problems()
    judge_traces = Judge(problems, limit, details=details)
    for path in paths:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not files:
            judged.errors.append(TraceError(f"{path}: no trace (*.safetensors) in this folder."))
        for file in files:
            try:
                if file.suffix == ".json":
                    saved = load_results(file)
                    judged.runs.extend(_judged_again(saved.runs, limit))
                    judged.cases.update(saved.cases)
                else:
                    trace, recorded = load_trace(file)
                    judged_by = case or recorded.case
                    problems.keep_only(judged_by)  # one after the other: all at once would fill the memory
                    check_same_problem(recorded, problems.problem(judged_by), file)
                    judged.runs.append(_judge_recording(trace, recorded, judged_by, judge_traces, file))
                    judged.cases[judged_by.name] = case_info(judged_by)
            except LockstepError as error:
                judged.errors.append(error)
    return judged._replace(runs=judge_traces.explain(judged.runs))


def _judged_again(runs: Sequence[RunResult], limit: float | Limit | None) -> list[RunResult]:
    """Results judged by a limit that is asked for, where it comes before their own: see ``limit_for``."""
    asked = Limit("option", sigma=limit) if isinstance(limit, (int, float)) else limit
    if asked is None:
        return list(runs)
    weaker = {None, "derived", "pyproject"}  # whose limits a project's comes before; an option's before all
    by_option = asked.origin == "option"
    return [judge(run, asked) if by_option or (run.limit and run.limit.origin) in weaker else run for run in runs]


def _judge_recording(trace: Trace, recorded: Recorded, case: Case, judge_traces: Judge, file: Path) -> RunResult:
    result = judge_traces.judge_trace(case, recorded.backend, trace)
    judge_traces.keep(case, trace, result)
    return replace(
        result, versions=recorded.versions, seconds=recorded.seconds, repeatable=recorded.repeatable,
        rerun=f"lockstep compare {file}",
    )  # fmt: skip
