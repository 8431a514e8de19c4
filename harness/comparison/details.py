"""Details of a run for a report: some places of each tensor number by number, and all of it as a coarse picture.

Everything is kept as text, base64 of packed numbers, so that results stay plain values: ``unpacked`` gives arrays back.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.arrays import Array, let_go
from lockstep.harness.cases.tensors import TIMED, WEIGHT_STEPS, kind_of
from lockstep.harness.comparison.results import Detail, TensorResult

if TYPE_CHECKING:
    from lockstep.harness.reference.expected import ExpectedTensor

Position = tuple[int, ...]

# Of a tensor with more places than ALL_PLACES as many as SPREAD_PLACES are kept, the same for every run of a case.
ALL_PLACES, SPREAD_PLACES = 8, 6
MOST_TIMESTEPS = 200  # that are kept one by one; of more than these two of each bucket
BUCKETS = MOST_TIMESTEPS // 2  # each keeps its first timestep, which every run keeps, and its worst
HEAT_ROWS, HEAT_COLUMNS = 100, 64
# A heat map's codes: 0 is LOWEST sigma or less, HIGHEST_CODE is HIGHEST or more, in between they go by the logarithm.
LOWEST, HIGHEST = 1e-2, 1e6
HIGHEST_CODE, NOT_COMPARABLE = 254, 255
HEAT_CHUNK = 2**18  # numbers looked at together

_FLOAT32 = np.finfo(np.float32)


def details_of(
    arrays: Mapping[str, Array], expected: Mapping[str, ExpectedTensor], tensors: Mapping[str, TensorResult]
) -> dict[str, Detail]:
    """The details of all tensors that have timesteps; their noise is that by which they were judged.

    The results name the places of the worst number and of the first divergence, which are kept.
    """
    return {
        name: detail_of(name, arrays[name], expected[name], tensors[name])
        for name in tensors
        if kind_of(name) in TIMED and name in arrays
    }


def detail_of(name: str, actual: Array, expected: ExpectedTensor, result: TensorResult) -> Detail:
    """The details of one tensor, ``actual`` of shape (T, ...)."""
    shape = actual.shape[1:]
    told_places = [difference.at for difference in (result.worst, result.first_divergence) if difference is not None]
    places = list(dict.fromkeys([*spread_places(shape), *(tuple(at[1:]) for at in told_places)]))
    error = _error(np.stack([actual[:, *at] for at in places]), _at_places(expected, slice(None), places))
    first = result.first_divergence
    t = _kept(error, [] if first is None else [first.timestep])
    columns = _at_places(expected, t, places)
    starts, heat = _heat(kind_of(name), actual, expected)
    let_go(actual)
    expected.let_go()
    return Detail(
        t=t.tolist(),
        at=places,
        expected=packed(columns.value.astype(np.float64) + columns.rest),
        # What is 0 as float32 could not be divided by; of what is not judged nothing is known.
        noise=packed(np.fmax(np.where(np.isnan(columns.noise), np.inf, columns.noise), _FLOAT32.smallest_subnormal)),
        error=packed(error[:, t]),
        units=_units(kind_of(name), shape),
        heat=base64.b64encode(heat.tobytes()).decode(),
        heat_t=starts.tolist(),
    )


def with_counterfactual(detail: Detail, computed: ExpectedTensor, expected: ExpectedTensor) -> Detail:
    """Add what the reference gives otherwise, at the same places and timesteps, in noise from what was expected."""
    ours, theirs = (_at_places(tensor, detail.t, detail.at) for tensor in (expected, computed))
    with np.errstate(all="ignore"):
        distance = (theirs.value.astype(np.float64) - ours.value) + (theirs.rest.astype(np.float64) - ours.rest)
        same = ours.value == theirs.value
        error = distance / unpacked(detail.noise, len(detail.at)).astype(np.float64)
    return replace(detail, counterfactual=packed(np.where(same & np.isnan(distance), 0, error)))


def spread_places(shape: Position) -> list[Position]:
    """Choose places of a tensor, without its time axis: all if they are few, else some from the first to the last."""
    count = int(np.prod(shape))
    kept = range(count) if count <= ALL_PLACES else np.arange(SPREAD_PLACES) * (count - 1) // (SPREAD_PLACES - 1)
    return [tuple(int(index) for index in np.unravel_index(place, shape)) for place in kept]


def packed(array: Array) -> str:
    """Write numbers as base64 of little-endian float32; finite ones beyond its range as its largest."""
    with np.errstate(all="ignore"):
        held = np.where(np.isfinite(array), np.clip(array, _FLOAT32.min, _FLOAT32.max), array)
    return base64.b64encode(held.astype("<f4").tobytes()).decode()


def unpacked(text: str, rows: int) -> Array:
    """What ``packed`` wrote: float32, (rows, numbers a row); a ValueError if it is not so many rows of numbers."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(rows, -1)


