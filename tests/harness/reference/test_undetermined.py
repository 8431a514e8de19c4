"""What is not determined is not judged, says so, and is no more than it must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from decoder_cases import ENCODER, make_decoder
from lstm_cases import make_case

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case, Values
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, kind_of
from lockstep.harness.comparison.details import unpacked
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.spread import widened
from lockstep.harness.reference.undetermined import notes_of, onward, without_room


def chaotic(**changes):
    """Three layers whose gates take both signs: from the middle on rounding alone decides."""
    settings = {
        "timesteps": 40, "batch": 2, "input_size": 5, "hidden_size": 16, "num_layers": 3, "direction": "bidirectional",
        "recurrent_activation": "tanh", "activation": "hard_sigmoid_1/6", "cell_activation": "relu", "seed": 5,
    }  # fmt: skip
    weights = Values(kind="probe", scale=3.0)
    return make_case(weights=weights, inputs="uniform", initial_state="probe", **{**settings, **changes})


def test_what_rounding_alone_decides_is_not_judged():
    case = chaotic(gradients=True)
    problem = Problem.from_case(case)
    expected = expect(problem)
    wider = widened(problem, expected, lost=True)
    (note,) = notes_of(wider, case)
    assert "this network is chaotic: at timestep " in note
    assert np.isfinite(wider["h_l0"].noise[0]).all(), "the first layer's first step is determined"
    assert np.isinf(wider["dx"].noise).all()
    assert np.isinf(wider["dW_l2"].noise).all()
    assert np.isfinite(widened(problem, expected)["h_l2"].noise).all(), "only where it is asked for"


def test_sequences_are_lost_one_by_one():
    case = chaotic(lengths=(40, 2), direction="forward")
    problem = Problem.from_case(case)
    noise = widened(problem, expect(problem), lost=True)["c_l2"].noise
    assert np.isinf(noise[-1, 0]).all()
    assert np.isfinite(noise[:, 1]).all()


def test_numbers_before_that_are_judged_and_the_rest_is_said_to_be_lost():
    case = chaotic(direction="forward")
    problems = Problems()
    expected = expect(problems.problem(case))
    names = [f"{kind}_l{layer}" for kind in ("h", "c") for layer in range(3)]
    values = {name: expected[name].value.copy() for name in names}
    last = {name: array.copy() for name, array in values.items()}
    last["c_l2"][-1] += 1e30
    result = Judge(problems).judge_trace(case, "mine", Trace().replaced(**last))
    assert result.status == "agree"
    assert "not judged" in result.notes[0]
    values["c_l0"][0] += 1
    assert Judge(problems).judge_trace(case, "mine", Trace().replaced(**values)).status == "diverge"


def growing(**changes) -> Case:
    """Each step makes the state some ten times as large: one of length 3 stays below 65,504, one of 5 does not."""
    settings = {
        "activation": "relu", "cell_activation": "relu", "timesteps": 5, "batch": 2, "lengths": (5, 3), "seed": 3,
        "dtype": "float16", "initial_state": "zeros", "weights": Values(kind="ones", scale=3.0),
        "inputs": Values(kind="ones", scale=10.0), **changes,
    }  # fmt: skip
    return make_case(**settings)


def observed(case: Case) -> dict[str, np.ndarray]:
    """What a healthy implementation may return."""
    expected = expect(problem_of(case))
    with np.errstate(over="ignore"):
        return {name: expected[name].value.astype(np.float16) for name in ("h", "c", "c_n")}


def judged(case: Case, arrays: dict[str, np.ndarray]):
    return Judge(Problems()).judge_trace(case, "mine", Trace().replaced(**arrays))


@pytest.mark.parametrize("value", [np.nan, -np.inf, 65504.0, 0.0])
def test_what_becomes_of_numbers_beyond_the_largest_is_not_judged(value):
    case = growing()
    arrays = observed(case)
    assert not np.isfinite(arrays["c"][3:, 0]).any()
    for name, place in (("h", np.s_[3:, 0, 1]), ("c", np.s_[3:, 0, 1]), ("c_n", np.s_[0, 1])):
        arrays[name][place] = value
    result = judged(case, arrays)
    assert result.status == "agree"
    (note,) = result.notes
    assert note == (
        "from timestep 3 on numbers, or their rounding, are beyond the largest of float16, 65504: what becomes of them "
        "and of all that depends on them is not determined, and not judged"
    )
    assert all(tensor.worst.sigma < 1 and tensor.worst.ulp < 2 for tensor in result.tensors.values())


def test_a_report_shows_no_error_where_nothing_is_judged_and_no_bound():
    case = growing()
    arrays = observed(case)
    arrays["h"][3:, 0, 1] = np.nan
    detail = Judge(Problems(), details=True).judge_trace(case, "mine", Trace().replaced(**arrays)).details["h"]
    place = detail.at.index((0, 1))
    error, noise = (unpacked(text, len(detail.at))[place] for text in (detail.error, detail.noise))
    assert not error[3:].any()
    assert np.isinf(noise[3:]).all()
    assert np.isfinite(noise[:3]).all()


@pytest.mark.parametrize(("name", "place"), [("c", (2, 0, 1)), ("h", (2, 1, 1)), ("c_n", (1, 1))])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1.0])
def test_what_comes_before_and_other_sequences_are_judged(name, place, value):
    case = growing()
    arrays = observed(case)
    arrays[name][place] = value
    result = judged(case, arrays)
    assert result.status == "diverge"
    (beyond,) = [tensor.first_divergence for tensor in result.tensors.values() if tensor.first_divergence]
    assert beyond.at == place


def test_the_infinities_of_an_implementation_that_overflows_as_expected_need_no_word():
    case = growing()
    result = judged(case, observed(case))
    assert result.status == "agree"
    assert result.notes == []


def test_where_the_problem_has_infinities_what_follows_from_them_is_judged():
    case = make_case(initial_state="probe")
    problem = Problem.from_case(case)
    c0 = problem.c0.copy()
    c0[0, 1] = np.inf
    problem = replace(problem, c0=c0)
    expected = expect(problem)
    assert np.isinf(expected["c"].value[0, 0, 1])
    assert without_room(problem, expected, expected) is expected


def test_gradients_may_be_lost_where_values_are_not():
    case = growing(gradients=True, timesteps=4, lengths=(4, 1), weights=Values(kind="ones", scale=2.0))
    problem = Problem.from_case(case)
    expected = expect(problem)
    expected = without_room(problem, expected, expected)
    (note,) = notes_of(expected, case)
    assert note.startswith("in the gradients numbers")
    for name, tensor in expected.items():
        lost = np.isnan(tensor.noise)
        if name in {"dx", "dh0", "dc0"}:
            assert lost[..., 0, :].all()
            assert not lost[..., 1, :].any()
        else:
            assert lost.all() if name.startswith("d") else not lost.any()


def test_where_rounding_alone_may_be_beyond_the_largest_it_is_lost_too():
    case = make_case(gradients=True)
    problem = Problem.from_case(case)
    expected = expect(problem)
    expected["dx"].noise[2, 1, 0] = 1e38  # ten sigma of it are beyond the largest
    lost = {name: np.isnan(tensor.noise) for name, tensor in without_room(problem, expected, expected).items()}
    assert lost["dx"][:, 1].all()
    assert not lost["dx"][:, 0].any()
    assert lost["dW"].all()
    assert not lost["h"].any()


def test_of_rounding_that_decides_alone_the_first_order_says_whether_there_is_room():
    case = chaotic(gradients=True)
    problem = Problem.from_case(case)
    expected = expect(problem)
    wider = widened(problem, expected, lost=True)
    assert not any(np.isnan(tensor.noise).any() for tensor in without_room(problem, wider, expected).values())
    expected["dh0_l0"].noise[0, 0] = 1e38
    lost = {name: np.isnan(tensor.noise) for name, tensor in without_room(problem, wider, expected).items()}
    assert lost["dx"][:, 0].all()
    assert not lost["dx"][:, 1].any()
    notes = notes_of(without_room(problem, wider, expected), case)
    assert ["chaotic" in note for note in notes] == [True, False]


def test_a_decoder_looks_at_all_of_its_source():
    case = make_decoder(gradients=True, encoder=ENCODER)
    problem = problem_of(case)
    expected = expect(problem)
    expected["enc"].value[1, 0, 0] = np.inf
    lost = {name: np.isnan(tensor.noise) for name, tensor in without_room(problem, expected, expected).items()}
    assert lost["h"][:, 0].all()
    assert not lost["h"][:, 1].any()
    assert not lost["enc"][0].any()
    assert lost["dx"][:, 0].all()
    assert all(mask.all() for name, mask in lost.items() if kind_of(name).startswith("dW"))


def test_timesteps_depend_on_what_their_own_direction_went_through():
    lengths = np.array([4, 3])
    forward, reverse, above = Lane(0, reverse=False), Lane(0, reverse=True), Lane(1, reverse=False)
    nothing = np.zeros((4, 2), bool)
    one = nothing.copy()
    one[1] = True
    reached = onward({forward: nothing, reverse: one, above: nothing}, lengths)
    assert not reached[forward].any()
    np.testing.assert_array_equal(reached[reverse][:, 0], [True, True, False, False])
    np.testing.assert_array_equal(reached[reverse][:3, 1], [True, True, False])
    assert reached[above].all()
