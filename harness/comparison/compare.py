"""Compare a trace with what was expected: per tensor and timestep, by how much and where.

One pass over blocks that fit a processor's cache; no temporary is as large as the trace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.trace import Trace, check_trace
from lockstep.harness.arrays import Array, Arrays, let_go
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import (
    Lane,
    Tensor,
    lanes,
    last_timestep,
    merged,
    name_of,
    split,
    tensors_of,
    turned,
)
from lockstep.harness.comparison.judge import difference_at, first_beyond
from lockstep.harness.comparison.results import Difference, Golden, Limit, Local, PerTimestep, TensorResult
from lockstep.harness.comparison.ulp import ulp_buffer, ulp_largest
from lockstep.harness.errors import CaseError
from lockstep.harness.reference.attention import expect_decoder_steps
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.network import expect_steps
from lockstep.harness.reference.noise import LIMIT_SIGMA

# Values a block: its buffers stay within a processor's second-level cache.
BLOCK = 24_576


def limit_for(case: Case, asked: float | Limit | None = None) -> Limit:
    """The limit of a case: an option's, else the case's own tolerance, else the project's, else the derived one.

    ``asked``: sigma of an option, or a limit with its origin (``harness.jobs.settings``).
    """
    limit = Limit("option", sigma=asked) if isinstance(asked, (int, float)) else asked
    if limit is not None and limit.origin == "option":
        return limit
    if case.tolerance is not None:
        return Limit("case", rtol=case.tolerance.rtol, atol=case.tolerance.atol)
    return limit or Limit("derived", sigma=LIMIT_SIGMA)


def compare(trace: Trace, expected: Expected, case: Case, limit: Limit) -> dict[str, TensorResult]:
    """Measure every tensor of a trace against its expected values.

    Returns:
        The differences by tensor, in order of computation; ``harness.comparison.judge.judge`` gives the verdicts.

    Raises:
        TraceError: If there is nothing to compare, or a tensor has a wrong shape or dtype.
    """
    check_trace(trace, case)
    # Golden values are of weights that nobody rounded to eight bits.
    known, golden = tensors_of(case), {} if trace.quantised else golden_values(case)
    return {
        name: _measure_tensor(known[name], actual, expected[name], case, limit, _golden(name, actual, golden, case))
        for name, actual in trace.tensors(case).items()
    }


def largest_sigma(trace: Trace, expected: Expected, case: Case) -> float:
    """The largest sigma of all numbers of a trace, as ``compare`` gives it; NaN where only that can tell.

    Raises:
        TraceError: As of ``compare``.
    """
    check_trace(trace, case)
    largest = [0.0]
    with np.errstate(all="ignore"):
        for name, actual in trace.tensors(case).items():
            tensor = expected[name]
            for rows in _blocks(len(actual), actual[:1].size):
                part = tensor.at(rows)
                distance = np.abs(actual[rows].astype(part.value.dtype, copy=False) - part.value - part.rest)
                largest.append(float((distance / part.noise).max()))
                let_go(actual)
                tensor.let_go()
    return float(np.max(largest))  # a NaN among them stays one


def compare_steps(trace: Trace, problem: AnyProblem, limit: Limit) -> Local | None:
    """Measure each step alone against a reference step from the state that was observed before it.

    Returns:
        The largest sigma at each timestep for c and h of each lane whose inputs and states are all observed, or for
        what a decoder's step gives; None where there is none.
    """
    tensors, quantised = trace.tensors(problem.case), trace.quantised
    if isinstance(problem, DecoderProblem):
        sigma = _decoder_steps(tensors, problem, limit)
    else:
        by_lane = [_lane_steps(tensors, problem, lane, limit, quantised) for lane in lanes(problem.case.lstm)]
        sigma = {name: series for of_lane in by_lane for name, series in of_lane.items()}
    if not sigma:
        return None
    # Single timesteps are judged by rounding also where the case has a tolerance.
    backwards = problem.case.lstm.direction == "reverse"
    return Local(sigma, first_beyond(sigma, limit.sigma or LIMIT_SIGMA, reverse=backwards))


def _lane_steps(
    tensors: Arrays, problem: Problem, lane: Lane, limit: Limit, quantised: str | None
) -> dict[str, list[float]]:
    case, lstm = problem.case, problem.case.lstm
    names = {kind: name_of(kind, lane, lstm) for kind in ("c", "h")}
    below = [name_of("h", Lane(lane.layer - 1, reverse), lstm) for reverse in lstm.directions if lane.layer]
    if not {*names.values(), *below} <= tensors.keys():
        return {}
    inputs = merged([tensors[name] for name in below], lstm) if below else None
    # In the lane's own order of time, in which one step follows the other.
    states = {
        kind: turned(tensors[name], problem.lengths) if lane.reverse else tensors[name] for kind, name in names.items()
    }
    parts: dict[str, list[Array]] = {name: [] for name in names.values()}
    for steps in _blocks(case.run.timesteps, case.run.batch * lstm.hidden_size):
        one_step = expect_steps(problem, lane, states, inputs, steps, quantised)
        for kind, name in names.items():
            actual, expected = states[kind][steps], one_step[kind]
            if lane.reverse:  # turned round, a row holds another timestep of each sequence
                actual, expected = _rows_of_sequences(actual), expected.each(_rows_of_sequences)
            parts[name].append(measure(actual, expected, limit)["sigma"])
    by_name = {name: np.concatenate(of_steps) for name, of_steps in parts.items()}
    if lane.reverse:  # they go back to their own
        shape = (case.run.timesteps, case.run.batch)
        by_name = {name: turned(by_row.reshape(shape), problem.lengths).max(axis=1) for name, by_row in by_name.items()}
    return {name: series.tolist() for name, series in by_name.items()}


def _rows_of_sequences(array: Array) -> Array:
    """Each sequence of each timestep as a row for itself, (T B, H) of (T, B, H)."""
    return array.reshape(-1, array.shape[-1])


def _decoder_steps(tensors: Arrays, problem: DecoderProblem, limit: Limit) -> dict[str, list[float]]:
    needed = {"h", "c", "y"} if problem.enc is not None else {"h", "c", "y", "enc"}
    if not needed <= tensors.keys():
        return {}
    observed = ((name, tensor) for name, tensor in expect_decoder_steps(problem, tensors).items() if name in tensors)
    return {name: measure(tensors[name], tensor, limit)["sigma"].tolist() for name, tensor in observed}


def measure(actual: Array, expected: ExpectedTensor, limit: Limit) -> dict[str, Array]:
    """Measure a tensor (rows, ...), of any dtype a case may have, against its expected values, in one pass.

    A NaN or infinity that is not expected is infinitely far away; one that is expected, at that place
    and of that kind, is no difference. Where the noise is NaN nothing is.

    Returns:
        By name, one number for each row: the largest ``sigma``, ``ulp``, ``abs``, ``rel`` and, under
        rtol and atol, ``excess``; where sigma is largest, ``at`` (rows, axes), ``observed`` and
        ``expected``; and how many numbers are ``beyond`` the limit.
    """
    rows, row_shape = len(actual), actual.shape[1:]
    actual = np.ascontiguousarray(actual).reshape(rows, -1)
    # Half precisions are measured in the dtype of what is expected, which holds them exactly.
    narrow = actual if actual.dtype != expected.value.dtype else None
    if narrow is not None:
        actual = narrow.astype(expected.value.dtype)
    expected = expected.each(lambda array: array.reshape(actual.shape))
    shape = min(rows, _block_rows(actual.shape[1])), actual.shape[1]
    # What a block needs is kept from block to block.
    buffers = [np.empty(shape, actual.dtype), np.empty(shape, actual.dtype), ulp_buffer(shape, actual.dtype)]
    parts = []
    with np.errstate(all="ignore"):
        for block in _blocks(rows, actual.shape[1]):
            part = _measure_block(actual[block], expected.at(block), limit, buffers)
            if narrow is not None:
                part["ulp"] = _narrow_ulp(narrow[block], expected.at(block), part["ulp"])
            # Here: later a large tensor would be read once more.
            worst = np.arange(rows)[block], part["place"]
            part["observed"] = actual[worst]
            part["expected"] = expected.value[worst].astype(np.float64) + expected.rest[worst]
            parts.append(part)
            let_go(actual, narrow)
            expected.let_go()
    measured = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    place = measured.pop("place")
    return {name: array if name == "beyond" else array.astype(np.float64) for name, array in measured.items()} | {
        "at": np.stack(np.unravel_index(place, row_shape), axis=1)
    }


def _narrow_ulp(actual: Array, expected: ExpectedTensor, wide: Array) -> Array:
    """Count in floats of a half precision; what is infinite where it must not be stays so."""
    value = expected.value
    # Elsewhere zeros stand on both sides, which are no float apart.
    counts = np.isfinite(actual.astype(value.dtype)) & np.isfinite(value) & ~np.isnan(expected.noise)
    zero = np.zeros((), actual.dtype)
    buffer = ulp_buffer(actual.shape, actual.dtype)
    counted = ulp_largest(np.where(counts, actual, zero), np.where(counts, value.astype(actual.dtype), zero), buffer)
    return np.where(np.isinf(wide), wide, counted)


def _measure_block(
    actual: Array, expected: ExpectedTensor, limit: Limit, buffers: Sequence[Array]
) -> dict[str, Array]:  # fmt: skip
    """What ``measure`` gives of some rows, and where sigma is largest in each: ``place``."""
    value, every = expected.value, np.arange(len(actual))
    distance, ratio, bits = (buffer[: len(actual)] for buffer in buffers)
    np.subtract(actual, value, out=distance)
    # Two near numbers differ by a float, without rounding; value + rest would round the rest away.
    np.subtract(distance, expected.rest, out=distance)
    np.abs(distance, out=distance)
    np.divide(distance, expected.noise, out=ratio)
    # argmax stops at the first NaN, so the largest ratios show whether there is any.
    place = ratio.argmax(axis=1)
    sigma = ratio[every, place]
    peak = sigma.max()
    unequal = None
    if not np.isfinite(peak):
        unequal, measurable = _settle_nonfinite(actual, value, expected.noise, distance, ratio)
        place = ratio.argmax(axis=1)
        sigma = ratio[every, place]
        actual, value = np.where(measurable, actual, 0), np.where(measurable, value, 0)
    measured = {"sigma": sigma, "ulp": ulp_largest(actual, value, bits).astype(np.float64), "abs": distance.max(axis=1)}
    beyond = np.zeros(len(actual), np.int64)
    # ``peak`` is not finite where anything was settled above: then numbers are counted as well.
    if limit.sigma is not None and not peak <= limit.sigma:
        beyond = np.count_nonzero(ratio > limit.sigma, axis=1)
    if limit.rtol is not None:
        # A distance of 0 is never beyond, not even a tolerance of 0.
        allowed = limit.atol + limit.rtol * np.abs(value)  # type: ignore[operator]
        excess = np.where(distance == 0, 0, distance / allowed)
        measured["excess"] = excess.max(axis=1)
        beyond = np.count_nonzero(excess > 1, axis=1)
    # ``ratio`` has served: from here on it holds relative differences.
    np.abs(value, out=ratio)
    ratio += np.finfo(ratio.dtype).smallest_normal  # so that nothing is divided by 0
    np.divide(distance, ratio, out=ratio)
    measured["rel"] = ratio.max(axis=1)
    if unequal is not None:
        rows = unequal.any(axis=1)
        measured["rel"][rows] = measured["ulp"][rows] = np.inf
    return measured | {"beyond": beyond, "place": place}


def _settle_nonfinite(actual: Array, value: Array, noise: Array, distance: Array, ratio: Array) -> tuple[Array, Array]:
    """Set distances to 0 where the same NaN or infinity is on both sides, to infinity where it is on one.

    Where the noise is NaN anything is as good (``harness.reference.undetermined``).

    Returns:
        Where that is infinitely far away, and where there are two finite numbers to measure.
    """
    anything = np.isnan(noise)
    same = (actual == value) | (np.isnan(actual) & np.isnan(value)) | anything
    measurable = np.isfinite(actual) & np.isfinite(value) & ~anything
    unequal = ~measurable & ~same
    for measured in (distance, ratio):
        measured[~measurable & same] = 0
        measured[unequal] = np.inf
    return unequal, measurable


def _measure_tensor(
    tensor: Tensor, actual: Array, expected: ExpectedTensor, case: Case, limit: Limit, golden: Golden | None
) -> TensorResult:
    rows = tensor.shape if tensor.timed else (1, *tensor.shape)
    measured = measure(actual.reshape(rows), expected.each(lambda array: array.reshape(rows)), limit)
    lists: dict[str, Any] = {key: array.tolist() for key, array in measured.items()}
    lists["at"] = [tuple(place) for place in lists["at"]]
    steps = PerTimestep(**lists)
    final = last_timestep(tensor.kind, tensor.lane, case.run.timesteps)
    return TensorResult(
        verdict="agree", worst=_worst(tensor.name, steps, final), first_divergence=None, per_timestep=steps,
        size=actual.size, golden=golden, layer=tensor.lane.layer, reverse=tensor.lane.reverse,
    )  # fmt: skip


def _worst(name: str, steps: PerTimestep, final_timestep: int) -> Difference:
    """The largest value of each measure, at the place of the largest sigma."""
    row = max(range(len(steps.sigma)), key=steps.sigma.__getitem__)
    return replace(
        difference_at(name, steps, row, final_timestep), ulp=max(steps.ulp), abs=max(steps.abs), rel=max(steps.rel),
        excess=None if steps.excess is None else max(steps.excess),
    )  # fmt: skip


def golden_values(case: Case) -> dict[str, Array]:
    """A case's golden values by tensor, those of several lanes taken apart."""
    if case.expect is None:
        return {}
    whole = {}
    for name, numbers in case.expect.tensors().items():
        shape, golden = case.natural_shape(name), np.array(numbers, np.float64)
        # Leading axes alone may be given: then a number holds for all places of the others.
        whole[name] = np.broadcast_to(golden.reshape(golden.shape + (1,) * (len(shape) - golden.ndim)), shape)
    return split(whole, case)


