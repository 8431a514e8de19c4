"""Weights as they are stored, as they are read, and their gradients on the way back to how they are stored.

A reading takes each number of a weight from one place of all stored numbers, times a factor, plus a constant. So a
reordering, a transposition, another lane's array and a constant are one kind of thing, and go back the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.tensors import turned
from lockstep.harness.causes.formats import rounded
from lockstep.harness.reference.noise import Noise

if TYPE_CHECKING:
    from lockstep.harness.causes.tape import Node

CHUNK = 16  # timesteps whose part of a gradient is summed at once

WeightKey = tuple[str, str]  # a lane's label and a weight's name


@dataclass(frozen=True, eq=False)
class WeightReading:
    """Where each number of a weight is taken from: places in all stored numbers, a factor, and a constant."""

    places: Array  # int, of the weight's shape; an axis of candidates may stand in front
    factor: Array | float = 1.0
    constant: Array | float = 0.0
    adds: bool = True  # whether the gradient of what is read adds to that of what is stored
    form: str = ""  # the number format that it is rounded to
    home: Array | None = None  # the places of the weight itself

    def of(self, flat: Array) -> Array:
        """What is read."""
        read = flat[self.places] * self.factor + self.constant
        return rounded(read, self.form) if self.form else read

    def back(self, gradient: Array, size: int, power: int = 1) -> Array:
        """Bring a gradient (..., *shape), or with ``power`` 2 a variance, to all stored numbers: (..., size)."""
        lead = gradient.shape[: gradient.ndim - self.places.ndim]
        spread = np.zeros((*lead, size), gradient.dtype)
        scaled = gradient * np.asarray(self.factor, gradient.dtype) ** power
        rows = spread.reshape(-1, size)
        for row, part in zip(rows, scaled.reshape(len(rows), -1), strict=True):
            # Not by assignment: a number that is read at several places gets the sum of their gradients.
            np.add.at(row, self.places.ravel(), part)
        return spread


class Stored:
    """All weights of a problem, one behind the other."""

    def __init__(self, arrays: Mapping[WeightKey, Array], noise: Noise) -> None:
        """Take the arrays by lane and name."""
        self.shapes = {key: array.shape for key, array in arrays.items()}
        self.flat = np.concatenate([noise.taken(array).ravel() for array in arrays.values()])
        self.size = len(self.flat)
        self._leaves: dict[WeightKey, Leaf] = {}
        starts = np.cumsum([0, *(array.size for array in arrays.values())])
        self._starts = {key: int(start) for key, start in zip(arrays, starts[:-1], strict=True)}

    def leaf(self, key: WeightKey) -> Leaf:
        """A weight as it is stored, for runs that keep no record of its uses."""
        if key not in self._leaves:
            self._leaves[key] = Leaf(key, self.flat[self.places(key)])
        return self._leaves[key]

    def places(self, key: WeightKey) -> Array:
        """Where a weight's numbers stand, in its shape."""
        shape, start = self.shapes[key], self._starts[key]
        return np.arange(start, start + int(np.prod(shape))).reshape(shape)

    def part(self, flat: Array, key: WeightKey) -> Array:
        """A weight's part of (..., size), in its shape."""
        shape, start = self.shapes[key], self._starts[key]
        return flat[..., start : start + int(np.prod(shape))].reshape(*flat.shape[:-1], *shape)


class Leaf:
    """A weight as some timesteps of a lane read it, with the uses that its gradient is made of."""

    def __init__(
        self, key: WeightKey, value: Array, reading: WeightReading | None = None, back: Array | None = None
    ) -> None:
        """Take what is read; ``back`` is what stands in its place on the way back, where that is edited."""
        self.key, self.value, self.reading = key, value, reading
        self.back = value if back is None else back
        self.uses: dict[int, tuple[Node, Node | None]] = {}  # by timestep in the lane's own order

    @cached_property
    def back_square(self) -> Array:
        """The square of what gradients go back through."""
        return np.square(self.back)

    @cached_property
    def turned(self) -> Array:
        """Its transpose, for products from the right."""
        return np.ascontiguousarray(self.value.swapaxes(-1, -2))

    @cached_property
    def turned_square(self) -> Array:
        """The square of that."""
        return np.square(self.turned)

    @property
    def rows(self) -> Array:
        """A bias, to be added to rows: with an axis of sequences where there is one of candidates."""
        return self.value if self.value.ndim == 1 else self.value[..., None, :]


@dataclass
class Gradient:
    """The gradient of a weight: its value and variance, whole and by timestep; in the place of what is stored."""

    value: Array
    variance: Array
    by_timestep: Array | None = None
    by_timestep_variance: Array | None = None


