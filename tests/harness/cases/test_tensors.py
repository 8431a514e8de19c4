"""Names, shapes and order of a case's tensors."""

from __future__ import annotations

import numpy as np
import pytest
from lstm_cases import make_case

from lockstep.harness.adapters.trace import Trace, check_trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, kind_of, lanes, split, tensors_of
from lockstep.harness.comparison.compare import compare, compare_steps, limit_for
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import First, RunResult
from lockstep.harness.errors import TraceError
from lockstep.harness.output.messages import headline
from lockstep.harness.reference.expect import expect

STACK = {"num_layers": 2, "direction": "bidirectional", "initial_state": "probe", "lengths": (5, 3)}


def stack(**more):
    return Problem.from_case(make_case(**{**STACK, **more}))


def exact(problem, names=None):
    """A trace of the expected values themselves."""
    expected = expect(problem)
    return Trace(**{
        name: tensor.value.astype(problem.x.dtype) for name, tensor in expected.items() if not names or name in names
    })  # fmt: skip


def judged(problem, trace):
    case, limit = problem.case, limit_for(problem.case)
    run = RunResult(
        case=case.name, backend="b", status="agree", limit=limit, timesteps=case.run.timesteps,
        tensors=compare(trace, expect(problem), case, limit), local=compare_steps(trace, problem, limit),
    )  # fmt: skip
    return judge(run, limit)


def broken(problem, name, at, by=1.0):
    trace = exact(problem)
    arrays = {key: array.copy() for key, array in trace.arrays.items()}
    arrays[name][at] += np.asarray(by, arrays[name].dtype)
    return judged(problem, Trace(**arrays))


def test_one_lane_has_plain_names_and_several_have_their_lanes():
    assert list(tensors_of(make_case())) == ["i", "f", "g", "o", "c", "h", "c_n", "h_n"]
    names = list(tensors_of(make_case(num_layers=2, direction="bidirectional")))
    assert names[:2] == ["i_l0", "f_l0"]
    assert "h_n_l1_reverse" in names
    assert [kind_of(name) for name in ("h_n_l1_reverse", "dW_t_l0", "dh0", "dW_t", "c")] == [
        "h_n", "dW_t", "dh0", "dW_t", "c",
    ]  # fmt: skip


def test_gradients_are_listed_where_they_are_asked_for_that_of_a_bias_where_there_is_one():
    names = set(tensors_of(make_case(gradients=True, peephole=True, proj_size=2)))
    assert {"dx", "dh0", "dc0", "dW", "dR", "db", "dP", "dp", "dW_t"} <= names
    assert not {"db", "db_t"} & set(tensors_of(make_case(gradients=True, bias=False, forget_bias=0.0)))


def test_arrays_as_frameworks_give_them_are_taken_apart_by_lane():
    problem = stack()
    by_lane = exact(problem).arrays
    natural = {
        "h": np.concatenate([by_lane["h_l1"], by_lane["h_l1_reverse"]], axis=-1),
        "h_n": np.stack([by_lane[f"h_n{lane.suffix}"] for lane in lanes(problem.case.lstm)]),
    }
    check_trace(Trace(**natural), problem.case)
    parts = split(natural, problem.case)
    assert list(parts) == ["h_n_l0", "h_n_l0_reverse", "h_l1", "h_n_l1", "h_l1_reverse", "h_n_l1_reverse"]
    for name, array in parts.items():
        np.testing.assert_array_equal(array, by_lane[name])
    assert judged(problem, Trace(**natural)).status == "agree"


def test_one_tensor_given_both_ways_is_refused():
    problem = stack()
    h = exact(problem).arrays["h_l1"]
    both = Trace(h=np.concatenate([h, h], axis=-1), h_l1=h)
    with pytest.raises(TraceError, match="h is given for all lanes at once and for one of them"):
        check_trace(both, problem.case)


