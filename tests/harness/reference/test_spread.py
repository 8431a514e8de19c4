"""Rounding that a network amplifies is no divergence, and a fault remains one."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.reference import spread
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import LIMIT_SIGMA, Kicks
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


@pytest.mark.parametrize("fitting", [1.2, 3])  # sequences with all their copies; less: some of the copies at a time
def test_a_problem_too_long_for_its_copies_has_few_of_some_sequences_at_a_time(monkeypatch, fitting):
    case = make_case(
        timesteps=12, batch=5, num_layers=2, gradients=True, initial_state="probe", lengths=(12, 0, 7, 12, 3)
    )  # fmt: skip
    problem = Problem.from_case(case)
    whole, expected = spread._spreads(problem, Kicks(25), None, lost=False), expect(problem)
    of_sequence = spread._numbers(problem) // 5
    monkeypatch.setattr(spread, "MOST_COPIED_NUMBERS", int(of_sequence * fitting * (7 if fitting > 2 else 2)))
    assert not spread.copies_of(problem)
    parts = spread._spreads_in_parts(problem, None, lost=False)
    assert parts.keys() == whole.keys()
    for name, array in parts.items():
        assert array.shape == expected[name].value.shape, name
        ratio = np.sqrt(np.square(array).mean()) / np.sqrt(np.square(whole[name]).mean())
        assert 0.4 < ratio < 3, name
    # Each sequence has its own: padding, which is exact, is none.
    assert not parts["h_l1"][:, 1].any()
    assert parts["h_l1"][:7, 2].any()
    assert not parts["h_l1"][7:, 2].any()
    wider = widened(problem, expected)
    assert (wider["dx"].noise >= parts["dx"].astype(np.float32)).all()


def test_what_no_copy_fits_keeps_its_noise(monkeypatch):
    problem = Problem.from_case(make_case(timesteps=9, batch=2))
    expected = expect(problem)
    monkeypatch.setattr(spread, "MOST_COPIED_NUMBERS", 10)
    assert widened(problem, expected)["h"] is expected["h"]


@pytest.mark.slow
def test_a_healthy_port_over_a_thousand_timesteps_agrees():
    """What rounding leaves in the states stays there for long, and its sum on the way back outgrows the variances."""
    problem = Problem.from_case(
        make_case(timesteps=1000, batch=8, input_size=64, hidden_size=128, initial_state="probe", gradients=True)
    )
    case = problem.case
    problems = Problems()
    problems.put(problem)
    result = Judge(problems, None).judge_outcome(case, "numpy_loop", Outcome("ran", numpy_loop.run(problem)))
    assert result.status == "agree"
