"""What is said of a divergence: explanations with their proof, or what is known without one."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Results, decode_results, encode_results
from lockstep.harness.diagnosis.diagnose import diagnose
from lockstep.harness.diagnosis.named_causes import ONLY_IN
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.jobs.run import run_cases


def problem_of(name="probe", **changes):
    settings = {"timesteps": 8, "batch": 3, "input_size": 5, "hidden_size": 4, "initial_state": "probe"}
    return Problem.from_case(make_case(name, **{**settings, **changes}))


def seen(port, *problems):
    found = []
    for p in problems or (problem_of(),):
        h, c = port(p.x, {"W": p.W, "R": p.R, "b": p.b}, p.h0, p.c0, p.lengths)
        found.append(Observation(p, {"h": h, "c": c}))
    return found


def test_what_agrees_needs_no_diagnosis():
    assert diagnose(seen(make_port())) == []


def test_an_explanation_comes_with_proof_fix_and_where_it_was_met():
    (found,) = diagnose(seen(make_port("gates-exchanged-f-g")))
    assert found.fault == "WRb:read-as-igfo"
    assert found.fix
    assert "tensorflow" in found.met
    assert found.sigma is not None
    assert found.sigma < 5
    assert found.evidence.startswith("The reference with this mistake reproduces every number")
    assert found.proof == {"deviations": ["WRb:read-as-igfo"]}


def test_explanations_of_the_same_numbers_name_each_other_and_what_tells_them_apart():
    quiet = problem_of(initial_state="zeros")
    other = problem_of("started")
    found = diagnose(seen(make_port("state-reset"), quiet), others=[quiet, other])
    names = {one.fault for one in found}
    assert {"h_in-and-c_in:initial", "h_in-and-c_in:zero"} <= names
    for one in found:
        assert set(one.indistinguishable_from) == names - {one.fault}
        assert one.told_apart_by == "started"


def test_nothing_is_claimed_without_proof():
    rng = np.random.default_rng(2)
    (one,) = seen(make_port())
    noisy = {name: array + rng.normal(0, 0.1, array.shape).astype(array.dtype) for name, array in one.tensors.items()}
    (found,) = diagnose([Observation(one.problem, noisy)], pairs=False)
    assert found.fault == UNEXPLAINED
    assert found.sigma is None
    assert found.fix == ""
    assert any("all 4 units" in fact for fact in found.facts)
    assert any("h = o * tanh(c) does not hold for the observed c" in fact for fact in found.facts)


def test_a_number_that_is_not_finite_is_not_explained_by_what_is_right_before_it():
    (one,) = seen(make_port())
    h = one.tensors["h"].copy()
    h[-1] = np.nan
    (found,) = diagnose([Observation(one.problem, {**one.tensors, "h": h})])
    assert found.fault == UNEXPLAINED
    assert any("NaN or infinite at timestep 7" in fact for fact in found.facts)


def test_a_fault_that_shows_in_some_cases_only_is_said_to():
    right, wrong = make_port(), make_port("R-twice")

    def port(x, weights, h0, c0, lengths=None):
        return (wrong if h0.shape[1] > 6 else right)(x, weights, h0, c0, lengths)

    found = diagnose(seen(port, problem_of("narrow"), problem_of("wide", hidden_size=9)), pairs=False)
    assert found[0].fault == "R:times-2"
    assert "In wide only: narrow agrees." in found[0].message
    assert found[0].proof[ONLY_IN] == ["wide"]


@pytest.mark.parametrize("names", [("h",), ("c",)])
def test_one_tensor_is_enough(names):
    full = seen(make_port("gates-exchanged-f-g"))
    found = diagnose([Observation(one.problem, {name: one.tensors[name] for name in names}) for one in full])
    assert "WRb:read-as-igfo" in {one.fault for one in found}


def test_a_backend_that_diverges_is_diagnosed_and_the_results_survive_json():
    cases = [make_case("probe", timesteps=6, batch=2, initial_state="probe"), make_case("step", timesteps=1)]
    runs = run_cases(cases, [BackendInfo("resets_state", "planted.resets_state")])
    first, second = runs
    assert first.status == "diverge"
    assert first.diagnosis[0].fault == "h_in-and-c_in:initial"
    assert second.diagnosis == []
    results = Results(environment={}, runs=runs)
    assert decode_results(encode_results(results), "here") == results
