"""What a deviation gives, against a port that somebody wrote by hand with that slip in it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from faulty_lstm import CHAINED, SLIPS, make_port
from lstm_cases import make_case

from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.formats import FORMATS
from lockstep.harness.causes.interpret import expected_with
from lockstep.harness.faults.deviation import edits_of
from lockstep.harness.faults.table import find
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
# The deviation that each slip of tests/faulty_lstm.py is, by their names.
NAMES: dict[str, str] = json.loads((Path(__file__).parent / "deviation_names.json").read_text())
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


def unit_of(deviation):
    """The distance of values at 1 in the format of a deviation; None if it has none."""
    return 2.0 ** (1 - FORMATS[deviation.form]) if deviation.form else None


def expected_of(problem, deviation):
    """What the deviation gives; what is right where the problem has no place for it."""
    try:
        return expected_with(problem, edits_of([deviation], problem))
    except NoPlaceError:
        return expect(problem)


def test_there_is_a_deviation_for_every_slip():
    assert SLIPS.keys() | CHAINED.keys() == NAMES.keys()
    with pytest.raises(KeyError, match="no-such-fault"):
        make_port("no-such-fault")


# What a sequence of length 0 shows of a c that is taken from elsewhere is nobody's to say.
OF_NO_LENGTH = ("c.out:", "h.out-and-c.out:", "returned:")


def slips_at(site):
    """The names of slips, by the site that the deviation each of them is begins with."""
    return [slip for slip, name in NAMES.items() if name.partition(":")[0] == site]


@pytest.mark.parametrize("site", sorted({name.partition(":")[0] for name in NAMES.values()}))
@pytest.mark.parametrize("problem", SETTINGS)
def test_a_deviation_is_what_a_port_with_the_slip_computes(problem, site):
    for slip in slips_at(site):
        if problem in FLOAT32 or ":in-" in NAMES[slip]:
            try:
                assert_is_what_a_port_computes(problem_of(problem), slip)
            except AssertionError as error:
                error.add_note(f"the slip is {slip}, {NAMES[slip]}")
                raise


def assert_is_what_a_port_computes(problem, slip):
    deviation = find(NAMES[slip], problem)
    if deviation is None:  # a shorter format than the case's
        return
    actual, expected = run_port(problem, slip), expected_of(problem, deviation)
    if problem.lengths is not None and NAMES[slip].startswith(OF_NO_LENGTH):
        for name in "hc":
            actual[name] = np.where((problem.lengths > 0)[:, None], actual[name], expected[name].value)
    assert_agrees(actual, expected, unit=unit_of(deviation))


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

    assert {slip for slip in NAMES if not shows(slip)} == UNSEEN & NAMES.keys()


SCOPED = [
    "gates-exchanged-f-g", "forget-bias-absent", "bias-dropped", "R-reshaped", "W-columns-rolled", "i-hard-sigmoid-0.2",
    "cell-without-i", "hidden-without-o", "state-reset", "z-clipped-at-0.5",
]  # fmt: skip


@pytest.mark.parametrize("problem", ["probe", "lengths"])
@pytest.mark.parametrize("part", ["from-2", "from-sequence-1"])
@pytest.mark.parametrize("slip", SCOPED)
def test_a_deviation_holds_from_a_timestep_or_a_sequence_on(problem, slip, part):
    problem = problem_of(problem)
    deviation = find(f"{NAMES[slip]}@{part}", problem)
    assert deviation is not None
    timestep, sequence = (0, 1) if "sequence" in part else (2, 0)
    actual = run_port(problem, slip, from_timestep=timestep, from_sequence=sequence)
    assert_agrees(actual, expected_of(problem, deviation))
    right = run_port(problem, None)
    for name in "hc":
        np.testing.assert_array_equal(actual[name][:timestep], right[name][:timestep])
        np.testing.assert_array_equal(actual[name][:, :sequence], right[name][:, :sequence])
