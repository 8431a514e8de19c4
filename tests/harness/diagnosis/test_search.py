"""Which deviation explains what was returned."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.fit import plain_values, solve
from lockstep.harness.diagnosis.name_faults import named
from lockstep.harness.diagnosis.observation import Observation, comes_near, format_of, prefix
from lockstep.harness.diagnosis.search import Search, _pairs_for
from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.execution import AS_INTENDED, Execution, merged
from lockstep.harness.faults.interpret import interpret_values

PROBE = {"timesteps": 8, "batch": 3, "input_size": 5, "hidden_size": 4}
CASES = {
    "probe": PROBE,
    "step": {**PROBE, "timesteps": 1},
    "lengths": {**PROBE, "lengths": (6, 2, 8)},
}


def problems(*names):
    return [
        Problem.from_case(make_case(name, weights="probe", inputs="probe", initial_state="probe", **CASES[name]))
        for name in names or CASES
    ]


def observed(port, *names):
    found = []
    for p in problems(*names):
        h, c = port(p.x, {"W": p.W, "R": p.R, "b": p.b}, p.h0, p.c0, p.lengths)
        found.append(Observation(p, {"h": h, "c": c}))
    return found


def computed(execution, *names):
    found = []
    for p in problems(*names):
        values = interpret_values(p, execution)
        assert values is not None
        found.append(Observation(p, {name: values[name].astype(p.x.dtype) for name in "hc"}))
    return found


def test_a_healthy_port_needs_no_explanation():
    assert Search(observed(make_port())).explain() == []


def test_a_named_fault_is_found_alone():
    (found,) = Search(observed(make_port("gates-exchanged-f-g"))).explain()
    assert found.name == "gates-exchanged-f-g"
    assert found.sigma < 5
    assert "i, g, f, o" in found.message


def test_explanations_that_give_the_same_numbers_come_together():
    names = [one.name for one in Search(observed(make_port("f-one"))).explain()]
    assert {"f-one", "cell-without-f"} <= set(names)


@pytest.mark.parametrize(
    ("scope", "words"),
    [({"from_timestep": 3}, "from timestep 3 on"), ({"from_sequence": 1}, "from sequence 1 on")],
)
def test_a_fault_that_holds_in_part_is_found_with_its_part(scope, words):
    first, *_ = Search(observed(make_port("f-hard-sigmoid-0.2", **scope), "probe")).explain()
    assert first.name == "f-hard-sigmoid-0.2"
    assert words in first.message


@pytest.mark.parametrize(
    ("changes", "name", "number"),
    [
        ({"constant": (0.0, 0.7, 0.0, 0.0)}, "constant-added-to-f", "0.7"),
        ({"offset": (0.0, 0.0, 0.0, 0.25)}, "offset-added-to-o", "0.25"),
        ({"W_gain": (1.0, 1.0, 1.3, 1.0)}, "W-scaled-g", "1.3"),
        ({"x_gain": 0.1}, "x-scaled", "0.1"),
        ({"c_keep": 0.93}, "c-scaled-when-fed", "0.93"),
        ({"c_clip": 0.4}, "c-clipped", "0.4"),
        ({"peephole": (0.0, 0.3, 0.0)}, "peephole-of-f", "0.3"),
        ({"h_mix": 0.1, "c_mix": 0.1}, "state-mixed-with-the-old", "0.1"),
    ],
)
def test_a_number_is_recovered(changes, name, number):
    found = {one.name: one for one in Search(computed(Execution(**changes))).explain(pairs=False)}
    assert name in found
    assert number in found[name].message


@pytest.mark.parametrize("seed", range(3))
def test_two_faults_at_once_are_found(seed):
    pairs = [
        ("gates-exchanged-f-g", "state-reset"),
        ("g-relu", "returned-batch-reversed"),
        ("initial-state-ignored", "h-returned-as-c"),
    ]
    one, other = (catalogue()[name] for name in pairs[seed])
    execution = merged(one.changes, other.changes)
    assert execution is not None
    found = Search(computed(execution)).explain()
    assert {one.name, other.name} <= {fault.name for explanation in found for fault in explanation.faults}


def test_pairs_are_of_faults_that_leave_alone_what_is_right():
    (one,) = computed(AS_INTENDED, "probe")
    one.tensors["h"][3:] += 0.1
    one.tensors["c"][3:] -= 0.1
    first = Search([one])._until_wrong()
    assert first is not None
    assert first.problem.case.run.timesteps == 4
    faults = [fault for fault in catalogue().values() if format_of(fault.execution) is None]
    pairs = list(_pairs_for(first, faults))
    assert 0 < len(pairs) < len(faults)
    right = prefix(computed(AS_INTENDED, "probe")[0], 3)
    assert all(comes_near(right, fault.execution) for pair in pairs for fault in pair)
    assert Search([one]).explain() == []


def test_nothing_is_claimed_of_noise():
    rng = np.random.default_rng(1)
    seen = [
        Observation(one.problem, {n: a + rng.normal(0, 0.1, a.shape).astype(a.dtype) for n, a in one.tensors.items()})
        for one in observed(make_port(), "step")
    ]
    assert Search(seen).explain(pairs=False) == []


def test_each_step_from_the_observed_state_proves_what_a_chaotic_network_hides():
    case = make_case(weights=Values(kind="probe", scale=12.0), initial_state="probe", timesteps=40, batch=2)
    problem = Problem.from_case(case)
    h, c = make_port("gates-tanh")(problem.x, {"W": problem.W, "R": problem.R, "b": problem.b}, problem.h0, problem.c0)
    assert Observation(problem, {"h": h, "c": c}).sigma(catalogue()["gates-tanh"].execution) < 10


def test_what_overflows_is_judged_up_to_there():
    problem = problems("probe")[0]
    tensors = {name: np.array(a) for name, a in observed(make_port("gates-exchanged-f-g"), "probe")[0].tensors.items()}
    tensors["c"][5:] = np.inf
    one = Observation(problem, tensors)
    assert one.sigma(catalogue()["gates-exchanged-f-g"].execution) < 10
    assert not one.sigma(AS_INTENDED) < 10


def test_measured_changes_are_named_by_what_they_are_made_of():
    changes = {
        "W_gates": "igfo", "R_gates": "igfo", "b_gates": "igfo", "constant": (0.0, 0.7, 0.0, 0.0),
        "curves": ("hard_sigmoid_0.2", "hard_sigmoid_0.2", "tanh", "hard_sigmoid_0.2"),
    }  # fmt: skip
    names = [fault.name for fault in named(changes)]
    assert names == ["gates-exchanged-f-g", "gates-hard-sigmoid-0.2", "constant-added-to-f"]


def test_numbers_are_solved_for_and_snapped_to_plain_ones():
    value = solve(lambda v: np.array([v**3 - 8.0, v - 2.0]), 1.0)
    assert value == pytest.approx(2.0, abs=1e-8)
    assert next(plain_values(0.33334)) == pytest.approx(1 / 3, abs=1e-3)
    assert next(plain_values(1.0000001)) == 1.0
    assert solve(lambda v: None, 1.0) is None


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"x_time": "5 late, zero first"}, "x-shifted", "5 late"),
        ({"reset_every": 6}, "state-reset-every-6", "every 6 steps"),
        ({"reset_every": 6, "reset_what": "c"}, "c-reset-every-6", "c is reset to zero every 6 steps"),
        ({"reset_at": (4,), "reset_what": "h"}, "h-reset-to-zero-once", "before timestep 4"),
    ],
)
def test_a_number_of_steps_is_recovered(changes, name, words):
    found = {one.name: one for one in Search(computed(Execution(**changes), "probe")).explain(pairs=False)}
    assert words in found[name].message
