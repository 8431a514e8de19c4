"""Rounding that a network amplifies is no divergence, and a fault remains one."""

from __future__ import annotations

import numpy as np
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.reference.spread import widened


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
    assert Observation(problem, {"h": h, "c": c}).sigma > LIMIT_SIGMA
