from __future__ import annotations

import numpy as np
import plain_decoder
import pytest
from decoder_cases import FORMS, make_decoder

from lockstep.harness.cases.decoder_problem import DecoderProblem, problem_of
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.reference.attention import (
    SHARED,
    decoder_values,
    expect_decoder_steps,
)
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.network import expect_network
from lockstep.harness.reference.noise import roundoff
from lockstep.harness.reference.spread import widened

every_form = pytest.mark.parametrize("form", FORMS)
PER_STEP = ("c", "h", "scores", "attention", "context", "y", "logit")


def problem_for(form, **settings) -> DecoderProblem:
    problem = problem_of(make_decoder(**{"dtype": "float64", "gradients": True, "seed": 3, **FORMS[form], **settings}))
    assert isinstance(problem, DecoderProblem)
    return problem


@every_form
def test_values_are_those_of_a_decoder_written_apart(form):
    problem = problem_for(form)
    expected, plain = expect(problem), plain_decoder.values(problem)
    assert set(PER_STEP) <= plain.keys()
    for name, array in plain.items():
        np.testing.assert_allclose(expected[name].value, array.real, rtol=1e-13, atol=1e-14, err_msg=name)


@every_form
def test_gradients_are_those_of_complex_steps(form):
    problem = problem_for(form)
    expected, rng = expect(problem), np.random.default_rng(0)
    checked = set()
    for name, array in problem.arrays().items():
        if f"d{name}" not in expected:
            continue
        checked.add(name)
        for _ in range(8):
            at = tuple(rng.integers(n) for n in array.shape)
            exact = plain_decoder.derivative(problem, name, at)
            assert expected[f"d{name}"].value[at] == pytest.approx(exact, rel=1e-11, abs=1e-13), (name, at)
    assert {"W", "R", "W_tilde", "b_tilde", "W_target", "y0", "h0", "c0"} <= checked
    assert not problem.weights.arrays().keys() - checked - {"b", "b_encoder"}


@every_form
def test_a_shared_weight_has_the_sum_of_the_gradients_of_its_uses(form):
    expected = expect(problem_for(form))
    for name in SHARED:
        if f"d{name}" in expected:
            steps = expected[f"d{name}_t"].value
            np.testing.assert_allclose(steps.sum(axis=0), expected[f"d{name}"].value, rtol=1e-12, atol=1e-14)


@every_form
def test_it_gives_every_tensor_of_the_case_in_its_shape_and_finite_noise(form):
    problem = problem_for(form)
    expected = expect(problem)
    for name, tensor in tensors_of(problem.case).items():
        assert expected[name].value.shape == tensor.shape, name
        assert np.isfinite(expected[name].noise).all(), name
        assert (expected[name].noise > 0).all(), name
    assert list(expected) == list(tensors_of(problem.case))


def test_scores_and_attention_are_zero_past_a_source_and_attention_sums_to_one():
    expected = expect(problem_for("lengths"))
    assert (expected["scores"].value[:, 1, 2:] == 0).all()
    assert (expected["attention"].value[:, 1, 2:] == 0).all()
    np.testing.assert_allclose(expected["attention"].value.sum(axis=-1), 1, rtol=1e-14)


def test_noise_grows_with_the_precision_and_is_that_of_its_rounding():
    noises = {}
    for dtype in ("float64", "float32", "float16"):
        expected = expect(problem_for("dot", dtype=dtype))
        noises[dtype] = float(np.median(expected["y"].noise)) / roundoff(dtype)
    assert all(0.3 < noise < 10 for noise in noises.values()), noises


def test_the_cell_has_the_noise_of_a_plain_layer():
    """One step, no feedback: what the recorded operations carry against the reference of networks."""
    from lockstep.harness.cases.case import Case
    from lockstep.harness.cases.problem import Problem

    problem = problem_for("dot", timesteps=1, gradients=False, dtype="float32")
    w, case = problem.weights, problem.case
    alone = Problem.plain(
        Case(lstm=case.lstm, run=case.run, name="alone"), w.W, w.R, w.b, problem.y0[None], problem.h0, problem.c0
    )
    one, other = expect_network(alone), expect(problem)
    for name in "ch":
        np.testing.assert_allclose(other[name].value, one[name].value, rtol=1e-7)
        np.testing.assert_allclose(other[name].noise, one[name].noise, rtol=0.3)


@pytest.mark.parametrize("form", ["encoder, general, lengths", "encoder, additive, into the cell"])
def test_each_step_alone_from_the_states_of_the_reference_is_the_reference(form):
    problem = problem_for(form, dtype="float32")
    expected = expect(problem)
    observed = {name: expected[name].value for name in ("h", "c", "y", "enc")}
    for name, step in expect_decoder_steps(problem, observed).items():
        np.testing.assert_allclose(step.value, expected[name].value, rtol=2e-5, atol=2e-6, err_msg=name)
        # Noise of one step alone does not accumulate.
        assert (step.noise[-1] <= expected[name].noise[-1] * 1.01).all()


def test_copies_are_put_off_by_about_the_noise_and_the_first_is_exact():
    problem = problem_for("encoder", dtype="float32")
    expected, rng = expect(problem), np.random.default_rng(0)

    def kick(value, variance):
        moved = np.ones((len(value), *(1,) * (value.ndim - 1)))
        moved[0] = 0
        return value + moved * rng.standard_normal(value.shape) * np.sqrt(variance)

    for name, array in decoder_values(problem, 40, kick).items():
        tensor = tensors_of(problem.case)[name]
        copies = np.moveaxis(array, 1, 0) if tensor.timed else array
        np.testing.assert_allclose(copies[0], expected[name].value, rtol=1e-6, atol=1e-7, err_msg=name)
        spread = np.sqrt(np.square(copies[1:] - copies[0]).mean(axis=0))
        ratio = float(np.median(spread / expected[name].noise))
        assert 0.2 < ratio < 3, (name, ratio)


def test_widened_noise_is_never_smaller_and_values_stay():
    problem = problem_for("general", dtype="float32")
    expected = expect(problem)
    for name, wider in widened(problem, expected).items():
        assert (wider.noise >= expected[name].noise).all(), name
        assert wider.value is expected[name].value
