"""Seeded numbers: their ranges, their differences, and that they never change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.harness.cases import draws

counts = st.integers(1, 3000)
seeds = st.integers(0, 2**63 - 1)


RAW_BITS = [13176316456090364181, 3373862345472140350, 11877094479300510246]


def test_raw_bits_are_those_of_every_machine():
    assert draws.raw_bits(0, "x", 3).tolist() == RAW_BITS


@given(seeds, counts)
def test_probe_has_no_two_values_of_one_magnitude_even_in_float32(seed, count):
    magnitudes = np.abs(draws.probe(seed, "x", count, 1.0).astype(np.float32))
    assert len(np.unique(magnitudes)) == count


def test_probe_stays_distinct_for_large_weights():
    magnitudes = np.abs(draws.probe(3, "x", 2**21, 0.05).astype(np.float32))
    assert len(np.unique(magnitudes)) == 2**21


@given(seeds, counts, st.floats(1e-3, 10))
def test_probe_keeps_away_from_zero_and_within_its_bound(seed, count, bound):
    magnitudes = np.abs(draws.probe(seed, "x", count, bound))
    assert magnitudes.min() >= bound / 4 * (1 - 1e-15)
    assert magnitudes.max() < bound


@given(seeds, counts, st.floats(1e-3, 10))
def test_uniform_stays_within_its_bound(seed, count, bound):
    values = draws.uniform(seed, "x", count, bound)
    assert -bound <= values.min()
    assert values.max() < bound


@pytest.mark.parametrize("draw", [draws.probe, draws.uniform])
def test_streams_and_seeds_are_independent(draw):
    values = [draw(seed, stream, 1000, 1.0) for seed in (0, 1) for stream in ("a", "b")]
    correlations = np.corrcoef(values)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.15


def test_probe_has_both_signs_and_fills_its_range():
    values = draws.probe(0, "x", 4000, 1.0)
    assert 0.45 < (values > 0).mean() < 0.55
    assert np.abs(np.histogram(np.abs(values), 10, (0.25, 1))[0] - 400).max() <= 1