@dataclass
class GradientSums:
    """Makes gradients of the uses that a lane's leaves have collected."""

    noise: Noise
    timesteps: int
    lengths: Array | None = None  # of a reverse lane: uses are brought to the order of time within them
    reverse: bool = False
    stepwise: bool = False  # whether each timestep's part is rounded before it is added, as a decoder's is
    batch: int = -2  # the axis of sequences of what is summed: peepholes' uses have an axis of their rows behind it

    def of(self, leaf: Leaf, *, noisy: bool, by_timestep: bool) -> Gradient | None:
        """The gradient of a leaf, as it is read; None where nothing goes back to it."""
        if not leaf.uses:
            return None
        left, left_var = self._over_time([(t, use[0]) for t, use in leaf.uses.items()])
        self.batch = -3 if leaf.key[1] == "p" else -2
        rights = [(t, use[1]) for t, use in leaf.uses.items() if use[1] is not None]
        right, right_var = self._over_time(rights) if rights else (None, None)
        parts = self._parts(left, left_var, right, right_var, noisy=noisy) if by_timestep or self.stepwise else None
        if self.stepwise and parts is not None:
            return self._running(*parts)
        gradient = self._summed(left, left_var, right, right_var, noisy=noisy)
        if parts is not None:
            gradient.by_timestep, gradient.by_timestep_variance = parts
        return gradient

    def _over_time(self, uses: list[tuple[int, Any]]) -> tuple[Array, Array]:
        """Put uses in their places in time, zeros where there is none."""
        shape = np.broadcast_shapes(*(node.value.shape for _, node in uses))
        value = np.zeros((self.timesteps, *shape), uses[0][1].value.dtype)
        variance = np.zeros_like(value)
        for t, node in uses:
            value[t] = node.value
            if node.variance is not None:
                variance[t] = node.variance
        return value, variance

    def _summed(
        self, left: Array, left_var: Array, right: Array | None, right_var: Array | None, *, noisy: bool
    ) -> Gradient:  # fmt: skip
        """Sum over timesteps and sequences, a chunk of timesteps at a time from the last."""
        total = variance = self.noise.precision(0)
        growth = self.noise.batch_growth(left.shape[self.batch])
        for start in reversed(range(0, len(left), CHUNK)):
            rows = slice(start, start + CHUNK)
            a, b = left[rows], None if right is None else right[rows]
            total = total + _product(a, b, self.batch)
            if noisy:
                a2 = left_var[rows] + growth * np.square(a)
                variance = variance + _product(a2, None if b is None else np.square(b), self.batch)
                if right_var is not None:
                    variance = variance + _product(np.square(a), right_var[rows], self.batch)
                # A running sum is rounded at each term: of a bias at each sequence too.
                terms = len(a) if right is not None else a.shape[0] * a.shape[1]
                variance = variance + terms * self.noise.rounded(np.asarray(total))
        value = np.asarray(total)
        return Gradient(value, np.asarray(variance) if noisy else np.zeros_like(value))

    def _parts(
        self, left: Array, left_var: Array, right: Array | None, right_var: Array | None, *, noisy: bool
    ) -> tuple[Array, Array]:
        """Each timestep's part."""
        if self.reverse:
            left, left_var, right, right_var = (
                None if a is None else _turned(a, self.lengths, self.batch)
                for a in (left, left_var, right, right_var)  # type: ignore[assignment]
            )
        bias = right is None
        growth = self.noise.batch_growth(left.shape[self.batch])
        value = left.sum(axis=self.batch) if bias else np.matmul(*_aligned(left.swapaxes(-1, -2), right))
        if not noisy:
            return value, np.zeros_like(value)
        spread = left_var + growth * np.square(left)
        if right is None:
            variance = spread.sum(axis=1)
        else:
            variance = spread.swapaxes(-1, -2) @ np.square(right)
            if right_var is not None:
                variance = variance + np.square(left).swapaxes(-1, -2) @ right_var
        return value, variance + self.noise.rounded(value)

    def _running(self, value: Array, variance: Array) -> Gradient:
        """A running sum from the last timestep to the first."""
        # As a framework's way back adds them up: from the last timestep to the first.
        partial = np.cumsum(value[::-1], axis=0)
        total = variance.sum(axis=0) + self.noise.rounded(partial[1:]).sum(axis=0)
        return Gradient(partial[-1], total, value, variance)


def _turned(array: Array, lengths: Array | None, batch: int) -> Array:
    """Bring uses to the order of time, whatever stands in front of the axis of sequences."""
    return np.moveaxis(turned(np.moveaxis(array, batch, 1), lengths), 1, batch)


def _product(left: Array, right: Array | None, batch: int) -> Array:
    """Sum over timesteps and sequences the products of (T, B, m) and (T, B, n), or (T, B, ...) itself."""
    if right is None:
        return left.sum(axis=(0, batch))
    if left.ndim == right.ndim == 3:  # noqa: PLR2004
        return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
    left, right = _aligned(left.swapaxes(-1, -2), right)
    return (left @ right).sum(axis=0)


def _aligned(left: Array, right: Array) -> tuple[Array, Array]:
    """Arrays of which one may have an axis of candidates behind that of time."""
    if left.ndim == right.ndim:
        return left, right
    return (left[:, None], right) if left.ndim < right.ndim else (left, right[:, None])
