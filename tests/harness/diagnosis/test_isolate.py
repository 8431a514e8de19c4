"""Problems in which parts are silent, and what is found with their help of a port that can be called."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from decoder_cases import make_decoder
from lstm_cases import make_case

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.diagnosis.diagnose import diagnose
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.isolate import ENOUGH, isolating
from lockstep.harness.diagnosis.observation import Observation

LAYER = make_case("layer", timesteps=4, initial_state="probe")
NETWORK = make_case("network", num_layers=2, direction="bidirectional", initial_state="probe", lengths=(5, 2))


def changed(case):
    """The names of the arrays that differ, problem by problem."""
    problem = problem_of(case)
    before = problem.arrays()
    # Networks are shorter: that alone is no difference.
    return [
        {name for name, array in silent.arrays().items() if not np.array_equal(array, _as_short(before[name], array))}
        for silent in isolating(problem)
    ]


def _as_short(array, silent):
    return np.minimum(array, silent.max()) if array.ndim == 1 and array.dtype == np.int64 else array[: len(silent)]


def test_each_problem_differs_from_the_first_in_what_is_silent_alone():
    names = changed(LAYER)
    assert [{"R"}, {"W"}, {"W", "R"}, {"b"}] == names[:4]
    assert {"h0", "c0"} in names
    assert {"x"} in names
    assert all(names)


def test_every_lane_of_a_network_is_silent_alike_and_lengths_are_full():
    names = changed(NETWORK)
    assert {"R_l0", "R_l0_reverse", "R_l1", "R_l1_reverse"} in names
    *_, last = isolating(problem_of(NETWORK))
    assert set(last.lengths) == {ENOUGH}


def test_of_a_decoder_its_own_weights_are_silent_too():
    names = changed(make_decoder())
    assert {"W_tilde"} in names
    assert {"enc"} in names


def test_without_a_bias_no_gate_is_shut():
    assert not any("b" in names for names in changed(make_case(bias=False, forget_bias=0.0)))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def two_mistakes(problem):
    """A layer that reads R's blocks as o, g, f, i and has a hard tanh for the candidate."""
    i, f, g, o = np.split(problem.R.astype(float), 4)
    R, h, c = np.concatenate([o, g, f, i]), problem.h0.astype(float), problem.c0.astype(float)
    tensors = {"h": [], "c": []}
    for x in problem.x.astype(float):
        zi, zf, zg, zo = np.split(x @ problem.W.T + h @ R.T + problem.b, 4, axis=1)
        c = sigmoid(zf) * c + sigmoid(zi) * np.clip(zg, -1, 1)
        h = sigmoid(zo) * np.tanh(c)
        tensors["h"].append(h)
        tensors["c"].append(c)
    return Observation(problem, {name: np.stack(rows).astype(problem.x.dtype) for name, rows in tensors.items()})


@pytest.fixture
def seen():
    problem = problem_of(LAYER)
    return two_mistakes(dataclasses.replace(problem, x=2 * problem.x))


def test_two_mistakes_that_hide_each_other_are_told_apart_by_questions(seen):
    assert not explain([seen], several=False)
    (cause, *_) = diagnose([seen], ask=lambda problems: [two_mistakes(problem) for problem in problems])
    assert set(cause.fault.split(" + ")) == {"R:read-as-ogfi", "curve-of-g:hard_tanh"}
