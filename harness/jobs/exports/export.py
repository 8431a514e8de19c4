"""``lockstep export``: a whole model through routes, each in a process of its own, held against its source."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.routes.find import Route, find_routes
from lockstep.harness.adapters.routes.route_process import Exported, serve_route
from lockstep.harness.adapters.user_calls import ask_once
from lockstep.harness.adapters.worker import Process, quiet_environment
from lockstep.harness.arrays import Arrays
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.results import First, Limit, RunResult, TensorResult
from lockstep.harness.comparison.whole import WholeTensor, compare_whole, first_wrong
from lockstep.harness.jobs.exports.causes import cause_of, left_out
from lockstep.harness.jobs.exports.observe import SourceRun
from lockstep.harness.text import counted

AGAIN, CHUNKS = ", called again", ", in chunks"  # end the names of what a route gives in further calls

REMEMBERS = "the first call is right: the runtime keeps something from one call to the next"


class RouteBounds(Struct, frozen=True):
    """What holds for all routes of a request."""

    timeout: float
    limit: float | Limit | None = None
    jobs: int = 1
    keep: Path | None = None  # where their files go


def routes_for(source: SourceRun, names: Iterable[str] | None) -> list[Route]:
    """The routes that are asked for, or all that are installed."""
    return find_routes(source.reference.form, names)


def export_case(
    source: SourceRun, routes: Sequence[Route], bounds: RouteBounds, on_result: Callable[[RunResult], None]
) -> list[RunResult]:
    """A result for each route, in their order."""

    def through(route: Route) -> RunResult:
        result = _through(source, route, bounds)
        on_result(result)
        return result

    with ThreadPoolExecutor(bounds.jobs) as pool:
        return list(pool.map(through, routes))


def _through(source: SourceRun, route: Route, bounds: RouteBounds) -> RunResult:
    """The result of one route, whatever came of it; where it diverges it is made once more, layers and all."""
    missing = route.missing()
    if missing is not None:
        return without_outputs(source, route.name, Outcome("unsupported", message=missing))
    with tempfile.TemporaryDirectory(prefix="lockstep-") as temporary:
        place = (bounds.keep or Path(temporary)).absolute() / source.case.name
        folder = place / re.sub(r"[^A-Za-z0-9._-]+", "-to-", route.name)
        asked = partial(_asked, source, route, folder, bounds.timeout)
        outcome = asked(layers=False)
        if not isinstance(outcome.value, Exported):
            return without_outputs(source, route.name, outcome)
        result = judged(source, route.name, outcome, bounds.limit)
        if only_again(result):
            return replace(result, notes=[*result.notes, REMEMBERS])
        return located(source, result, asked(layers=True)) if result.status == "diverge" else result


def only_again(result: RunResult) -> bool:
    """Whether it is right when it is called first, and wrong when it is called again."""
    wrong = [name for name, tensor in result.tensors.items() if tensor.verdict != "agree"]
    return bool(wrong) and all(name.endswith(AGAIN) for name in wrong)


def _asked(source: SourceRun, route: Route, folder: Path, timeout: float, *, layers: bool) -> Outcome:
    question, reference = source.question, source.reference
    with Process(quiet_environment(*route.environment_for(reference.form))) as process:
        return ask_once(
            process, serve_route, (question, reference, route, folder, layers), timeout, Path(question.file.path),
            importing="while its framework was imported: ",
        )  # fmt: skip


def without_outputs(source: SourceRun, name: str, outcome: Outcome) -> RunResult:
    """The result of a route that gave nothing."""
    status: Any = "failed" if outcome.status in {"wrong", "ran"} else outcome.status
    # What a runtime prints beside what it raised repeats it; of one that died it is all that there is.
    printed = outcome.stderr if outcome.raised or status in {"crashed", "timeout"} else None
    return RunResult(
        case=source.case.name, backend=name, status=status, message=outcome.message, stderr=printed,
        timesteps=source.case.run.timesteps, versions=outcome.versions,
    )  # fmt: skip


def judged(source: SourceRun, name: str, outcome: Outcome, asked: float | Limit | None) -> RunResult:
    """The result of what a route gave: as a whole, when it was called again, and in chunks."""
    exported: Exported = outcome.value
    case, reference = source.case, source.reference
    limit = limit_for(replace(case, tolerance=None), asked)  # a case's tolerance is of its own LSTM
    outputs = {output: source.expected[output] for output in reference.outputs}
    tensors = compare_whole(exported.outputs, outputs, limit)
    tensors |= _of_call(exported.again, outputs, limit, AGAIN)
    tensors |= _of_call(exported.chunked, outputs, limit, CHUNKS)
    notes = list(reference.notes)
    notes += [f"it was not run in chunks: {exported.unchunked}"] if exported.unchunked else []
    lacking = [output for output in outputs if output not in exported.outputs]
    notes += [f"it gives no {', '.join(lacking)}"] if lacking else []
    result = RunResult(
        case=case.name, backend=name, status="agree", limit=limit, tensors=tensors, notes=notes,
        versions=outcome.versions, repeatable=exported.again is None, timesteps=case.run.timesteps, size=exported.size,
    )  # fmt: skip
    return _with_verdict(result, list(tensors))


def _of_call(
    arrays: Arrays | None, outputs: dict[str, WholeTensor], limit: Limit, ending: str
) -> dict[str, TensorResult]:
    """The tensors of a further call, by names that say so."""
    tensors = {} if arrays is None else compare_whole(arrays, outputs, limit)
    return {f"{name}{ending}": tensor for name, tensor in tensors.items()}


def _with_verdict(result: RunResult, order: Sequence[str]) -> RunResult:
    """The result with what its tensors come to: the first in order that is wrong."""
    wrong = first_wrong(result.tensors, order)
    if wrong is None:
        return result
    first = result.tensors[wrong].first_divergence
    return replace(result, status="diverge", first_divergence=First(wrong, first.timestep if first else 0))


def located(source: SourceRun, result: RunResult, outcome: Outcome) -> RunResult:
    """A result that diverges, with the first layer that does, and why where that is an LSTM."""
    exported = outcome.value
    if not isinstance(exported, Exported) or exported.layers is None:
        why = exported.without_layers if isinstance(exported, Exported) else outcome.message
        return replace(result, notes=[*result.notes, f"which layer it is cannot be seen: {why}"])
    limit = result.limit
    assert limit is not None
    seen = compare_whole(exported.layers, source.expected, limit)
    result = _with_verdict(replace(result, tensors={**seen, **result.tensors}), [*seen, *result.tensors])
    wrong = first_wrong(seen, seen)
    if wrong is None:
        note = "with its layers' outputs as further outputs it is right: how the runtime joins layers makes it wrong"
        return replace(result, notes=[*result.notes, note])
    part, right = seen[wrong].part, {tensor.part for tensor in seen.values() if tensor.verdict == "agree"} - {""}
    told = f"the first layer whose output differs is {part}" if part else "what is computed after its layers differs"
    layers = {tensor.part for tensor in seen.values()} - {""}
    told += f"; {counted(len(right - {part}), 'layer')} of {len(layers)} right" if layers else ""
    diagnosis = left_out(source, exported.layers, limit)
    diagnosis = diagnosis or cause_of(source.reference, source.case, result, exported.layers)
    return replace(result, notes=[*result.notes, told], diagnosis=diagnosis)
