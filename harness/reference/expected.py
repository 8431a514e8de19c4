"""Expected values with their noise, as they are kept and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lockstep.harness.arrays import Array, let_go, room
from lockstep.harness.reference.noise import Noise


@dataclass(frozen=True, eq=False)
class Quantity:
    """A tensor as it is kept, in any dtype: exact numbers, or ``value + rest`` with their noise."""

    value: Array
    rest: Array | None = None
    noise: Array | None = None

    def each(self, function: Callable[..., Array], *others: Quantity) -> Self:
        """Apply a function that only moves numbers; of several tensors it takes one array each."""
        parts = zip(*((known.value, known.rest, known.noise) for known in (self, *others)), strict=True)
        return type(self)(*(None if arrays[0] is None else function(*arrays) for arrays in parts))  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """The bytes of all its arrays."""
        return sum(array.nbytes for array in (self.value, self.rest, self.noise) if array is not None)

    def let_go(self) -> None:
        """Take what lies in files out of the memory."""
        let_go(self.value, self.rest, self.noise)

    def at(self, rows: Any) -> Self:
        """Some of the rows."""
        return self.each(lambda array: array[rows])

    def precise(self, rows: Any, noise: Noise) -> tuple[Array, Array | None]:
        """Values and variances of some rows, in the reference's precision."""
        value = noise.taken(self.value[rows])
        if self.rest is not None:
            value += self.rest[rows]
        # Squared in the wider precision: in float32 the square of a small noise would be 0.
        return value, None if self.noise is None else np.square(self.noise[rows], dtype=noise.precision)


@dataclass(frozen=True, eq=False)
class ExpectedTensor(Quantity):
    """One tensor's expected values and their noise: three arrays of its shape, in the case's dtype.

    The expected value is ``value + rest``: rounded to the dtype, and what that rounding cut off. So
    differences are exact where they are small, in the arithmetic of the dtype itself. Half precisions
    are kept in float32, which holds all their values.
    """

    value: Array
    rest: Array  # type: ignore[misc]
    noise: Array  # type: ignore[misc]  # standard deviation of a healthy implementation's rounding; never 0

    @classmethod
    def empty(cls, shape: tuple[int, ...], noise: Noise) -> ExpectedTensor:
        """Make room for values of that shape."""
        whole = room((3, *shape), noise.dtype)
        return cls(whole[0, ...], whole[1, ...], whole[2, ...])

    @classmethod
    def of(cls, exact: Array, variance: Array, noise: Noise) -> ExpectedTensor:
        """Split exact values, and take the roots of their variances."""
        tensor = cls.empty(exact.shape, noise)
        tensor.put(..., exact, variance, noise)
        return tensor

    def put(self, rows: Any, exact: Array, variance: Array, noise: Noise) -> None:
        """Set some rows from exact values and variances."""
        # Of float16 alone: it is kept in float32, which has room for what is infinite in float16.
        if noise.largest < np.inf:
            exact = np.where(np.abs(exact) >= noise.largest, np.copysign(np.inf, exact), exact)
        self.value[rows] = exact
        remainder = exact - self.value[rows]
        # Where the value itself is not finite in the dtype, nothing is left over.
        self.rest[rows] = np.where(np.isfinite(remainder), remainder, 0)
        self.noise[rows] = np.sqrt(np.maximum(variance, noise.floor))


LaneResults = dict[str, Quantity]
Expected = dict[str, ExpectedTensor]
