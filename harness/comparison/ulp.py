"""Distance between floats, counted in representable floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.harness.arrays import Array


def ulp_distance(actual: Array, expected: Array) -> NDArray[np.uint64]:
    """Count the representable floats between two arrays of one shape and dtype, element by element.

    Returns:
        Distance in ULP, same shape as the inputs; 0 between -0.0 and +0.0, 1 from the largest finite
        number to infinity. Meaningless for NaN.

    Raises:
        ValueError: If shapes or dtypes differ.

    Source: bit ordering of binary formats, IEEE 754-2019, section 3.4.
    """
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ValueError(f"{actual.dtype}{actual.shape} against {expected.dtype}{expected.shape}")
    return _distance(actual, expected, ulp_buffer(actual.shape, actual.dtype)).astype(np.uint64)


def ulp_largest(actual: Array, expected: Array, buffer: Array) -> NDArray[np.uint64]:
    """The largest ``ulp_distance`` of each row of two matrices; ``buffer`` is an integer array of their shape."""
    return _distance(actual, expected, buffer).max(axis=-1).astype(np.uint64)


def ulp_buffer(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Make a buffer for ``ulp_largest``: signed integers of the floats' width."""
    return np.empty(shape, f"i{dtype.itemsize}")


def _distance(actual: Array, expected: Array, buffer: Array) -> Array:
    a, b, unsigned = actual.view(buffer.dtype), expected.view(buffer.dtype), f"u{buffer.itemsize}"
    np.bitwise_xor(a, b, out=buffer)
    if buffer.min(initial=0) >= 0:
        # Same signs everywhere: the bits of both grow with the magnitude.
        np.subtract(a, b, out=buffer)
        return np.abs(buffer, out=buffer).view(unsigned)
    a, b = _ordered(a), _ordered(b)
    # This difference of ordered integers may wrap; as an unsigned number it is right again.
    np.subtract(np.maximum(a, b), np.minimum(a, b), out=buffer)
    return buffer.view(unsigned)


def _ordered(bits: Array) -> Array:
    """Map the bits of floats to integers in the order of the floats, with -0.0 and +0.0 both at 0."""
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits)