def test_a_tensor_of_a_lane_that_is_not_there_is_refused():
    with pytest.raises(TraceError, match="c_l2 is not a tensor of this case"):
        check_trace(Trace(c_l2=np.zeros((5, 2, 4), np.float32)), stack().case)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_expected_values_agree_with_themselves_in_every_dtype(dtype):
    run = judged(stack(dtype=dtype, gradients=True), exact(stack(dtype=dtype, gradients=True)))
    assert run.status == "agree"
    assert max(tensor.worst.sigma for tensor in run.tensors.values()) < 1.5
    assert max(tensor.worst.ulp for tensor in run.tensors.values()) <= 1


def test_the_lower_layer_comes_first():
    problem = stack()
    trace = exact(problem)
    arrays = {key: array.copy() for key, array in trace.arrays.items()}
    arrays["c_l1"][0, 0, 0] += 1
    arrays["c_l0"][4, 0, 0] += 1
    assert judged(problem, Trace(**arrays)).first_divergence == First("c_l0", 4)


def test_the_reverse_direction_comes_first_where_it_begins():
    problem = Problem.from_case(make_case(direction="reverse", initial_state="probe"))
    arrays = {key: array.copy() for key, array in exact(problem).arrays.items()}
    arrays["h"][1, 0, 0] += 1
    arrays["h"][3, 0, 0] += 1
    run = judged(problem, Trace(**arrays))
    assert run.first_divergence == First("h", 3)
    assert run.tensors["h"].first_divergence.timestep == 3
    # Each step alone: that of timestep 3 is off, and so is the next one in its order, timestep 2.
    assert run.local.first_divergence == 3


def test_gradients_are_walked_backward():
    problem = Problem.from_case(make_case(gradients=True))
    arrays = {key: array.copy() for key, array in exact(problem).arrays.items()}
    arrays["dx"][1, 0, 0] += 1
    arrays["dx"][3, 0, 0] += 1
    arrays["dW"][0, 0] += 1
    run = judged(problem, Trace(**arrays))
    assert run.first_divergence == First("dx", 3, backward=True)
    assert "at timestep 3 of 5, in the backward pass (dx)" in headline(run)


def test_forward_comes_before_backward():
    problem = Problem.from_case(make_case(gradients=True))
    arrays = {key: array.copy() for key, array in exact(problem).arrays.items()}
    arrays["dx"][4, 0, 0] += 1
    arrays["h_n"][0, 0] += 1
    assert judged(problem, Trace(**arrays)).first_divergence.tensor == "h_n"


def test_a_weights_gradient_is_placed_by_its_own_axes():
    run = broken(Problem.from_case(make_case(gradients=True)), "dW", (7, 2))
    assert run.tensors["dW"].worst.at == (7, 2)
    assert run.first_divergence.tensor == "dW"


def test_a_lane_is_named_in_words():
    run = broken(stack(), "c_l1_reverse", (2, 0, 1))
    assert "at timestep 2 of 5 of layer 1, reverse direction" in headline(run)


def test_steps_of_a_lane_are_judged_alone_where_its_inputs_are_observed():
    problem = stack()
    run = judged(problem, exact(problem))
    assert set(run.local.sigma) == {f"{kind}{lane.suffix}" for lane in lanes(problem.case.lstm) for kind in "ch"}
    names = {"h_l0", "h_l1", "c_l1", "h_l1_reverse"}  # the reverse half of the input of layer 1 is not there
    assert judged(problem, exact(problem, names)).local is None


def test_a_fault_that_strikes_once_shows_in_one_step_of_a_reverse_lane_with_lengths():
    problem = Problem.from_case(make_case(direction="reverse", lengths=(5, 3), initial_state="probe"))
    expected = expect(problem)
    arrays = {name: expected[name].value.copy() for name in "hc"}
    arrays["c"][1, 1, 0] += 0.5
    run = judged(problem, Trace(**arrays))
    beyond = [t for t, sigma in enumerate(run.local.sigma["c"]) if sigma > 10]
    assert beyond == [0, 1]  # timestep 0 is computed from what was observed at 1


def test_lanes_go_layer_by_layer():
    case = make_case(num_layers=2, direction="bidirectional")
    assert lanes(case.lstm) == [
        Lane(0, reverse=False),
        Lane(0, reverse=True),
        Lane(1, reverse=False),
        Lane(1, reverse=True),
    ]