def code_of(sigma: Array) -> Array:
    """The codes (uint8) of a heat map for sigma, any shape; NaN is what cannot be compared."""
    with np.errstate(all="ignore"):
        share = (np.log10(np.clip(sigma, LOWEST, HIGHEST)) - np.log10(LOWEST)) / np.log10(HIGHEST / LOWEST)
    return np.where(np.isnan(sigma), NOT_COMPARABLE, np.rint(np.nan_to_num(share) * HIGHEST_CODE)).astype(np.uint8)


def bucket_starts(timesteps: int, most: int) -> Array:
    """Cut timesteps into at most so many buckets of nearly one length, and give the first timestep of each."""
    count = min(timesteps, most)
    return np.arange(count) * timesteps // max(count, 1)


def _at_places(tensor: ExpectedTensor, t: Any, places: Sequence[Position]) -> ExpectedTensor:
    """What was expected at some timesteps of some places, (places, timesteps)."""
    return tensor.each(lambda array: np.stack([array[t, *at] for at in places]))


def _error(actual: Array, expected: ExpectedTensor) -> Array:
    """(observed - expected) / noise, any shape: 0 where both are the same infinity or NaN, or anything goes."""
    observed = actual.astype(expected.value.dtype)
    with np.errstate(all="ignore"):
        error = ((observed - expected.value) - expected.rest) / expected.noise
        same = (observed == expected.value) | (np.isnan(observed) & np.isnan(expected.value))
    return np.where((same & ~np.isfinite(expected.value)) | np.isnan(expected.noise), 0, error)


def _kept(error: Array, always: Iterable[int]) -> Array:
    """Choose timesteps by the errors (places, T) at them: all if they are few, else of each bucket two."""
    timesteps = error.shape[1]
    if timesteps <= MOST_TIMESTEPS:
        return np.arange(timesteps)
    size = np.nan_to_num(np.abs(error), nan=np.inf, posinf=np.inf).max(axis=0)
    starts = bucket_starts(timesteps, BUCKETS)
    worst = [start + int(part.argmax()) for start, part in zip(starts, np.split(size, starts[1:]), strict=True)]
    return np.unique([*starts, *worst, *always, timesteps - 1])


def _units(kind: str, shape: Position) -> int:
    """Count what a heat map has columns for: the last axis, of a weight's gradient the first, its rows."""
    return shape[0] if kind in WEIGHT_STEPS else shape[-1]


def _heat(kind: str, actual: Array, expected: ExpectedTensor) -> tuple[Array, Array]:
    """The first timestep of each row, and the codes (rows, columns) of a tensor's heat map."""
    timesteps, units = len(actual), _units(kind, actual.shape[1:])
    rows = bucket_starts(timesteps, HEAT_ROWS)
    columns = np.arange(0, units, -(-units // HEAT_COLUMNS))
    heat = np.empty((len(rows), len(columns)), np.uint8)
    ends = np.append(rows[1:], timesteps)
    together = max(1, HEAT_CHUNK // max(actual[: ends[0]].size, 1))
    for start in range(0, len(rows), together):
        block = slice(start, min(start + together, len(rows)))
        steps = slice(rows[block][0], ends[block][-1])
        size = np.abs(_error(actual[steps], expected.at(steps)))
        # (timesteps, units): of a weight's gradient units come first, else last.
        shape, across = ((units, -1), 2) if kind in WEIGHT_STEPS else ((-1, units), 1)
        size = size.reshape(len(size), *shape).max(axis=across)
        size = np.maximum.reduceat(size, columns, axis=1)
        heat[block] = code_of(np.maximum.reduceat(size, rows[block] - rows[block][0], axis=0))
    return rows, heat
