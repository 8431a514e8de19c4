"""A deviation changes what it is about, and nothing that comes before it."""

from __future__ import annotations

import numpy as np
import pytest
from decoder_cases import make_decoder
from lstm_cases import make_case

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.diagnosis.named_causes import expected_named
from lockstep.harness.faults.table import named
from lockstep.harness.reference.expect import expect

PER_STEP = ("c", "h", "scores", "attention", "context", "y", "logit")


def with_and_without(fault, case):
    """What comes out with a deviation, and what the reference gives."""
    problem = problem_of(case)
    computed = expected_named(fault, problem)
    assert computed is not None
    return computed, expect(problem)


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        ("h.carry-and-c.carry:initial", "c"),
        ("h0-and-c0:exchanged", "c"),
        ("query:h_in", "scores"),
        ("query:one-call-further", "scores"),
        ("softmax:over-the-batch", "attention"),
        ("join.context:previous", "y"),
        ("joined:exchanged", "y"),
        ("target.y:bare", "logit"),
        ("y.fed:zero", "c"),
    ],
)
def test_a_deviation_of_a_decoder_first_changes_what_it_is_about(fault, first):
    wrong, right = with_and_without(fault, make_decoder(dtype="float64", seed=3))
    places = [
        (t, PER_STEP.index(name), name)
        for name in PER_STEP
        for t in range(4)
        if not np.allclose(right[name].value[t], wrong[name].value[t])
    ]
    assert min(places)[2] == first


def test_weights_that_are_all_one_hide_that_they_are_made_anew_but_for_their_gradient():
    case = make_decoder(gradients=True, seed=3, weights="ones", dtype="float32")
    for fault in ("W_target:one@later", "W_target,-W_tilde-and-b_tilde:made-anew-as-ones@later"):
        wrong, right = with_and_without(fault, case)
        for name in PER_STEP:
            np.testing.assert_allclose(right[name].value, wrong[name].value, rtol=1e-6, err_msg=name)
        assert not np.allclose(right["dW_target"].value, wrong["dW_target"].value)


def test_a_detached_feedback_changes_gradients_alone():
    wrong, right = with_and_without("d-y.fed:zero", make_decoder(gradients=True, seed=3, dtype="float64"))
    np.testing.assert_allclose(right["logit"].value, wrong["logit"].value, rtol=1e-13)
    assert not np.allclose(right["dW_tilde"].value, wrong["dW_tilde"].value)
    np.testing.assert_allclose(right["dW_target"].value, wrong["dW_target"].value)


@pytest.mark.parametrize("case", [
    make_decoder(gradients=True, seed=3, dtype="float64"),
    make_case(gradients=True, seed=3, dtype="float64", initial_state="probe"),
])  # fmt: skip
def test_the_gradient_of_one_step_is_what_that_step_adds(case):
    parts = expect(problem_of(case))["dR_t"].value
    for edit, expected in (
        ("of-the-first-step-only", parts[0]),
        ("of-the-last-step-only", parts[-1]),
        ("without-the-last-step", parts[:-1].sum(axis=0)),
    ):
        wrong, _ = with_and_without(f"dR:{edit}", case)
        np.testing.assert_allclose(wrong["dR"].value, expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(wrong["dR_t"].value, parts, rtol=1e-12, atol=1e-15)


def test_a_final_state_may_be_the_output_of_the_first_or_last_timestep():
    case = make_case(num_layers=2, direction="bidirectional", lengths=(4, 2, 1), timesteps=5, batch=3, seed=1)
    for which, t in (("first", 0), ("last", -1)):
        wrong, right = with_and_without(f"h_n:output-of-the-{which}-timestep@1r", case)
        np.testing.assert_allclose(wrong["h_n_l1_reverse"].value, right["h_l1_reverse"].value[t], rtol=1e-6)
        np.testing.assert_allclose(wrong["h_n_l0_reverse"].value, right["h_n_l0_reverse"].value, rtol=1e-6)


def test_no_name_stands_for_two_deviations():
    for case in (make_case(gradients=True, num_layers=2, lengths=(5, 3)), make_decoder(gradients=True)):
        problem = problem_of(case)
        assert all(name == deviation.name for name, deviation in named(problem).items())
        assert not {"peep.i:zero", "h_n:zero@decoder"} & named(problem).keys()
