"""``lockstep run --model``: files as whole models, the first held against itself, the others against the first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.routes.route_process import Exported, serve_file
from lockstep.harness.adapters.user_calls import ask_once
from lockstep.harness.adapters.worker import Process, quiet_environment
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.results import Limit, RunResult
from lockstep.harness.comparison.whole import WholeTensor, compare_whole
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.exports.export import judged, without_outputs
from lockstep.harness.jobs.exports.observe import SourceRun, observe, weights_alone
from lockstep.harness.weights.model_file import ModelFile

AS_A_WHOLE = ", whole"  # ends the name of a file that is run as a whole
_MOST_AXES = 4  # of a tensor that is looked for in any order of its axes


def run_whole(
    files: Sequence[ModelFile], case: Case, timeout: float, limit: float | Limit | None, given: Path | None = None
) -> list[RunResult]:
    """A result for each file that is more than weights; none where the first is nothing but an LSTM.

    Why the first cannot be run whole is the result of the first.
    """
    first, *others = files
    if weights_alone(first):
        return []
    try:
        source = observe(first, case, timeout, given)
    except LockstepError as error:
        reason = str(error).removeprefix(f"{first.name}: ").removesuffix(".")
        return [RunResult(case=case.name, backend=first.name + AS_A_WHOLE, status="unsupported", message=reason)]
    if source.reference.is_lstm and given is None:
        return []
    own = {name: source.reference.narrow[name] for name in source.reference.outputs}
    results = [judged(source, first.name + AS_A_WHOLE, Outcome("ran", Exported(own)), limit)]
    results += [_against(source, file, timeout, limit) for file in others if not weights_alone(file)]
    return [replace(result, size=None) for result in results]


def _against(source: SourceRun, file: ModelFile, timeout: float, limit: float | Limit | None) -> RunResult:
    """A further file with the inputs of the first."""
    question = replace(source.question, file=file)
    with Process(quiet_environment()) as process:
        outcome = ask_once(process, serve_file, (question, source.reference), timeout, Path(file.path))
    if not isinstance(outcome.value, Exported):
        return without_outputs(source, file.name + AS_A_WHOLE, outcome)
    result = judged(source, file.name + AS_A_WHOLE, outcome, limit)
    if result.status != "diverge" or outcome.value.layers is None:
        return result
    told = _first_lost(source, outcome.value.layers, limit_for(replace(source.case, tolerance=None), limit))
    return replace(result, notes=[*result.notes, told])


def _first_lost(source: SourceRun, tensors: Arrays, limit: Limit) -> str:
    """The first layer of the source whose output is nowhere in a file, whatever that calls its own and lays them out.

    What is only missing, as what an exporter has joined with the next layer, is followed by layers that are there.
    """
    by_part = {tensor.part: (name, tensor) for name, tensor in reversed(source.expected.items()) if tensor.part}
    layers = dict(reversed(by_part.values()))  # of each its first output
    there = [name for name, tensor in layers.items() if _is_among(tensor, tensors, limit)]
    order = list(layers)
    last = max((order.index(name) for name in there), default=-1)
    if last == len(order) - 1:
        return "each layer's output is in it: what is computed after the layers differs"
    before = f"; the output of {layers[order[last]].part} is in it" if last >= 0 else ""
    return f"the first layer whose output is nowhere in it is {layers[order[last + 1]].part}{before}"


def _is_among(expected: WholeTensor, tensors: Arrays, limit: Limit) -> bool:
    """Whether an array of these holds what is expected, axes in any order."""
    value = np.squeeze(expected.value)
    for array in tensors.values():
        array = np.squeeze(array)  # noqa: PLW2901
        if array.size != value.size or array.ndim > _MOST_AXES:
            continue
        orders = [axes for axes in permutations(range(array.ndim)) if array.transpose(axes).size]
        if any(_agrees(array.transpose(axes), expected, limit) for axes in orders):
            return True
    return False


def _agrees(array: Array, expected: WholeTensor, limit: Limit) -> bool:
    # A bidirectional layer's directions may lie side by side, or on an axis of their own.
    fitted = array.reshape(expected.value.shape)
    if not np.allclose(fitted, expected.value, rtol=1e-2, atol=1e-3, equal_nan=True):
        return False
    measured = compare_whole({"it": fitted}, {"it": expected}, limit)
    return measured["it"].verdict == "agree"
