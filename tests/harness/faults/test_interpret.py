"""What a fault's execution gives, against a port that somebody wrote by hand with that slip in it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from faulty_lstm import CHAINED, SLIPS, make_port
from lstm_cases import make_case

from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem
from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.execution import AS_INTENDED, merged
from lockstep.harness.faults.interpret import interpret
from lockstep.harness.faults.rules import FORMATS
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

# T, B, I and H all different, where no reshape goes unseen; all alike, where every exchange of axes fits; with
# lengths, all below T and one of them 0, and H not 4, where (4, H) and (H, 4) are told apart.
SETTINGS = {
    "probe": {"timesteps": 6, "batch": 3, "input_size": 5, "hidden_size": 4},
    "square": {"timesteps": 4, "batch": 4, "input_size": 4, "hidden_size": 4},
    "lengths": {"timesteps": 7, "batch": 4, "input_size": 2, "hidden_size": 5, "lengths": (5, 0, 6, 2)},
    "float64": {"timesteps": 6, "batch": 3, "input_size": 5, "hidden_size": 3, "dtype": "float64"},
}
FLOAT32 = [name for name in SETTINGS if name != "float64"]
# Of results rounded to a format: how many agree to within noise, and by how many units the others may be off,
# where a rounding falls to the other side.
WITHIN_LIMIT, UNITS = 0.95, 4
# Beyond this, products of float32 overflow in one order of summation and not in the other.
HUGE = 1e18


@cache
def problem_of(name):
    return Problem.from_case(
        make_case(weights="probe", inputs="probe", initial_state="probe", seed=7, forget_bias=1.0, **SETTINGS[name])
    )


def run_port(problem, fault, **scope):
    weights = {"W": problem.W, "R": problem.R, "b": problem.b}
    if fault is not None and "-of-two-" in fault:
        weights = store(weights, DIALECTS["torch"], split_bias="uneven")
    h, c = make_port(fault, **scope)(problem.x, weights, problem.h0, problem.c0, problem.lengths)
    T, B, _, H = problem.case.shape
    assert h.shape == c.shape == (T, B, H)
    assert h.dtype == c.dtype == problem.x.dtype
    return {"h": h, "c": c}


def in_range(actual, expected):
    """Say which values were compared: of each sequence those before the first that overflows."""
    with np.errstate(invalid="ignore"):
        small = np.all([np.abs(actual[n]) < HUGE for n in "hc"] + [np.abs(expected[n].value) < HUGE for n in "hc"], 0)
    return np.logical_and.accumulate(small.all(axis=-1), axis=0)


def sigmas(actual, expected):
    """Give the distances in noise of h and c, of the values in range; (2, n)."""
    where = in_range(actual, expected)
    return np.stack([
        np.abs((actual[name][where] - e.value[where]) - e.rest[where]) / e.noise[where]
        for name, e in ((name, expected[name]) for name in "hc")
    ])  # fmt: skip


def assert_agrees(actual, expected, *, unit=None):
    """Check h and c against what was expected; with a ``unit``, a few values may lie some units off."""
    assert in_range(actual, expected)[0].all()
    sigma = sigmas(actual, expected)
    if unit is None:
        assert sigma.max() <= LIMIT_SIGMA
        return
    assert (sigma <= LIMIT_SIGMA).mean() >= WITHIN_LIMIT
    for name in "hc":
        assert np.abs(actual[name] - expected[name].value).max() <= UNITS * unit


def unit_of(execution):
    """Give the distance of values at 1 in the coarsest format of an execution; None if it has none."""
    formats = {value for name, value in execution.changes().items() if name.endswith("_format")}
    return max((2.0 ** (1 - FORMATS[name]) for name in formats), default=None)


def pairs():
    for name, fault in catalogue().items():
        for problem in SETTINGS if fault.family == "precision" else FLOAT32:
            yield pytest.param(problem, name, id=f"{name}-{problem}")


def test_there_is_a_port_for_every_fault():
    assert SLIPS.keys() | CHAINED.keys() == catalogue().keys()
    with pytest.raises(KeyError, match="no-such-fault"):
        make_port("no-such-fault")


@pytest.mark.parametrize(("problem", "fault"), list(pairs()))
def test_a_faults_execution_is_what_a_port_with_it_computes(problem, fault):
    execution = catalogue()[fault].execution
    problem = problem_of(problem)
    assert_agrees(run_port(problem, fault), interpret(problem, execution), unit=unit_of(execution))


@pytest.mark.parametrize("problem", SETTINGS)
def test_a_port_without_a_fault_agrees_with_the_reference(problem):
    problem = problem_of(problem)
    assert_agrees(run_port(problem, None), expect(problem))


# They begin after the last timestep of these problems.
UNSEEN = {f"state-{what}-every-{every}" for what in ("reset", "initial") for every in (8, 10, 16)}


def test_every_fault_is_seen_in_one_of_the_problems():
    expected = {name: expect(problem_of(name)) for name in SETTINGS}

    def shows(fault):
        return any(
            np.nanmax(sigmas(run_port(problem_of(name), fault), expected[name])) > 10 * LIMIT_SIGMA for name in SETTINGS
        )

    assert {fault for fault in catalogue() if not shows(fault)} == UNSEEN & catalogue().keys()


SCOPED = [
    "gates-exchanged-f-g", "forget-bias-absent", "bias-dropped", "R-reshaped", "W-columns-rolled", "i-hard-sigmoid-0.2",
    "cell-without-i", "hidden-without-o", "state-reset", "h-of-next-sequence", "c-carried-late", "c0-negated",
    "x-one-late-zero-first", "x-batch-reversed", "returned-one-late-zero-first", "h-returned-as-c",
    "returned-batch-reversed", "h-halved-when-returned", "peephole-o", "z-clipped-at-0.5", "c-in-bfloat16",
]  # fmt: skip


def scoped():
    for fault in SCOPED:
        for problem in ("probe", "lengths"):
            for timestep, sequence in ((2, 0), (0, 1), (2, 1)):
                values = (problem, fault, timestep, sequence)
                yield pytest.param(*values, id=f"{fault}-{problem}-{timestep}-{sequence}")


@pytest.mark.parametrize(("problem", "fault", "timestep", "sequence"), list(scoped()))
def test_a_fault_holds_from_a_timestep_or_a_sequence_on(problem, fault, timestep, sequence):
    problem = problem_of(problem)
    execution = merged(catalogue()[fault].changes, {"timesteps": (timestep, None), "sequences": (sequence, None)})
    assert execution is not None
    actual = run_port(problem, fault, from_timestep=timestep, from_sequence=sequence)
    assert_agrees(actual, interpret(problem, execution), unit=unit_of(execution))
    right = run_port(problem, None)
    for name in "hc":
        np.testing.assert_array_equal(actual[name][:timestep], right[name][:timestep])
        np.testing.assert_array_equal(actual[name][:, :sequence], right[name][:, :sequence])


@pytest.mark.parametrize(
    "case",
    [file.case for file in find_cases() if file.case.plain and file.case.name != "long"],
    ids=lambda case: case.name,
)
def test_the_canonical_execution_is_the_reference(case):
    problem = Problem.from_case(case)
    actual, expected = interpret(problem, AS_INTENDED), expect(problem)
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(actual[name].value, tensor.value)
        np.testing.assert_array_equal(actual[name].rest, tensor.rest)
        # Its derivatives are differences: they tell the noise to a float or two.
        np.testing.assert_allclose(actual[name].noise, tensor.noise, rtol=2 * float(np.finfo(np.float32).eps))


def test_two_sets_of_changes_merge_unless_they_conflict():
    both = merged({"h0": "zero"}, {"c_clip": 1.0})
    assert both is not None
    assert both.changes() == {"h0": "zero", "c_clip": 1.0}
    assert merged({"h0": "zero"}, {"h0": "zero"}) is not None
    assert merged({"h0": "zero", "c_clip": 1.0}, {"h0": "one"}) is None
    assert merged({}, {}) == AS_INTENDED
