"""Which deviation explains what was returned."""

from __future__ import annotations

import numpy as np
import pytest
from examples import mostly_slow
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.interpret import values_with
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.fit import plain_values, solve_many
from lockstep.harness.diagnosis.named_causes import expected_named, holding
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.deviation import edits_of
from lockstep.harness.faults.table import find

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


def computed(names, *cases):
    """What an implementation with the deviations of these names returns."""
    observations = []
    for problem in problems(*cases):
        values = values_with(problem, edits_of([find(name, problem) for name in names], problem))
        observations.append(Observation(problem, {name: values[name].astype(problem.x.dtype) for name in "hc"}))
    return observations


def causes_of(observations, **options):
    """The names of all causes that are found, with their messages."""
    return {cause.fault: cause for cause in explain(observations, **options)}


def test_a_healthy_port_needs_no_explanation():
    assert explain(observed(make_port())) == []


def test_a_named_fault_is_found_alone():
    (cause,) = explain(observed(make_port("gates-exchanged-f-g")))
    assert cause.fault == "WRb:read-as-igfo"
    assert cause.sigma < 5
    assert "i, g, f, o" in cause.message
    assert (cause.site, cause.edit, cause.scope) == ("WRb", "read as igfo", "everywhere")


def test_what_gives_other_numbers_elsewhere_is_named_beside():
    # Of one timestep that starts from zero nothing tells whether c is carried.
    (problem,) = problems("step")
    seen = Observation(problem, observed(make_port("f-one"), "step")[0].tensors)
    assert len(explain([seen])) == 1
    quiet = [Observation(o.problem, o.tensors) for o in observed(make_port("W-twice"), "step")]
    assert "W:times-2" in causes_of(quiet)


@pytest.mark.parametrize(
    ("scope", "words"),
    mostly_slow(
        [({"from_timestep": 3}, "from timestep 3 on"), ({"from_sequence": 1}, "from sequence 1 on")], every=2, names=2
    ),
)
def test_a_fault_that_holds_in_part_is_found_with_its_part(scope, words):
    first, *_ = explain(observed(make_port("f-hard-sigmoid-0.2", **scope), "probe"))
    assert first.fault.startswith("curve-of-f:hard_sigmoid_0.2@")
    assert words in first.message.lower()


@pytest.mark.parametrize(
    ("name", "number"),
    mostly_slow([
        ("b.f:plus-0.7", "0.7"), ("o:plus-0.25", "0.25"), ("W.g:times-1.3", "1.3"), ("x:times-0.1", "0.1"),
        ("c_in:times-0.93", "0.93"), ("c:clip-0.4", "0.4"), ("z.f:plus-0.3-times-c", "0.3"),
        ("h-and-c:0.1-of-the-old-kept", "0.1"),
    ], every=4, names=2),
)  # fmt: skip
def test_a_number_is_recovered(name, number):
    first, *_ = explain(computed([name]), several=False)
    assert number in first.message
    problem = problems("probe")[0]
    expected, named = (expected_named(which, problem)["h"].value for which in (name, first.fault))
    np.testing.assert_allclose(expected, named, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "names",
    mostly_slow([
        ("WRb:read-as-igfo", "h_in-and-c_in:initial"), ("curve-of-g:relu", "h.seq-and-c.seq:batch-flipped"),
        ("h0-and-c0:zero", "h.out:c"),
    ], every=3),
)  # fmt: skip
def test_two_faults_at_once_are_found(names):
    causes = causes_of(computed(names))
    assert any(set(names) == set(fault.split(" + ")) for fault in causes), list(causes)


def test_nothing_is_claimed_of_noise():
    rng = np.random.default_rng(1)
    seen = [
        Observation(one.problem, {n: a + rng.normal(0, 0.1, a.shape).astype(a.dtype) for n, a in one.tensors.items()})
        for one in observed(make_port(), "step")
    ]
    assert explain(seen, several=False) == []


def test_each_step_from_the_observed_state_proves_what_a_chaotic_network_hides():
    case = make_case(weights=Values(kind="probe", scale=12.0), initial_state="probe", timesteps=40, batch=2)
    problem = Problem.from_case(case)
    h, c = make_port("gates-tanh")(problem.x, {"W": problem.W, "R": problem.R, "b": problem.b}, problem.h0, problem.c0)
    assert "curve-of-gates:tanh" in holding(["curve-of-gates:tanh"], [Observation(problem, {"h": h, "c": c})])


def test_what_overflows_is_judged_up_to_there():
    problem = problems("probe")[0]
    tensors = {name: np.array(a) for name, a in observed(make_port("gates-exchanged-f-g"), "probe")[0].tensors.items()}
    tensors["c"][5:] = np.inf
    one = Observation(problem, tensors)
    assert holding(["WRb:read-as-igfo", "WRb:read-as-figo"], [one]) == {"WRb:read-as-igfo"}


def test_numbers_are_solved_for_and_snapped_to_plain_ones():
    vanishing = {0: lambda v: np.array([v**3 - 8.0, v - 2.0]), 1: lambda v: np.array([v**2 + 5000.0])}

    def misses_at(which, numbers):
        return [vanishing[k](number) if k in vanishing else None for k, number in zip(which, numbers, strict=True)]

    # The second is never near 0, and of the third there is nothing.
    ((which, value),) = solve_many(misses_at, [1.0, 1.0, 1.0], lambda: False)
    assert which == 0
    assert value == pytest.approx(2.0, abs=1e-8)
    assert next(plain_values(0.33334)) == pytest.approx(1 / 3, abs=1e-3)
    assert next(plain_values(1.0000001)) == 1.0
    assert solve_many(misses_at, [], lambda: False) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.seq:5-late,-zero-there", "5 steps too late"),
        ("h_in-and-c_in:zero@every-6", "every 6 steps"),
        ("c_in:zero@every-6", "every 6 steps"),
        ("h_in:zero@at-4", "at timestep 4 only"),
    ],
)
def test_a_number_of_steps_is_recovered(name, words):
    causes = causes_of(computed([name], "probe"), several=False)
    assert words in causes[name].message.lower()
