"""Canonical weights for tests, and the strategy that draws them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from lockstep.harness.weights.convert import convert
from lockstep.harness.weights.dialects import CANONICAL


def make_weights(I=3, H=4, dtype=np.float32, seed=0):
    """Canonical weights of which no two numbers are alike."""
    rng = np.random.default_rng(seed)
    shapes = {"W": (4 * H, I), "R": (4 * H, H), "b": (4 * H,)}
    numbers = rng.permutation(np.linspace(-2, 2, sum(int(np.prod(shape)) for shape in shapes.values())))
    parts = np.split(numbers.astype(dtype), np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


@st.composite
def weights(draw, dtypes=(np.float16, np.float32, np.float64), **elements):
    """Draw any canonical weights: subnormal numbers, infinities, NaN and negative zeros too."""
    I, H, dtype = draw(st.integers(1, 4)), draw(st.integers(1, 3)), np.dtype(draw(st.sampled_from(dtypes)))
    values = st.floats(width=dtype.itemsize * 8, **elements)
    shapes = {"W": (4 * H, I), "R": (4 * H, H), "b": (4 * H,)}
    return {name: draw(numpy_arrays(dtype, shape, elements=values)) for name, shape in shapes.items()}


def read(arrays, dialect):
    """Canonical weights of those that a dialect stores."""
    return convert(arrays, dialect, CANONICAL)[0]


def assert_same_bits(actual, expected, names=("W", "R", "b")):
    for name in names:
        assert actual[name].dtype == expected[name].dtype
        assert actual[name].tobytes() == expected[name].tobytes(), name
