"""Weights stored under one dialect and read under another."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_lstm import make_port
from lstm_cases import make_case

from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.name_faults import named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.execution import AS_INTENDED
from lockstep.harness.faults.interpret import interpret
from lockstep.harness.faults.weight_faults import misread
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import read, store

PROBLEM = Problem.from_case(make_case(timesteps=6, batch=3, input_size=5, hidden_size=4, initial_state="probe"))
WEIGHTS = {"W": PROBLEM.W, "R": PROBLEM.R, "b": PROBLEM.b}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_read_as_itself_is_canonical(name):
    assert misread(DIALECTS[name], DIALECTS[name]) == AS_INTENDED


def observed(weights):
    h, c = make_port()(PROBLEM.x, weights, PROBLEM.h0, PROBLEM.c0)
    return Observation(PROBLEM, {"h": h, "c": c})


@pytest.mark.parametrize(
    ("stored", "taken"),
    [
        ("tf1", "keras"),
        ("keras", "tf1"),
        ("onnx", "torch"),
        ("torch", "onnx"),
        ("haiku", "tf1"),
        ("canonical", "keras"),
    ],
)
def test_it_is_what_reading_the_stored_arrays_under_the_other_dialect_gives(stored, taken):
    wrong, right = DIALECTS[taken], DIALECTS[stored]
    # The same numbers under the other one's names and shapes: memory as it lies.
    arrays, shapes = store(WEIGHTS, right), store(WEIGHTS, wrong)
    kernels = np.concatenate([arrays[n].ravel() for n in right.input_kernel + right.recurrent_kernel])
    if right.fused != wrong.fused:
        # Split where the other is fused, or fused: rows of [x; h] one after the other, in either.
        assert right.transposed == wrong.transposed == True  # noqa: E712
    taken_arrays = {}
    start = 0
    for name in wrong.input_kernel + wrong.recurrent_kernel:
        size = shapes[name].size
        taken_arrays[name] = kernels[start : start + size].reshape(shapes[name].shape)
        start += size
    bias = sum(arrays[n].reshape(-1, 4 * PROBLEM.case.lstm.hidden_size)[0] for n in right.bias)
    for k, name in enumerate(wrong.bias):
        flat = np.zeros(shapes[name].size, bias.dtype)
        if k == 0:
            flat[: bias.size] = bias
        taken_arrays[name] = flat.reshape(shapes[name].shape)
    execution = misread(right, wrong)
    observation = observed(read(taken_arrays, wrong))
    assert observation.sigma(execution) <= LIMIT_SIGMA
    assert execution == AS_INTENDED or not observation.sigma(AS_INTENDED) <= LIMIT_SIGMA


def test_its_parts_have_names():
    names = [fault.name for fault in named(misread(DIALECTS["canonical"], DIALECTS["tf1"]).changes())]
    assert "forget-bias-twice" in names
    assert "gates-exchanged-f-g" in names


def test_one_call_gives_the_numbers():
    wrong = interpret(PROBLEM, misread(DIALECTS["onnx"], DIALECTS["torch"]))
    assert set(wrong) >= {"h", "c"}
