"""Compare a trace with what was expected: per tensor and timestep, by how much and where.

One pass over blocks that fit a processor's cache; no temporary is as large as the trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.case import Case
from harness.errors import CaseError
from harness.noise import LIMIT_SIGMA
from harness.problem import Problem
from harness.reference import Expected, ExpectedTensor, expect_steps
from harness.results import Difference, Golden, Limit, Local, PerTimestep, TensorResult, difference_at, first_beyond
from harness.trace import Trace, check_trace
from harness.ulp import ulp_buffer, ulp_largest

Array = NDArray[Any]

# Values a block: its buffers stay within a processor's second-level cache.
BLOCK = 24_576


def limit_for(case: Case, option: float | None = None) -> Limit:
    """Give the limit of a case: the option's, else the case's own tolerance, else the derived one."""
    if option is not None:
        return Limit("option", sigma=option)
    if case.tolerance is not None:
        return Limit("case", rtol=case.tolerance.rtol, atol=case.tolerance.atol)
    return Limit("derived", sigma=LIMIT_SIGMA)


def compare(trace: Trace, expected: Expected, case: Case, limit: Limit) -> dict[str, TensorResult]:
    """Measure every tensor of a trace against its expected values.

    Returns:
        The differences by tensor, in order of computation; ``harness.results.judge`` gives the verdicts.

    Raises:
        TraceError: If there is nothing to compare, or a tensor has a wrong shape or dtype.
    """
    check_trace(trace, case)
    return {
        name: _measure_tensor(name, actual, expected, case, limit, _golden(name, actual, case))
        for name, actual in trace.tensors().items()
    }


def compare_steps(trace: Trace, problem: Problem, limit: Limit) -> Local | None:
    """Measure each step alone against a reference step from the state that was observed before it.

    Returns:
        The largest sigma at each timestep for c and h; None where the trace lacks one of them.
    """
    if trace.h is None or trace.c is None:
        return None
    T, B, _, H = problem.case.shape
    sigma: dict[str, list[float]] = {"c": [], "h": []}
    for steps in _blocks(T, B * H):
        one_step = expect_steps(problem, trace.h, trace.c, steps)
        for name, actual in (("c", trace.c), ("h", trace.h)):
            sigma[name] += measure(actual[steps], one_step[name], limit)["sigma"].tolist()
    return Local(sigma, first_beyond(sigma, limit.sigma or LIMIT_SIGMA))


def measure(actual: Array, expected: ExpectedTensor, limit: Limit) -> dict[str, Array]:
    """Measure a tensor against its expected values, row by row, in one pass.

    Args:
        actual: What was observed, (rows, B, H), float32 or float64.
        expected: The reference's values with their noise, same shape and dtype.
        limit: What counts as beyond.

    Returns:
        By name, one number for each row: the largest ``sigma``, ``ulp``, ``abs``, ``rel`` and, under
        rtol and atol, ``excess``; where sigma is largest, ``at`` (rows, 2), ``observed`` and
        ``expected``; and how many numbers are ``beyond`` the limit.

    A NaN or infinity that is not expected is infinitely far away; one that is expected, at that place
    and of that kind, is no difference.
    """
    rows, H = len(actual), actual.shape[-1]
    actual = np.ascontiguousarray(actual).reshape(rows, -1)
    expected = expected.reshaped(actual.shape)
    found = _Found.empty(rows, excess=limit.rtol is not None)
    buffers = _Buffers.of(actual)
    with np.errstate(all="ignore"):
        for block in _blocks(rows, actual.shape[1]):
            _measure_block(actual, expected, limit, buffers, found, block)
    worst = np.arange(rows), found.place
    measured = found._asdict() | {
        "at": np.stack([found.place // H, found.place % H], axis=1),
        "observed": actual[worst].astype(np.float64),
        "expected": expected.value[worst].astype(np.float64) + expected.rest[worst],
    }
    del measured["place"]
    return {name: array for name, array in measured.items() if array is not None}


class _Found(NamedTuple):
    """What is measured of each row."""

    sigma: Array
    ulp: Array
    abs: Array
    rel: Array
    beyond: Array
    place: Array  # where sigma is largest
    excess: Array | None

    @classmethod
    def empty(cls, rows: int, *, excess: bool) -> _Found:
        sigma, ulp, largest_abs, rel = np.empty((4, rows))
        beyond, place = np.zeros((2, rows), np.int64)
        return cls(sigma, ulp, largest_abs, rel, beyond, place, np.empty(rows) if excess else None)


class _Buffers(NamedTuple):
    """What one block needs, kept from block to block."""

    distance: Array
    ratio: Array
    bits: Array
    rows: Array

    @classmethod
    def of(cls, actual: Array) -> _Buffers:
        rows = min(len(actual), _block_rows(actual.shape[1]))
        shape = (rows, actual.shape[1])
        distance, ratio = np.empty(shape, actual.dtype), np.empty(shape, actual.dtype)
        return cls(distance, ratio, ulp_buffer(shape, actual.dtype), np.arange(rows))


def _measure_block(
    observed: Array, expected: ExpectedTensor, limit: Limit, buffers: _Buffers, found: _Found, block: slice
) -> None:
    actual, value = observed[block], expected.value[block]
    distance, ratio, bits, every = (buffer[: len(actual)] for buffer in buffers)
    np.subtract(actual, value, out=distance)
    np.subtract(distance, expected.rest[block], out=distance)
    np.abs(distance, out=distance)
    np.divide(distance, expected.noise[block], out=ratio)
    # argmax stops at the first NaN, so the largest ratios show whether there is any.
    place = ratio.argmax(axis=1)
    largest = ratio[every, place]
    peak = largest.max()
    unequal = None
    if not np.isfinite(peak):
        unequal = _settle_nonfinite(actual, value, distance, ratio)
        place = ratio.argmax(axis=1)
        largest = ratio[every, place]
        finite = np.isfinite(actual) & np.isfinite(value)
        actual, value = np.where(finite, actual, 0), np.where(finite, value, 0)
    found.place[block], found.sigma[block] = place, largest
    found.abs[block] = distance.max(axis=1)
    found.ulp[block] = ulp_largest(actual, value, bits)
    if limit.sigma is not None and not peak <= limit.sigma:
        found.beyond[block] = np.count_nonzero(ratio > limit.sigma, axis=1)
    if found.excess is not None:
        excess = _excess(distance, value, limit)
        found.excess[block] = excess.max(axis=1)
        found.beyond[block] = np.count_nonzero(excess > 1, axis=1)
    # ``ratio`` has served: from here on it holds relative differences.
    np.abs(value, out=ratio)
    ratio += np.finfo(ratio.dtype).smallest_normal  # so that nothing is divided by 0
    np.divide(distance, ratio, out=ratio)
    found.rel[block] = ratio.max(axis=1)
    if unequal is not None:
        rows = unequal.any(axis=1)
        found.rel[block][rows] = found.ulp[block][rows] = np.inf


def _settle_nonfinite(actual: Array, value: Array, distance: Array, ratio: Array) -> Array:
    """Set distances to 0 where the same NaN or infinity is on both sides, to infinity where it is on one."""
    same = (actual == value) | (np.isnan(actual) & np.isnan(value))
    finite = np.isfinite(actual) & np.isfinite(value)
    unequal = ~finite & ~same
    for measured in (distance, ratio):
        measured[~finite & same] = 0
        measured[unequal] = np.inf
    return unequal


def _excess(distance: Array, value: Array, limit: Limit) -> Array:
    """Distance over atol + rtol |value|; a distance of 0 is never beyond, not even a tolerance of 0."""
    return np.where(distance == 0, 0, distance / (limit.atol + limit.rtol * np.abs(value)))  # type: ignore[operator]


def _measure_tensor(
    name: str, actual: Array, expected: Expected, case: Case, limit: Limit, golden: Golden | None
) -> TensorResult:
    T, B, _, H = case.shape
    measured = measure(actual.reshape(-1, B, H), expected[name].reshaped((-1, B, H)), limit)
    lists: dict[str, Any] = {key: array.tolist() for key, array in measured.items()}
    lists["at"] = [tuple(place) for place in lists["at"]]
    steps = PerTimestep(**lists)
    return TensorResult(
        verdict="agree", worst=_worst(name, steps, T - 1), first_divergence=None, per_timestep=steps,
        size=actual.size, golden=golden,
    )  # fmt: skip


def _worst(name: str, steps: PerTimestep, final_timestep: int) -> Difference:
    """The largest value of each measure, at the place of the largest sigma."""
    t = max(range(len(steps.sigma)), key=steps.sigma.__getitem__)
    at_largest = difference_at(name, steps, t, final_timestep)
    return Difference(
        at=at_largest.at, observed=at_largest.observed, expected=at_largest.expected, timestep=at_largest.timestep,
        sigma=at_largest.sigma, ulp=max(steps.ulp), abs=max(steps.abs), rel=max(steps.rel),
        excess=None if steps.excess is None else max(steps.excess),
    )  # fmt: skip


def _golden(name: str, actual: Array, case: Case) -> Golden | None:
    """Hold a tensor against the case's own golden values, where it has any for it."""
    if case.expect is None or name not in case.expect.tensors():
        return None
    golden = np.array(case.expect.tensors()[name], np.float64)
    golden = golden.reshape(golden.shape + (1,) * (actual.ndim - golden.ndim))
    with np.errstate(all="ignore"):
        difference = float(np.abs(actual - golden).max())
    if math.isnan(difference):
        difference = math.inf
    agrees = difference <= case.expect.atol
    return Golden("agree" if agrees else "diverge", difference, case.expect.atol, case.expect.source)


def check_golden(expected: Expected, case: Case) -> None:
    """Check the reference itself against the case's golden values.

    Raises:
        CaseError: If they contradict each other: then the case is wrong, or the reference is.
    """
    for name, tensor in expected.items():
        golden = _golden(name, tensor.value.astype(np.float64) + tensor.rest, case)
        if golden is not None and golden.verdict == "diverge":
            raise CaseError(
                f"case {case.name}: its golden {name} ({golden.source}) is {golden.abs:g} away from what its own "
                f"numbers give, beyond its atol = {golden.atol:g}."
            )


def _block_rows(row_size: int) -> int:
    return max(1, BLOCK // max(row_size, 1))


def _blocks(rows: int, row_size: int) -> Iterator[slice]:
    """Cut ``rows`` into blocks of about ``BLOCK`` values, at least one row each."""
    step = _block_rows(row_size)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
