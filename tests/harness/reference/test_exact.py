"""Float64 cases where longdouble is no wider: computed by balls, against longdouble, which here is."""

from __future__ import annotations

import numpy as np
import pytest
from lstm_cases import make_case

from lockstep.harness.cases.problem import Problem
from lockstep.harness.reference import exact, noise
from lockstep.harness.reference.expect import expect

pytest.importorskip("flint")
wide = pytest.mark.skipif(not noise.longdouble_is_wider(), reason="needs a longdouble to compare with")

NETWORKS = {
    "plain": {},
    "lengths": {"lengths": (5, 0)},
    "network": {"num_layers": 2, "direction": "bidirectional", "lengths": (3, 5)},
    "other cell": {"proj_size": 2, "peephole": True, "cell_clip": 0.3, "recurrent_activation": "hard_sigmoid_0.2"},
    "other activations": {"activation": "relu", "cell_activation": "linear", "input_forget": True, "forget_bias": 0.0},
}


@pytest.fixture
def narrow(monkeypatch):
    """This machine as if its longdouble were float64."""
    for module in (noise, exact):
        monkeypatch.setattr(module, "longdouble_is_wider", lambda: False)


def case_of(name):
    return make_case(dtype="float64", gradients=True, initial_state="probe", **NETWORKS[name])


@wide
@pytest.mark.parametrize("name", NETWORKS)
def test_balls_give_what_longdouble_gives(name, monkeypatch):
    problem = Problem.from_case(case_of(name))
    by_longdouble = expect(problem)
    for module in (noise, exact):
        monkeypatch.setattr(module, "longdouble_is_wider", lambda: False)
    assert exact.wanted(problem.case)
    for key, tensor in expect(problem).items():
        if "_t" in key:
            continue
        one, other = (t.value.astype(np.longdouble) + t.rest for t in (tensor, by_longdouble[key]))
        assert np.abs(one - other).max() <= 3e-19 * max(1, float(np.abs(other).max())), key
        np.testing.assert_allclose(tensor.noise, by_longdouble[key].noise, rtol=1e-5, atol=1e-150)


@pytest.mark.usefixtures("narrow")
def test_a_large_case_is_left_to_float64_with_doubled_variances():
    case = make_case(dtype="float64", timesteps=1000, batch=10, hidden_size=64, input_size=64)
    assert not exact.wanted(case)
    assert noise.Noise.of("float64").u2 == pytest.approx(2 * 2.0**-106)


@pytest.mark.usefixtures("narrow")
def test_it_says_in_what_the_reference_computes():
    assert "FLINT, 128 bits" in exact.description("float64")
    assert exact.description("float32") == "float64"


@wide
def test_it_says_longdouble_where_that_is_wider():
    assert "numpy.longdouble" in exact.description("float64")
