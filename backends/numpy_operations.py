"""What the equations of an LSTM are made of, in NumPy: activations and the product of matrices.

Each gives numbers of the dtype it is given. NumPy makes float32 of bfloat16 (ml_dtypes) where a Python float comes in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lockstep.harness.arrays import Array


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), element by element; exp may overflow to infinity, which gives 0."""
    return 1 / (1 + np.exp(-z))


def held(z: Array, low: float, high: float) -> Array:
    """Hold ``z`` in [low, high]."""
    return np.minimum(np.maximum(z, z.dtype.type(low)), z.dtype.type(high))


def hard_sigmoid(z: Array, width: int) -> Array:
    """Hard sigmoid: z / width + 0.5, held in [0, 1]."""
    return held(z / width + z.dtype.type(0.5), 0, 1)


# Names as in a case, ``harness.cases.case.Activation``.
ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid_0.2": lambda z: hard_sigmoid(z, 5),
    "hard_sigmoid_1/6": lambda z: hard_sigmoid(z, 6),
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
}

# f'(z) from a = f(z).
SLOPES = {
    "tanh": lambda a: 1 - a * a,
    "sigmoid": lambda a: a * (1 - a),
    "hard_sigmoid_0.2": lambda a: ((a > 0) & (a < 1)).astype(a.dtype) / 5,
    "hard_sigmoid_1/6": lambda a: ((a > 0) & (a < 1)).astype(a.dtype) / 6,
    "relu": lambda a: (a > 0).astype(a.dtype),
    "linear": np.ones_like,
}


def matmul(a: Array, b: Array) -> Array:
    """A b, summed in float32 where the dtype is narrower, and rounded to it."""
    return (a @ b).astype(a.dtype, copy=False)


def keep(valid: Array | None, new: Array, old: Array) -> Array:
    """What is new for sequences that run at this timestep, (B, 1); the old for the others."""
    return new if valid is None else np.where(valid, new, old)


class Step(NamedTuple):
    """What one timestep gives, (B, H) each, and what it was given."""

    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array  # (B, P)
    h_before: Array  # (B, P)
    c_before: Array
