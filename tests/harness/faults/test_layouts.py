"""Weights stored under one dialect and read under another."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_lstm import make_port
from lstm_cases import make_case
from stored_weights import read

from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.named_causes import expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.table import find
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

PROBLEM = Problem.from_case(make_case(timesteps=6, batch=3, input_size=5, hidden_size=4, initial_state="probe"))
WEIGHTS = {"W": PROBLEM.W, "R": PROBLEM.R, "b": PROBLEM.b}


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
    name = f"layout:{stored}-read-as-{taken}"
    observation = observed(read(taken_arrays, wrong))
    if find(name, PROBLEM) is None:  # both store alike
        assert observation.sigma <= LIMIT_SIGMA
        return
    assert observation.distance(expected_named(name, PROBLEM), None) <= LIMIT_SIGMA
    assert not observation.sigma <= LIMIT_SIGMA
    first, *_ = explain([observation], layout=stored)
    # Another dialect may be read alike.
    told, meant = (expected_named(which, PROBLEM)["h"].value for which in (first.fault, name))
    np.testing.assert_array_equal(told, meant)
    if stored != "canonical":
        assert f"stored as {stored} stores them" in first.message


@pytest.mark.parametrize("stored", ["tf1", "torch", "onnx"])
def test_words_are_those_of_the_layout_in_which_weights_were_handed_over(stored):
    gates = DIALECTS[stored].gates

    def port_that_reads(order):
        """The port that takes the blocks, as the layout stacks them, for gates in another order."""
        canonical = "".join(order[gates.index(gate)] for gate in "ifgo")

        def moved(array):
            blocks = dict(zip(canonical, np.split(array, 4), strict=True))
            return np.concatenate([blocks[gate] for gate in "ifgo"])

        bias = DIALECTS[stored].forget_bias
        shift = np.repeat([0.0, bias, 0.0, 0.0], PROBLEM.case.lstm.hidden_size).astype(np.float32)
        return observed({"W": moved(PROBLEM.W), "R": moved(PROBLEM.R), "b": moved(PROBLEM.b - shift) + shift})

    for order in ("ifgo", "igfo", "iofg"):
        if order == gates:
            continue
        first, *_ = explain([port_that_reads(order)], layout=stored)
        assert f"stored as {', '.join(gates)}" in first.message or f"stores them ({', '.join(gates)}" in first.message
        assert ", ".join(order) in first.message
        assert "lockstep convert" not in first.fix.partition("unpacking")[0]
