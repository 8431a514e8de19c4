"""``lockstep run``: cases through backends, each held against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lockstep.harness.bounds import bounds, check_positive
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.settings import JOBS
from lockstep.harness.options import (
    BackendNames,
    CaseName,
    Details,
    GitHub,
    HtmlFolder,
    Jobs,
    JsonFile,
    Limit,
    ModelNames,
    ModelPrefixes,
    Quiet,
    SarifFile,
    Timeout,
)
from lockstep.harness.output.console import FAILED, INTERRUPTED, complain, error_console

if TYPE_CHECKING:
    from lockstep.harness.adapters.backend import BackendInfo
    from lockstep.harness.cases.find import FoundCase
    from lockstep.harness.comparison.results import Limit as LimitAsked
    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.output.write_results import Wanted


def run(
    *case: CaseName,
    backend: BackendNames = None,
    json: JsonFile = None,
    html: HtmlFolder = None,
    timeout: Timeout = None,
    limit: Limit = None,
    jobs: Jobs = JOBS,
    model: ModelNames = None,
    model_prefix: ModelPrefixes = None,
    sarif: SarifFile = None,
    github: GitHub = False,
    quiet: Quiet = False,
    details: Details = False,
) -> int:
    """Run cases through backends and compare each with the reference."""
    from lockstep.harness.output.write_results import Wanted

    check_positive(timeout=timeout, limit=limit, jobs=jobs)
    wanted = Wanted(json, html, sarif, github, quiet, details)
    if model:
        asked, seconds = bounds(limit, timeout, quiet=quiet)
        return _run_models(case, backend, wanted, seconds, asked, jobs, model, model_prefix or [])
    if model_prefix:
        raise LockstepError("--model-prefix says which LSTM of a --model is meant, and there is none.")
    from lockstep.harness.jobs.run import environment
    from lockstep.harness.jobs.selection import asked_for

    asked, seconds = bounds(limit, timeout, quiet=quiet)
    found, backends, count = asked_for(case, backend, quiet=quiet)
    wanted.check()
    arguments = {one.case.name: one.argument for one in found}
    runs = _watched(found, backends, count, wanted, timeout=seconds, limit=asked, jobs=jobs)
    runs = [_with_rerun(result, arguments[result.case], limit=limit, timeout=timeout) for result in runs]
    return _conclude(environment(), runs, found, wanted, count)


def _run_models(
    case: Sequence[str],
    backend: Sequence[str] | None,
    wanted: Wanted,
    timeout: float,
    limit: LimitAsked | None,
    jobs: int,
    model: Sequence[str],
    prefixes: Sequence[str],
) -> int:
    """Run cases with the networks and weights of users' files."""
    from lockstep.harness.adapters.model_reader import ReadError
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.jobs.models import DEFAULT_CASE, Models, forget_bias_of
    from lockstep.harness.jobs.run import environment
    from lockstep.harness.jobs.selection import beside
    from lockstep.harness.output.console import plain

    wanted.check()
    with Models(model, prefixes) as models:
        others = None if backend is None else [name for name in backend if name not in models.names()]
        found = find_cases(case or [DEFAULT_CASE])
        try:
            models.read(timeout, forget_bias_of([one.case for one in found]))
        except ReadError as error:
            complain(str(error))
            return FAILED
        found = models.cases(found, named=bool(case))
        backends, count = beside(models.backends(), found, others, quiet=wanted.quiet)
        for text in [] if wanted.quiet else models.texts():
            wanted.console.print(plain(text), soft_wrap=True, highlight=False)
        runs = _watched(found, backends, count, wanted, timeout=timeout, limit=limit, jobs=jobs)
        arguments = {one.case.name: one.argument for one in found}
        runs = models.explained(runs, found, timeout)
        runs = [models.judged(result, arguments[result.case] if case else None) for result in runs]
        return _conclude({**environment(), "models": models.facts()}, runs, found, wanted, count)


def _watched(
    found: Sequence[FoundCase], backends: list[BackendInfo], count: int, wanted: Wanted, **bounds: Any
) -> list[RunResult]:
    """Run what is wanted, with a bar that shows how far it is; ``bounds``: as of ``run_cases``."""
    from lockstep.harness.jobs.run import run_cases
    from lockstep.harness.output.terminal import advance, progress

    with progress(error_console(), count, quiet=wanted.quiet) as bar:
        return run_cases(
            [one.case for one in found], backends,
            on_result=lambda result: advance(bar, result), details=wanted.numbers, **bounds,
        )  # fmt: skip


def _conclude(
    environment: dict[str, Any], runs: list[RunResult], found: Sequence[FoundCase], wanted: Wanted, count: int
) -> int:
    """Hand over what ran; where it is less than what was to run, somebody interrupted it."""
    from lockstep.harness.cases.info import case_info
    from lockstep.harness.comparison.results import Results
    from lockstep.harness.output.location import Place
    from lockstep.harness.output.write_results import hand_over_as_table

    infos = {one.case.name: case_info(one.case) for one in found}
    results = Results(environment=environment, runs=runs, cases=infos)
    status = hand_over_as_table(results, wanted, {one.case.name: Place(one.path) for one in found})
    if len(runs) < count:
        complain("interrupted; what was done until then is shown, and written where it was asked for.")
        return INTERRUPTED
    return status


def _with_rerun(result: RunResult, argument: str, **options: float | None) -> RunResult:
    import shlex

    from msgspec.structs import replace

    words = ["lockstep", "run", argument, "--backend", result.backend]
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", f"{value:g}"]
    return replace(result, rerun=shlex.join(words))
