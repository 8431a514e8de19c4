"""What computes as if a feature of the case had not been asked for is told so, by the name of the feature."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.support import DECODER_FEATURES, FEATURES
from lockstep.harness.reference.expect import expect

STANDARD = {"activation": "tanh", "recurrent_activation": "sigmoid", "cell_activation": "tanh"}
SHORT_OF = [
    ("cell clip", {"cell_clip": None}, "the cell clip"),
    ("peepholes", {"peephole": False}, "peepholes"),
    ("coupled gates", {"input_forget": False}, "coupled gates (input_forget)"),
    ("hard sigmoid 0.2 z", {"recurrent_activation": "sigmoid"}, "the activation of the gates"),
    ("any activations", {"activation": "tanh"}, "the activation of the candidate"),
    ("any activations", {"cell_activation": "tanh"}, "the activation of c"),
    ("any activations", STANDARD, "other activations than sigmoid and tanh"),
    ("reverse", {"direction": "forward"}, "the reverse direction"),
    ("lengths", {"lengths": None}, "lengths"),
    ("bidirectional layers, lengths", {"lengths": None}, "lengths"),
    ("resets", {"resets": None}, "resets"),
    ("initial state", {"h0": 0, "c0": 0}, "the initial state"),
    ("initial state", {"h0": 0}, "the initial h"),
    ("initial state", {"c0": 0}, "the initial c"),
    ("layers", {"h0": 0, "c0": 0}, "the initial state"),
]
EVERY_ACTIVATION = Case(
    lstm=LSTM(
        input_size=2,
        hidden_size=3,
        activation="relu",
        recurrent_activation="hard_sigmoid_0.2",
        cell_activation="linear",
    ),
    run=Run(timesteps=4, batch=2),
    name="every activation",
)


def without(problem: AnyProblem, changes: dict) -> AnyProblem:
    """The same arrays for a case that does not ask for something."""
    arrays = {name: np.zeros_like(getattr(problem, name)) for name in changes if name in {"h0", "c0"}}
    arrays |= {name: None for name in changes if name in {"lengths", "resets"}}
    if "peephole" in changes:
        arrays["weights"] = tuple(tuple(replace(lane, p=None) for lane in layer) for layer in problem.weights)
    lstm = {name: value for name, value in changes.items() if name in LSTM.__struct_fields__}
    run = {name: value for name, value in changes.items() if name in Run.__struct_fields__}
    case = msgspec.structs.replace(
        problem.case,
        lstm=msgspec.structs.replace(problem.case.lstm, **lstm),
        run=msgspec.structs.replace(problem.case.run, **run),
    )
    return replace(problem, case=case, **arrays)


def explained(problem: AnyProblem, changes: dict):
    values = expect(without(problem, changes))
    tensors = {name: np.asarray(tensor.value, problem.case.run.dtype) for name, tensor in values.items()}
    return explain([Observation(problem, tensors)], several=False)[0]


@pytest.mark.parametrize(("feature", "changes", "words"), SHORT_OF, ids=str)
def test_a_feature_that_is_left_out_is_named(feature, changes, words):
    cause = explained(problem_of(FEATURES[feature]), changes)

    assert cause.left_out == words
    assert f"as if {words} had not been asked for, without a message" in cause.evidence


def test_all_activations_that_are_left_out_are_one_feature():
    assert explained(problem_of(EVERY_ACTIVATION), STANDARD).left_out == "other activations than sigmoid and tanh"


def test_a_decoder_that_attends_to_padding_leaves_out_lengths():
    problem = problem_of(DECODER_FEATURES["lengths"])
    assert explained(problem, {"lengths": None}).left_out == "lengths"


def test_another_mistake_leaves_nothing_out():
    cause = explained(problem_of(FEATURES["float32"]), {"activation": "relu"})

    assert not cause.left_out
    assert "had not been asked for" not in cause.evidence
