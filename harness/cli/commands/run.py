"""``lockstep run``: cases through backends, each held against the reference; ``lockstep cache``: traces it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lockstep.harness.cli import options
from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.outputs import NO_OUTPUTS, DetailedOutputs, Outputs, QuietOption
from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.jobs.settings import JOBS
from lockstep.harness.output.console import INTERRUPTED, complain, console_beside, error_console, say

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.jobs.models import Models
    from lockstep.harness.jobs.selection import Selection


def run(
    *cases: options.CaseArguments,
    case: options.CaseOption = None,
    backend: options.BackendOption = None,
    everything: options.AllOption = False,
    timeout: options.TimeoutOption = None,
    limit: options.LimitOption = None,
    jobs: options.JobsOption = JOBS,
    cached: options.CachedOption = None,
    model: options.ModelOption = None,
    model_prefix: options.ModelPrefixOption = None,
    given: options.InputOption = None,
    scheduler: options.SchedulerOption = None,
    allow_mixed: options.AllowMixedOption = False,
    outputs: DetailedOutputs = NO_OUTPUTS,
) -> int:
    """Run cases through backends and compare each with the reference.

    Without arguments: all shipped cases through one way of each framework that is installed.
    """
    check_positive("--{} ", jobs=jobs)
    names, backends = options.case_names(cases, case), options.backend_names(backend, everything=everything)
    asked, seconds = options.bounds(limit, timeout, quiet=outputs.quiet)
    bounds = {"timeout": seconds, "limit": asked, "jobs": jobs, "cache": options.trace_cache(cached)}
    if scheduler is not None:
        bounds = _on_cluster(bounds, scheduler, allow_mixed=allow_mixed, model=model)
    if model:
        from lockstep.harness.jobs.models import Models

        outputs.check()
        with Models(model, model_prefix or []) as models:
            return _run_models(models, names, backends, outputs, bounds, given)
    if given is not None:
        raise LockstepError("--input gives the inputs of a --model, but no --model is given. Add --model FILE.")
    if model_prefix:
        raise LockstepError("--model-prefix chooses an LSTM of a --model, but no --model is given. Add --model FILE.")
    from msgspec.structs import replace

    selection, runs = _selected(names, backends, outputs, bounds)
    arguments = {found_case.case.name: found_case.argument for found_case in selection.cases}
    runs = [
        replace(
            run,
            rerun=options.command_line("run", arguments[run.case], backend=run.backend, limit=limit, timeout=timeout),
        )
        for run in runs
    ]
    return _conclude(runs, selection, outputs)


def _on_cluster(bounds: dict[str, Any], address: str, *, allow_mixed: bool, model: list[str] | None) -> dict[str, Any]:
    """The bounds of a run whose frameworks are on a cluster."""
    if model or bounds["cache"] is not None:
        asked = "--model" if model else "--cached"
        raise LockstepError(f"{asked} is about files of this machine, and --scheduler runs on others: leave one out.")
    from lockstep.harness.jobs.cluster.outcomes import on_cluster

    return {**bounds, "source": on_cluster(address, allow_mixed=allow_mixed)}


def cache(
    *, clear: Annotated[bool, Argument(help="Remove all traces from the cache.")] = False, quiet: QuietOption = False
) -> int:
    """Tell how large the cache of lockstep run --cached is, or empty it."""
    from lockstep.harness.jobs.cache.store import TraceCache, folder_of_traces
    from lockstep.harness.text import counted

    kept = TraceCache(folder_of_traces())
    count, size = kept.size()
    if clear:
        kept.clear()
    if not quiet:
        where = f"removed from {kept.folder}." if clear else f"in {kept.folder}."
        hint = " Empty it with: lockstep cache --clear" if count and not clear else ""
        say(console_beside(), f"{counted(count, 'trace')}, {size / 1e6:.1f} MB, {where}{hint}")
    return 0


def _run_models(
    models: Models, case: Sequence[str], backend: Sequence[str] | None, outputs: Outputs, bounds: dict[str, Any],
    given: Path | None,
) -> int:  # fmt: skip
    """Run cases with the networks and weights of users' files, and the files as whole models."""
    from msgspec.structs import replace

    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.jobs.exports.files import run_whole
    from lockstep.harness.jobs.models import DEFAULT_CASE
    from lockstep.harness.jobs.run import results_of
    from lockstep.harness.jobs.selection import select_backends
    from lockstep.harness.weights.model_file import CHOOSE

    timeout = bounds["timeout"]
    names = None if backend is None else [name for name in backend if name not in models.names]
    asked = find_cases(case or [DEFAULT_CASE])

    def whole() -> list[RunResult]:
        return [
            replace(run, rerun=models.command(run.case, *([] if given is None else ["--input", str(given)])))
            for found_case in asked
            for run in run_whole(models.files, found_case.case, timeout, bounds["limit"], given)
        ]

    try:
        cases = models.read(asked, timeout, named=bool(case))
    except LockstepError as error:
        # Where none of several LSTMs is chosen, they are compared as what they are: parts of a whole.
        runs = whole() if CHOOSE in str(error) and not any(file.prefix for file in models.files) else []
        if all(run.status == "unsupported" for run in runs):
            raise
        if not outputs.quiet:
            say(outputs.console, f"{models.names[0]} is run as a whole alone: {error}")
        return outputs.deliver_as_table(results_of([found_case.case for found_case in asked], runs))
    selection = select_backends(cases, names, models.backends())
    if not outputs.quiet:
        for text in models.texts():
            say(outputs.console, text)
    runs = _watched(selection, outputs, bounds)
    found_by_name = {found_case.case.name: found_case for found_case in cases}
    runs = [models.explain(run, found_by_name[run.case], timeout, named=bool(case)) for run in runs]
    # Who chooses one LSTM by its name wants that.
    a_part = any(file.prefix for file in models.files)
    if len(runs) == selection.count and (given is not None or (models.loaded[0].model.beside and not a_part)):
        runs += whole()
    return _conclude(runs, selection, outputs, models=models.facts())


