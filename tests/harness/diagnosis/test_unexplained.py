"""What is told of a divergence that nothing explains: where it begins, and which readings what is known leaves."""

from __future__ import annotations

import numpy as np
import pytest
from decoder_cases import make_decoder
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.comparison.results import Local, RunResult
from lockstep.harness.diagnosis.diagnose import diagnose
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import known_of, unexplained
from lockstep.harness.reference.expect import expect

SIZES = {"timesteps": 6, "batch": 3, "input_size": 5, "hidden_size": 7, "initial_state": "probe"}


def observed(case, spoil=lambda tensors: tensors):
    """What is right for a case, and then spoilt."""
    problem = problem_of(case)
    tensors = {name: (t.value + t.rest).astype(np.float32) for name, t in expect(problem).items() if name[-2:] != "_t"}
    return Observation(problem, spoil(tensors))


def plain(name, port=None, **settings):
    problem = problem_of(make_case(name, **{**SIZES, **settings}))
    weights = {name: getattr(problem, name) for name in ("W", "R", "b")}
    h, c = (port or make_port())(problem.x, weights, problem.h0, problem.c0, problem.lengths)
    return Observation(problem, {"h": h, "c": c})


def facts(*observations):
    return unexplained(observations, []).facts


def added(name, place, amount=0.3):
    def spoil(tensors):
        tensors[name][place] += amount
        return tensors

    return spoil


def test_a_gradient_is_pointed_to_with_its_gate_and_unit_where_h_and_c_are_right():
    H = SIZES["hidden_size"]
    told = facts_with_step(observed(make_case("g", gradients=True, **SIZES), added("dR", np.s_[H : H + 1])), None)
    assert "first wrong: dR, in the backward pass" in told
    assert "wrong in dR: gate f alone; unit 0 alone; all 7 columns" in told
    assert any(line.startswith("right: ") and "c, h" in line for line in told)
    assert not any("in h:" in line or "replayed" in line for line in told)


def test_an_upper_layer_is_pointed_to_with_its_direction():
    case = make_case("n", num_layers=2, direction="bidirectional", **SIZES)
    told = facts(observed(case, added("h_n_l1_reverse", np.s_[1, 2:5])))
    assert "first wrong: h_n_l1_reverse of layer 1, reverse direction" in told
    assert "wrong in h_n_l1_reverse: sequence 1 alone; units 2 to 4 of 7" in told


def test_places_are_named_one_by_one():
    told = facts(observed(make_case("p", **SIZES), added("c", np.s_[2:4, 1, 0])))
    assert "first wrong: c at timestep 2: sequence 1 alone; unit 0 alone" in told
    assert "wrong in c: timesteps 2, 3 of 6; sequence 1 alone; unit 0 alone" in told


def test_where_it_begins_is_told_apart_from_what_follows():
    def port(x, weights, h0, c0, lengths=None):
        h, c = make_port()(x[:1], weights, h0, c0, lengths)
        h[0, :, 2] += np.float32(0.5)
        later_h, later_c = make_port()(x[1:], weights, h[-1], c[-1], lengths)
        return np.concatenate([h, later_h]), np.concatenate([c, later_c])

    told = facts(plain("begins", port))
    assert "first wrong: h at timestep 0: all 3 sequences; unit 2 alone" in told
    assert "wrong in h: all 6 timesteps; all 3 sequences; all 7 units" in told


def test_a_decoder_is_pointed_to_by_its_own_tensors():
    told = facts(observed(make_decoder("d"), added("scores", np.s_[1, :, 2])))
    assert "first wrong: scores at timestep 1" in told
    assert not any(line.startswith("replayed") for line in told)
    assert any("source step 2 alone" in line for line in told)


def test_the_case_that_is_told_is_one_whose_numbers_differ_from_each_other():
    def shifted(name, **settings):
        observation = plain(name, **settings)
        return Observation(observation.problem, {n: array + 0.2 for n, array in observation.tensors.items()})

    ones = shifted("ones", weights="ones", inputs="ones")
    drawn = shifted("drawn", timesteps=2, batch=1)
    flat = shifted("flat", weights=Values(kind="uniform", scale=40.0), batch=4)
    assert known_of([ones, drawn, flat], []).observation is drawn


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_what_is_far_off_or_saturated_is_not_said_to_be_rounding(scale):
    right = plain("s", weights=Values(kind="uniform", scale=scale))
    amount = 0.4 if scale == 1 else 1e-3
    wrong = Observation(right.problem, {name: array + np.float32(amount) for name, array in right.tensors.items()})
    assert known_of([wrong], []).narrow is None


def test_rounding_throughout_is_said_to_be():
    right = plain("r")
    rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in right.tensors.items()}
    assert known_of([Observation(right.problem, rounded)], []).narrow == "float16 or tf32"


def test_c_is_asked_for_where_it_is_missing():
    wrong = plain("h", make_port("R-twice"))
    told = facts(Observation(wrong.problem, {"h": wrong.tensors["h"]}))
    assert "return c of every timestep: a cause can then usually be found" in told
    assert not any(line.startswith("return c") for line in facts(wrong))


def test_only_c_wrong_leaves_all_that_makes_it():
    told = facts(plain("c", make_port("gates-exchanged-i-f")))
    assert any("what is wrong is c, by i, f or g, or what they are fed" in line for line in told)


def test_what_explains_a_part_comes_first():
    wrong = make_port("gates-exchanged-f-g")

    def port(x, weights, h0, c0, lengths=None):
        h, c = wrong(x, weights, h0, c0, lengths)
        return (h + np.float32(0.1), c) if lengths is not None else (h, c)

    cases = [plain("one", port), plain("two", port, seed=4), plain("ragged", port, lengths=(6, 2, 3))]
    (found,) = diagnose(cases, pairs=False)
    assert found.fault == "unexplained"
    assert found.message.startswith("In part: ")
    assert "[WRb:read-as-igfo] That explains every case but ragged; for the rest no known mistake" in found.message
    assert found.facts[0].startswith("fix for that part: ")
    assert 'measured in case "ragged"' in found.facts
    # Against the reference with that part, c is right.
    assert "first wrong: h at timestep 0: all 3 sequences; all 7 units" in found.facts
    assert "right: c" in found.facts


def test_a_state_fault_is_said_to_be_one_of_the_feed():
    reset = plain("reset", make_port("state-reset"))
    told = facts_with_step(reset)
    assert any("right from the initial state: its feed is wrong, not what it computes" in line for line in told)
    noisy = Observation(reset.problem, {**reset.tensors, "c": reset.tensors["c"] * np.float32(1.5)})
    assert not any("its feed" in line for line in facts_with_step(noisy))


def test_timesteps_that_are_wrong_now_and_then_are_listed():
    every_third = plain("now and then")
    tensors = {name: array.copy() for name, array in every_third.tensors.items()}
    tensors["c"][[0, 3]] += np.float32(0.1)
    local = Local({"c": [900.0, 0.5, 1.0, 700.0, 0.0, 0.0], "h": [0.0] * 6}, 0)
    run = RunResult(case="now and then", backend="port", status="diverge", local=local)
    told = unexplained([Observation(every_third.problem, tensors)], [run]).facts
    assert any("timesteps 0, 3 of 6 still wrong; the others, from the same code, right" in line for line in told)


def facts_with_step(observation, step=1):
    local = Local({"c": [0.0, *[900.0] * 5], "h": [0.0, *[900.0] * 5]}, step)
    run = RunResult(case=observation.problem.case.name, backend="port", status="diverge", local=local)
    return unexplained([observation], [run]).facts
