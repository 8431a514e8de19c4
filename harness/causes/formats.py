"""Number formats shorter than a case's own, and rounding to them."""

from __future__ import annotations

import numpy as np

from lockstep.harness.arrays import Array

# Bits of the significand (with the hidden one). Sources: IEEE 754-2019 for binary16; Google's bfloat16; NVIDIA's tf32
# keeps binary16's significand with the exponent of binary32.
FORMATS: dict[str, int] = {"float16": 11, "bfloat16": 8, "tf32": 11, "float32": 24}


def rounded(values: Array, to: str) -> Array:
    """Round to the nearest value of a format, ties to even."""
    if to in {"float16", "float32"}:
        return values.astype(to).astype(values.dtype)
    significand, exponent = np.frexp(values)
    scale = 2.0 ** FORMATS[to]
    return np.ldexp(np.rint(significand * scale) / scale, exponent)
