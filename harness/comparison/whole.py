"""The tensors of a whole model, one for each layer and output, against those of its source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.comparison.compare import measure
from lockstep.harness.comparison.judge import difference_at
from lockstep.harness.comparison.results import Difference, Limit, PerTimestep, TensorResult
from lockstep.harness.reference.expected import ExpectedTensor

# Beside what rounding errors of weights, inputs and layers come to, a number is rounded when it is written.
_LAST_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float64": 2.0**-53}
_FLOAT32 = 2.0**-24


class WholeTensor(Struct, frozen=True):
    """What is expected of one tensor, and by how much rounding moves it."""

    value: Array  # of the source's most exact run
    noise: Array  # standard deviation; NaN where a discrete number depends on rounding
    axis: int | None  # of time
    part: str = ""  # the layer it is the output of

    @classmethod
    def of(cls, exact: Array, narrow: Array, spread: Array, dtype: str, axis: int | None, part: str) -> WholeTensor:
        """From the source's runs: exact, in its own precision, and the mean squares of shaken ones.

        Of so few copies single numbers may lie near each other by chance: half of the noise is that of a whole row, and
        the source's own rounding counts as one more copy.
        """
        if exact.dtype.kind not in "fV":
            return cls(exact, np.where(spread > 0, np.nan, 1e-30), axis, part)
        value = exact.astype(np.float64)
        squares = (spread + _pooled(spread)) / 2 + _pooled((narrow.astype(np.float64) - value) ** 2)
        rounding = _LAST_ROUNDING.get(dtype, _FLOAT32) * np.abs(value)
        return cls(value, np.sqrt(squares + _pooled(rounding**2)) + np.finfo(np.float32).tiny, axis, part)


def _pooled(squares: Array) -> Array:
    """The mean over the last axis, at each of its places."""
    return np.broadcast_to(squares.mean(axis=-1, keepdims=True), squares.shape) if squares.ndim else squares


def compare_whole(arrays: Arrays, expected: dict[str, WholeTensor], limit: Limit) -> dict[str, TensorResult]:
    """Measure and judge tensors in order of computation; a shape that is not the expected one is beyond every limit."""
    parts = list(dict.fromkeys(tensor.part for tensor in expected.values()))
    return {
        name: _measured(name, arrays[name], tensor, limit, parts.index(tensor.part))
        for name, tensor in expected.items()
        if name in arrays
    }


def first_wrong(tensors: dict[str, TensorResult], names: Iterable[str]) -> str | None:
    """The first of some tensors, in order, that is beyond the limit."""
    return next((name for name in names if name in tensors and tensors[name].verdict == "diverge"), None)


def _measured(name: str, actual: Array, expected: WholeTensor, limit: Limit, place: int) -> TensorResult:
    value = expected.value
    if actual.size == value.size and actual.shape != value.shape:
        actual = actual.reshape(value.shape) if _squeezed(actual) == _squeezed(value) else actual
    if actual.shape != value.shape:
        actual = np.full(value.shape, np.nan, np.float32)
    # Floats are counted in the precision of what was given; half precisions and integers in one that holds them.
    dtype = np.float32 if actual.dtype == np.float32 else np.float64
    rows, exact, noise = (_rows(array, expected.axis) for array in (actual, value.astype(np.float64), expected.noise))
    rounded = exact.astype(dtype)
    tensor = ExpectedTensor(rounded, (exact - rounded).astype(dtype), noise.astype(dtype))
    lists = {key: array.tolist() for key, array in measure(rows.astype(dtype), tensor, limit).items()}
    lists["at"] = [tuple(at) for at in lists["at"]]
    steps = PerTimestep(**lists)
    timed = expected.axis is not None
    worst = max(range(len(steps.sigma)), key=steps.sigma.__getitem__)
    measure_of = steps.sigma if limit.sigma is not None else steps.excess or steps.sigma
    bound = limit.sigma if limit.sigma is not None else 1.0
    first = next((row for row, number in enumerate(measure_of) if not number <= bound), None)
    largest = _largest(difference_at(name, steps, worst, 0, timed), steps)
    return TensorResult(
        verdict="agree" if first is None else "diverge", worst=largest,
        first_divergence=None if first is None else difference_at(name, steps, first, 0, timed),
        per_timestep=steps, size=actual.size, layer=place, timed=timed, part=expected.part,
    )  # fmt: skip


def _largest(difference: Difference, steps: PerTimestep) -> Difference:
    return replace(difference, ulp=max(steps.ulp), abs=max(steps.abs), rel=max(steps.rel))


def _squeezed(array: Array) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)


def _rows(array: Array, axis: int | None) -> Array:
    """Time first; one row of what has no time."""
    return np.moveaxis(array, axis, 0) if axis is not None else array[None]
