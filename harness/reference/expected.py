"""Expected values with their noise, as they are kept and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.reference.noise import Noise


@dataclass(frozen=True, eq=False)
class ExpectedTensor:
    """One tensor's expected values and their noise: three arrays of its shape, in the case's dtype.

    The expected value is ``value + rest``: rounded to the dtype, and what that rounding cut off. So
    differences are exact where they are small, in the arithmetic of the dtype itself. Half precisions
    are kept in float32, which holds all their values.
    """

    value: Array
    rest: Array
    noise: Array  # standard deviation of a healthy implementation's rounding; never 0

    @classmethod
    def empty(cls, shape: tuple[int, ...], noise: Noise) -> ExpectedTensor:
        """Make room for values of that shape."""
        return cls(*(np.empty(shape, noise.dtype) for _ in range(3)))

    @classmethod
    def of(cls, exact: Array, variance: Array, noise: Noise) -> ExpectedTensor:
        """Split exact values, and take the roots of their variances."""
        tensor = cls.empty(exact.shape, noise)
        tensor.put(..., exact, variance, noise)
        return tensor

    def put(self, rows: Any, exact: Array, variance: Array, noise: Noise) -> None:
        """Set some rows from exact values and variances."""
        if noise.largest < np.inf:
            exact = np.where(np.abs(exact) >= noise.largest, np.copysign(np.inf, exact), exact)
        self.value[rows] = exact
        remainder = exact - self.value[rows]
        # Where the value itself is not finite in the dtype, nothing is left over.
        self.rest[rows] = np.where(np.isfinite(remainder), remainder, 0)
        self.noise[rows] = np.sqrt(np.maximum(variance, noise.floor))

    def reshaped(self, shape: tuple[int, ...]) -> ExpectedTensor:
        """The same numbers in another shape."""
        return ExpectedTensor(self.value.reshape(shape), self.rest.reshape(shape), self.noise.reshape(shape))

    def each(self, function: Callable[[Array], Array]) -> ExpectedTensor:
        """Apply a function that only moves numbers."""
        return ExpectedTensor(function(self.value), function(self.rest), function(self.noise))

    def at(self, rows: Any) -> ExpectedTensor:
        """Some of the rows."""
        return ExpectedTensor(self.value[rows], self.rest[rows], self.noise[rows])


Expected = dict[str, ExpectedTensor]
