"""Rounding that a network amplifies is no divergence, and a fault remains one."""

from __future__ import annotations

import numpy as np
from faulty_lstm import make_port
from lstm_cases import make_case

from harness.case import Values
from harness.compare import limit_for
from harness.execution import CANONICAL
from harness.noise import LIMIT_SIGMA
from harness.observation import Observation
from harness.problem import Problem
from harness.reference import expect
from harness.run import Problems, judge_trace
from harness.spread import undetermined_from, widened
from harness.trace import Trace


def chaotic(**changes):
    weights = Values(kind="ones", scale=0.9)
    settings = {"timesteps": 40, "batch": 2, "input_size": 3, "hidden_size": 24, "seed": 3, **changes}
    inputs = Values(kind="uniform", scale=0.5)
    return Problem.from_case(make_case(weights=weights, inputs=inputs, initial_state="zeros", **settings))


def test_noise_never_shrinks():
    problem = Problem.from_case(make_case(timesteps=9, batch=2, lengths=(9, 4), initial_state="probe"))
    expected = expect(problem)
    wider = widened(problem, expected)
    assert list(wider) == list(expected)
    for name, tensor in wider.items():
        assert tensor.noise.dtype == expected[name].noise.dtype
        assert (tensor.noise >= expected[name].noise).all()
        np.testing.assert_array_equal(tensor.value, expected[name].value)


def test_a_quiet_network_keeps_its_noise():
    problem = Problem.from_case(make_case(timesteps=9, batch=2))
    expected = expect(problem)
    ratio = widened(problem, expected)["h"].noise / expected["h"].noise
    assert np.median(ratio) < 3


def test_it_is_the_same_every_time():
    problem = chaotic()
    expected = expect(problem)
    first, second = widened(problem, expected), widened(problem, expected)
    np.testing.assert_array_equal(first["c"].noise, second["c"].noise)


def test_a_fault_stays_beyond_the_limit():
    problem = chaotic(timesteps=6)
    h, c = make_port("state-reset")(problem.x, {"W": problem.W, "R": problem.R, "b": problem.b}, problem.h0, problem.c0)
    assert Observation(problem, {"h": h, "c": c}).sigma(CANONICAL) > LIMIT_SIGMA


def undetermined(**changes):
    """Three layers whose gates take both signs: from the middle on rounding alone decides."""
    settings = {
        "timesteps": 40, "batch": 2, "input_size": 5, "hidden_size": 16, "num_layers": 3, "direction": "bidirectional",
        "recurrent_activation": "tanh", "activation": "hard_sigmoid_1/6", "cell_activation": "relu", "seed": 5,
    }  # fmt: skip
    weights = Values(kind="probe", scale=3.0)
    return make_case(weights=weights, inputs="uniform", initial_state="probe", **{**settings, **changes})


def test_what_rounding_alone_decides_is_not_judged():
    case = undetermined(gradients=True)
    problem = Problem.from_case(case)
    expected = expect(problem)
    wider = widened(problem, expected, lost=True)
    first = undetermined_from(wider, case)
    assert first is not None
    assert 0 <= first < 40
    assert np.isfinite(wider["h_l0"].noise[0]).all(), "the first layer's first step is determined"
    assert np.isinf(wider["dx"].noise).all()
    assert np.isinf(wider["dW_l2"].noise).all()
    assert np.isfinite(widened(problem, expected)["h_l2"].noise).all(), "only where it is asked for"


def test_sequences_are_lost_one_by_one():
    case = undetermined(lengths=(40, 2), direction="forward")
    problem = Problem.from_case(case)
    noise = widened(problem, expect(problem), lost=True)["c_l2"].noise
    assert np.isinf(noise[-1, 0]).all()
    assert np.isfinite(noise[:, 1]).all()


def test_numbers_before_that_are_judged_and_the_rest_is_said_to_be_lost():
    case = undetermined(direction="forward")
    problems = Problems()
    expected = expect(problems.problem(case))
    names = [f"{kind}_l{layer}" for kind in ("h", "c") for layer in range(3)]
    values = {name: expected[name].value.copy() for name in names}
    last = {name: array.copy() for name, array in values.items()}
    last["c_l2"][-1] += 1e30
    result = judge_trace(case, "mine", Trace(**last), problems, limit_for(case))
    assert result.status == "agree"
    assert "not judged" in result.notes[0]
    values["c_l0"][0] += 1
    assert judge_trace(case, "mine", Trace(**values), problems, limit_for(case)).status == "diverge"
