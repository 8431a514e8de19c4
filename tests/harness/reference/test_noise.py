"""Numbers that are stored in few bits: their noise is neither blind nor alarming."""

from __future__ import annotations

import numpy as np
import pytest
from lstm_cases import make_case

from lockstep.backends import numpy_loop
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import QUANTISATIONS, Quantisation, extent_of


def stored(problem: Problem, quantised: str) -> Problem:
    """Round a layer's weights as a quantisation stores them."""
    rule = QUANTISATIONS[quantised]

    def kept(kernel):
        if rule.weight_dtype:
            return kernel.astype(rule.weight_dtype).astype(np.float32)
        step = 2 * np.abs(kernel).max() / rule.kernel_steps
        return (np.round(kernel / step) * step).astype(np.float32)

    b = kept(problem.b) if rule.weight_dtype else problem.b
    weights = Weights(kept(problem.W), kept(problem.R), b)
    return Problem(problem.case, ((weights,),), problem.x, problem.h0, problem.c0)


@pytest.mark.parametrize("quantised", QUANTISATIONS)
def test_weights_that_are_rounded_as_it_says_lie_within_its_noise_and_far_beyond_that_of_the_dtype(quantised):
    sigmas, plain = [], []
    for seed in range(8):
        problem = Problem.from_case(make_case(timesteps=12, batch=3, hidden_size=6, seed=seed, initial_state="probe"))
        h = numpy_loop.run(stored(problem, quantised)).h
        for found, noise in ((sigmas, quantised), (plain, None)):
            expected = expect(problem, noise)["h"]
            found.append((h - expected.value) / expected.noise)
    assert np.abs(sigmas).max() < 5
    assert np.sqrt(np.square(sigmas).mean()) > 0.05
    assert np.abs(plain).max() > 50


def test_biases_and_weights_below_what_float16_holds_are_off_by_half_its_smallest_step():
    rule = QUANTISATIONS["weights in float16"]
    bias = np.array([1.0003, -0.2001, 3e-8, 0.0, 7.1e-6])
    off = np.abs(bias.astype(np.float16).astype(float) - bias)
    assert (off <= np.sqrt(rule.of_bias(bias))).all()
    assert np.sqrt(rule.of_bias(bias)) == pytest.approx([1.0003 / 2048, 0.2001 / 2048, 2**-25, 2**-25, 2**-25])
    assert (rule.of_products(np.ones((1, 1)), bias[None], 1) == rule.of_bias(bias)).all()


def test_a_step_is_a_share_of_the_range_and_numbers_that_are_none_have_no_place_in_it():
    rule = Quantisation(kernel_steps=254, input_steps=255)
    kernel, v = np.array([[1.0, -2.0]]), np.array([[3.0], [-2.0], [np.nan]])
    step_of_kernel, step_of_inputs = 4 / 254, 5 / 255
    expected = v * v * step_of_kernel**2 / 12 + step_of_inputs**2 / 12 * np.square(kernel)
    np.testing.assert_allclose(rule.of_products(v, kernel, extent_of(v)), expected)
