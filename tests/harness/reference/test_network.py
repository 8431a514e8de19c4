"""The reference of every network a case can ask for, against one written apart, and its derivatives."""

from __future__ import annotations

import numpy as np
import plain_lstm
import pytest
from lstm_cases import make_case
from msgspec.structs import replace
from values_alone import backward, forward

from lockstep.backends import numpy_loop
from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.reference.expect import expect

NETWORKS = {
    "plain": {},
    "reverse": {"direction": "reverse"},
    "bidirectional": {"direction": "bidirectional"},
    "stacked": {"num_layers": 3},
    "stacked bidirectional": {"num_layers": 2, "direction": "bidirectional"},
    "lengths": {"lengths": (5, 0, 3)},
    "reverse lengths": {"direction": "reverse", "lengths": (2, 5, 0)},
    "stacked bidirectional lengths": {"num_layers": 2, "direction": "bidirectional", "lengths": (4, 1, 3)},
    "projection": {"proj_size": 2},
    "peepholes": {"peephole": True},
    "clip": {"cell_clip": 0.3},
    "coupled": {"input_forget": True, "forget_bias": 0.0},
    "coupled with peepholes": {"input_forget": True, "forget_bias": 0.0, "peephole": True},
    "no bias": {"bias": False, "forget_bias": 0.0},
    "hard sigmoid": {"recurrent_activation": "hard_sigmoid_0.2"},
    "other hard sigmoid": {"recurrent_activation": "hard_sigmoid_1/6", "weights": Values(kind="probe", scale=4.0)},
    "relu": {"activation": "relu", "cell_activation": "relu"},
    "linear": {"activation": "linear", "cell_activation": "linear", "recurrent_activation": "tanh"},
    "sigmoid for tanh": {"activation": "sigmoid", "cell_activation": "sigmoid"},
    "all of it": {
        "num_layers": 2, "direction": "bidirectional", "proj_size": 3, "peephole": True, "cell_clip": 0.4,
        "recurrent_activation": "hard_sigmoid_0.2", "lengths": (5, 2, 0),
    },
}  # fmt: skip


def problem_of(name, **more):
    settings = {"batch": 3, "initial_state": "probe", "gradients": True, "dtype": "float64", **NETWORKS[name], **more}
    return Problem.from_case(make_case(**settings))


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_one_written_apart_computes(name):
    problem = problem_of(name)
    plain = plain_lstm.run(problem.case, plain_lstm.complex_arrays(problem))
    found = forward(problem)
    lanes = [lane for lane, _ in problem.lanes()]
    single = problem.case.lstm.single
    P = problem.case.lstm.output_size
    for k, lane in enumerate(lanes):
        suffix = "" if single else lane.suffix
        for kind in ("h_n", "c_n"):
            np.testing.assert_allclose(np.float64(found[kind + suffix]), plain[kind][k].real, rtol=0, atol=1e-14)
    for d, lane in enumerate(lanes[-len(problem.case.lstm.directions) :]):
        h = found["h" if single else f"h{lane.suffix}"]
        np.testing.assert_allclose(np.float64(h), plain["h"][..., d * P : (d + 1) * P].real, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_gradients_are_the_derivatives_of_complex_steps(name):
    problem = problem_of(name)
    found = {key: np.float64(array) for key, array in backward(problem).items()}
    rng = np.random.default_rng(0)
    weights = [key for key in problem.arrays() if key not in {"lengths", "dh", "dc"}]
    for key in weights:
        array = problem.arrays()[key]
        if not problem.case.lstm.bias and key[0] == "b":
            continue
        for _ in range(6):
            at = tuple(int(rng.integers(n)) for n in array.shape)
            expected = plain_lstm.derivative(problem, key, at)
            if key in {"h0", "c0"} and not problem.case.lstm.single:
                lane = [lane for lane, _ in problem.lanes()][at[0]]
                actual = found[f"d{key}{lane.suffix}"][at[1:]]
            else:
                actual = found[f"d{key}"][at]
            assert abs(actual - expected) <= 1e-13 * max(1, abs(expected)), (key, at)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_with_noise_are_the_values_alone(name, dtype):
    problem = problem_of(name, dtype=dtype)
    alone, expected = {**forward(problem), **backward(problem)}, expect(problem)
    assert set(alone) <= set(expected)
    for key, tensor in expected.items():
        assert (tensor.noise > 0).all(), key
        assert np.isfinite(tensor.noise).all(), key
        if key in alone:
            kept = tensor.value.astype(np.longdouble) + tensor.rest
            # Two floats of the dtype keep what was computed forward; backward goes on from what was kept.
            np.testing.assert_allclose(np.float64(kept), np.float64(alone[key]), rtol=1e-12, atol=1e-13, err_msg=key)


@pytest.mark.parametrize("name", ["plain", "reverse lengths", "projection", "peepholes", "all of it"])
def test_contributions_of_timesteps_add_up_to_the_gradient(name):
    expected = expect(problem_of(name))
    steps = [key for key in expected if "_t" in key]
    assert steps
    for key in steps:
        total = expected[key].value.sum(axis=0)
        np.testing.assert_allclose(total, expected[key.replace("_t", "", 1)].value, rtol=1e-12, atol=1e-14)


def test_a_contribution_stands_at_its_own_timestep():
    """What only timestep 2 of one sequence gives a cotangent to, in a network that forgets, contributes there."""
    problem = problem_of("reverse lengths", lengths=(4, 5, 0), weights=Values(kind="probe", scale=0.0))
    dh, dc = np.zeros_like(problem.dh), np.zeros_like(problem.dc)
    dh[2, 0] = 1
    lone = Problem(problem.case, problem.weights, problem.x, problem.h0, 0 * problem.c0, problem.lengths, dh, dc)
    steps = np.abs(expect(lone)["dW_t"].value).sum(axis=(1, 2))
    assert steps[2] > 0
    assert steps[:2].sum() == 0  # walked after it, backward: never reached
    assert steps[4] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("timesteps", "batch", "hidden"), [(1000, 2, 32), (1, 3000, 4), (60, 100, 24), (200, 2, 8)])
