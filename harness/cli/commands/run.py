"""``lockstep run``: cases through backends, each held against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lockstep.harness.cli import options
from lockstep.harness.cli.outputs import NO_OUTPUTS, DetailedOutputs
from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.jobs.settings import JOBS
from lockstep.harness.output.console import INTERRUPTED, complain, error_console, plain

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Limit, RunResult
    from lockstep.harness.jobs.selection import Selection


def run(
    *case: options.CaseArguments,
    backend: options.BackendOption = None,
    timeout: options.TimeoutOption = None,
    limit: options.LimitOption = None,
    jobs: options.JobsOption = JOBS,
    model: options.ModelOption = None,
    model_prefix: options.ModelPrefixOption = None,
    outputs: DetailedOutputs = NO_OUTPUTS,
) -> int:
    """Run cases through backends and compare each with the reference."""
    check_positive("--{} ", jobs=jobs)
    asked, seconds = options.bounds(limit, timeout, quiet=outputs.quiet)
    if model:
        return _run_models(case, backend, outputs, seconds, asked, jobs, model, model_prefix or [])
    if model_prefix:
        raise LockstepError("--model-prefix chooses an LSTM of a --model, but no --model is given. Add --model FILE.")
    from msgspec.structs import replace

    from lockstep.harness.jobs.selection import select

    selection = select(case, backend)
    if not outputs.quiet:
        options.tell_left_out(selection)
    outputs.check()
    runs = _watched(selection, outputs, timeout=seconds, limit=asked, jobs=jobs)
    arguments = selection.arguments
    runs = [
        replace(
            run,
            rerun=options.command_line("run", arguments[run.case], backend=run.backend, limit=limit, timeout=timeout),
        )
        for run in runs
    ]
    return _conclude(runs, selection, outputs)


def _run_models(
    case: Sequence[str],
    backend: Sequence[str] | None,
    outputs: DetailedOutputs,
    timeout: float,
    limit: Limit | None,
    jobs: int,
    model: Sequence[str],
    prefixes: Sequence[str],
) -> int:
    """Run cases with the networks and weights of users' files."""
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.jobs.models import DEFAULT_CASE, Models, forget_bias_of
    from lockstep.harness.jobs.selection import select_backends

    outputs.check()
    with Models(model, prefixes) as models:
        names = None if backend is None else [name for name in backend if name not in models.names]
        cases = find_cases(case or [DEFAULT_CASE])
        models.read(timeout, forget_bias_of([found_case.case for found_case in cases]))
        cases = models.cases(cases, named=bool(case))
        selection = select_backends(cases, names, models.backends())
        if not outputs.quiet:
            options.tell_left_out(selection)
            for text in models.texts():
                outputs.console.print(plain(text), soft_wrap=True, highlight=False)
        runs = _watched(selection, outputs, timeout=timeout, limit=limit, jobs=jobs)
        runs = models.explain(runs, cases, timeout)
        arguments = selection.arguments if case else {}
        runs = [models.with_rerun(result, arguments.get(result.case)) for result in runs]
        return _conclude(runs, selection, outputs, models=models.facts())


def _watched(selection: Selection, outputs: DetailedOutputs, **bounds: Any) -> list[RunResult]:
    """Run what was asked for, with a bar that shows how far it is; ``bounds``: as of ``run_cases``."""
    from lockstep.harness.jobs.run import run_cases
    from lockstep.harness.output.terminal import advance, progress

    with progress(error_console(), selection.count, quiet=outputs.quiet) as bar:
        return run_cases(
            [found_case.case for found_case in selection.cases], selection.backends,
            on_result=lambda result: advance(bar, result), details=outputs.numbers, **bounds,
        )  # fmt: skip


def _conclude(runs: list[RunResult], selection: Selection, outputs: DetailedOutputs, **facts: Any) -> int:
    """Write and show what ran; where it is less than what was to run, somebody interrupted it."""
    from lockstep.harness.jobs.run import results_of
    from lockstep.harness.output.location import Place

    results = results_of([found_case.case for found_case in selection.cases], runs, **facts)
    places = {found_case.case.name: Place(found_case.path) for found_case in selection.cases}
    status = outputs.deliver_as_table(results, places)
    # ``run_cases`` gives what there is when somebody presses Ctrl-C.
    if len(runs) < selection.count:
        complain("interrupted: results up to this point are shown, and written to the files that you asked for.")
        return INTERRUPTED
    return status