def _golden(name: str, actual: Array, golden: dict[str, Array], case: Case) -> Golden | None:
    """Hold a tensor against the case's own golden values, where it has any for it."""
    if case.expect is None or name not in golden:
        return None
    with np.errstate(all="ignore"):
        difference = float(np.abs(actual.astype(np.float64) - golden[name]).max())
    # No limit could be held against NaN, and it would agree with everything.
    if math.isnan(difference):
        difference = math.inf
    agrees = difference <= case.expect.atol
    return Golden("agree" if agrees else "diverge", difference, case.expect.atol, case.expect.source)


def check_golden(expected: Expected, case: Case) -> None:
    """Check the reference itself against the case's golden values.

    Raises:
        CaseError: If they contradict each other: then the case is wrong, or the reference is.
    """
    values = golden_values(case)
    for name in (name for name in expected if name in values):
        golden = _golden(name, expected[name].value.astype(np.float64) + expected[name].rest, values, case)
        if golden is not None and golden.verdict == "diverge":
            raise CaseError(
                f"case {case.name}: its golden {name} ({golden.source}) is {golden.abs:g} away from what its own "
                f"numbers give, beyond its atol = {golden.atol:g}."
            )


def _block_rows(row_size: int) -> int:
    return max(1, BLOCK // max(row_size, 1))


def _blocks(rows: int, row_size: int) -> list[slice]:
    """Cut ``rows`` into blocks of about ``BLOCK`` values, at least one row each."""
    step = _block_rows(row_size)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