def _selected(
    names: Sequence[str], backends: Sequence[str] | None, outputs: Outputs, bounds: dict[str, Any]
) -> tuple[Selection, list[RunResult]]:
    """Select and run what was asked for; here frameworks are imported while the cases are read."""
    from lockstep.harness.adapters.worker import WorkerGroup
    from lockstep.harness.jobs.selection import select

    here, cache = "source" not in bounds, bounds["cache"]
    with WorkerGroup(bounds["timeout"], bounds["jobs"]) as workers:
        selection = select(names, backends, workers.begin if here and cache is None else lambda backends: None)
        outputs.check()
        if here:
            from lockstep.harness.jobs.run import outcomes

            bounds = {**bounds, "source": partial(outcomes, cache=cache, workers=workers)}
        return selection, _watched(selection, outputs, bounds)


def _watched(selection: Selection, outputs: Outputs, bounds: dict[str, Any]) -> list[RunResult]:
    """Run what was asked for, with its number and a bar that shows how far it is; ``bounds``: as of ``run_cases``."""
    from lockstep.harness.adapters.backend import pairs
    from lockstep.harness.jobs.durations import seconds_of, weights
    from lockstep.harness.jobs.run import run_cases
    from lockstep.harness.output.progress import advance, progress

    cases, backends = [found_case.case for found_case in selection.cases], selection.backends
    if not outputs.quiet:
        options.announce(selection, bounds["jobs"])
    each, estimate = weights(cases, backends), seconds_of(cases, backends, bounds["jobs"])
    weight = sum(each[backend.name] for _, backend in pairs(cases, backends))
    with progress(error_console, selection.count, weight=weight, estimate=estimate, quiet=outputs.quiet) as bar:
        return run_cases(
            cases,
            backends,
            on_result=lambda run: advance(bar, run, each[run.backend]),
            details=outputs.numbers,
            **bounds,
        )


def _conclude(runs: list[RunResult], selection: Selection, outputs: Outputs, **facts: Any) -> int:
    """Write and show what ran; where it is less than what was to run, somebody interrupted it."""
    from msgspec.structs import replace

    from lockstep.harness.jobs.run import results_of
    from lockstep.harness.output.location import files_of

    results = results_of([found_case.case for found_case in selection.cases], runs, **facts)
    status = outputs.deliver_as_table(replace(results, files=files_of(selection.cases)))
    # ``run_cases`` gives what there is when somebody presses Ctrl-C.
    if len(runs) < selection.count:
        complain("interrupted: results up to this point are shown, and written to the files that you asked for.")
        return INTERRUPTED
    return status