def test_long_sums_of_weights_gradients_stay_within_their_noise(timesteps, batch, hidden, dtype):
    case = make_case(timesteps=timesteps, batch=batch, hidden_size=hidden, dtype=dtype, gradients=True)
    problem = Problem.from_case(case)
    expected, trace = expect(problem), numpy_loop.run(problem)
    for name in ("dW", "dR", "db"):
        tensor = expected[name]
        sigma = np.abs((trace.arrays[name] - tensor.value) - tensor.rest) / tensor.noise
        assert sigma.max() < 8, name
        assert np.sqrt(np.square(sigma, dtype=np.float64).mean()) < 1.5, name


def test_gradients_through_ten_thousand_timesteps_are_finite_and_have_noise():
    problem = Problem.from_case(make_case(timesteps=10_000, batch=1, gradients=True))
    for name, tensor in expect(problem).items():
        assert np.isfinite(tensor.value).all(), name
        assert (tensor.noise > 0).all(), name
        assert np.isfinite(tensor.noise).all(), name


def test_a_kept_precision_is_told_to_be_wider_than_what_it_judges():
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        problem = Problem.from_case(make_case(dtype=dtype))
        assert forward(problem)["h"].dtype == (np.longdouble if dtype == "float64" else np.float64)


def test_a_half_precision_case_quantises_its_numbers_first():
    problem = Problem.from_case(make_case(dtype="bfloat16"))
    single = Problem.from_case(make_case(dtype="float32"))
    assert problem.W.dtype.name == "bfloat16"
    np.testing.assert_array_equal(problem.W.astype(np.float32), single.W.astype(problem.W.dtype).astype(np.float32))
    weights = tuple(
        tuple(Weights(*(array.astype(np.float64) for array in own.arrays().values())) for own in row)
        for row in problem.weights
    )
    case = replace(problem.case, run=replace(problem.case.run, dtype="float64"))
    exact = Problem(case, weights, *(array.astype(np.float64) for array in (problem.x, problem.h0, problem.c0)))
    np.testing.assert_allclose(np.float64(forward(exact)["h"]), forward(problem)["h"], atol=1e-15)
