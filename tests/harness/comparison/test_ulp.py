"""Distances between floats, against a count by stepping from one to the next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lockstep.harness.comparison.ulp import ulp_distance


def floats(width):
    return st.floats(width=width, allow_nan=False, allow_infinity=True)


def next_float(value, towards):
    with np.errstate(over="ignore"):  # the step from the largest number to infinity is one like any other
        return np.nextafter(value, towards)


def count_steps(a, b):
    steps, value = 0, a
    while value != b:
        value = next_float(value, b)
        steps += 1
    return steps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@example(start=float(np.finfo(np.float32).max), steps=1, up=True)
@given(start=floats(32), steps=st.integers(0, 50), up=st.booleans())
def test_it_counts_the_floats_between(dtype, start, steps, up):
    a = b = dtype(start)
    for _ in range(steps):
        b = next_float(b, dtype(np.inf if up else -np.inf))
    assert ulp_distance(np.array([a]), np.array([b]))[0] == count_steps(a, b)


@given(floats(32), floats(32))
def test_it_is_symmetric_and_zero_only_between_equals(a, b):
    x, y = np.array([a], np.float32), np.array([b], np.float32)
    assert ulp_distance(x, y) == ulp_distance(y, x)
    assert (ulp_distance(x, y)[0] == 0) == (x[0] == y[0])


@given(st.lists(floats(32), min_size=3, max_size=3))
def test_distances_add_up_along_the_line(values):
    a, b, c = (np.array([v], np.float32) for v in sorted(values))
    assert ulp_distance(a, c)[0] == ulp_distance(a, b)[0] + ulp_distance(b, c)[0]


def test_it_does_not_wrap_between_the_ends_of_the_line():
    big = np.finfo(np.float32).max
    expected = 2 * int(np.array([big]).view(np.uint32)[0])
    assert ulp_distance(np.array([-big]), np.array([big]))[0] == expected
    assert ulp_distance(np.array([-np.inf]), np.array([np.inf]))[0] == 2 * 0x7FF0000000000000


def test_mixed_signs_in_one_array_are_each_right():
    a = np.array([-1e-45, 1.0, -0.0], np.float32)
    b = np.array([1e-45, np.nextafter(np.float32(1), np.float32(2)), 0.0], np.float32)
    assert ulp_distance(a, b).tolist() == [2, 1, 0]


def test_different_shapes_and_dtypes_are_refused():
    with pytest.raises(ValueError, match="float32"):
        ulp_distance(np.zeros(2, np.float32), np.zeros(2))
    with pytest.raises(ValueError, match="against"):
        ulp_distance(np.zeros(2), np.zeros(3))
