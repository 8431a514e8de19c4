"""Time turned round, as the reverse direction goes through it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def turned(array: Array, lengths: Array | None) -> Array:
    """Turn (T, B, n) round, each sequence within its own length; what lies past it stays where it is."""
    if lengths is None:
        return array[::-1]
    t, n = np.arange(len(array))[:, None], lengths[None, :]
    return array[np.where(t < n, n - 1 - t, t), np.arange(len(lengths))]
