"""The ONNX operator LSTM by its own text, and what runtimes make of each of its attributes, as docs/onnx.md says."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from lstm_cases import make_case
from onnx_attributes import PAGE, RUNTIMES, calls, column, judge
from onnx_operator import STATES, Probe, probes, specified

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.cases.problem import Problem
from lockstep.harness.reference.expect import expect
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

PROBES = {probe.name: probe for probe in probes()}
INFOS = {backend.name: backend for backend in find_backends()}
ACTIVATIONS = {"activations": ["HardSigmoid", "Relu", "Sigmoid"] * 2}


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({}, {}),
        ({"lengths": (5, 2)}, {}),
        ({"peephole": True}, {}),
        ({"input_forget": True, "forget_bias": 0.0}, {"input_forget": 1}),
        ({"recurrent_activation": "hard_sigmoid_0.2", "activation": "relu", "cell_activation": "sigmoid"}, ACTIVATIONS),
    ],
    ids=lambda settings: " ".join(settings) or "plain",
)
def test_the_operators_text_gives_what_the_reference_does(settings, attributes):
    case = make_case(direction="bidirectional", initial_state="probe", dtype="float64", **settings)
    problem = Problem.from_case(case)
    stored = [store(weights.arrays(), DIALECTS["onnx"]) for weights in problem.weights[0]]
    arrays = {name: np.concatenate([of_direction[name] for of_direction in stored]) for name in stored[0]}
    arrays |= {"X": problem.x, "initial_h": problem.states("h0"), "initial_c": problem.states("c0")}
    if problem.lengths is not None:
        arrays["sequence_lens"] = problem.lengths
    probe = Probe("", {"direction": "bidirectional", **attributes}, inputs=tuple(arrays))
    given, expected = specified(probe, arrays), expect(problem)
    for d, lane in enumerate(("l0", "l0_reverse")):
        np.testing.assert_allclose(given["Y"][:, d], expected[f"h_{lane}"].value, atol=1e-14)
        np.testing.assert_allclose(given["Y_h"][d], expected[f"h_n_{lane}"].value, atol=1e-14)
        np.testing.assert_allclose(given["Y_c"][d], expected[f"c_n_{lane}"].value, atol=1e-14)


def test_clip_holds_the_inputs_of_all_three_activations():
    probe = Probe("", {"clip": 0.25}, sizes=(1, 1, 1, 1))
    arrays = {name: np.full_like(array, 9) for name, array in probe.drawn(1).items()}
    gate, candidate = 1 / (1 + np.exp(-0.25)), np.tanh(0.25)
    given = specified(probe, arrays)
    assert given["Y_c"].item() == pytest.approx(gate * 9 + gate * candidate)
    assert given["Y_h"].item() == pytest.approx(gate * np.tanh(0.25))


def test_a_layout_is_the_same_numbers_in_another_order():
    probe = PROBES["layout = 1, bidirectional"]
    arrays = probe.drawn(1)
    turned = arrays | {name: arrays[name].swapaxes(0, 1) for name in ("X", *STATES)}
    given, plain = (
        specified(probe, arrays),
        specified(replace(probe, attributes={"direction": "bidirectional"}), turned),
    )
    np.testing.assert_array_equal(given["Y"].transpose(1, 2, 0, 3), plain["Y"])
    np.testing.assert_array_equal(given["Y_c"].swapaxes(0, 1), plain["Y_c"])


def answer(probe, reading, change=lambda arrays: arrays):
    """What a runtime would give that reads a probe so."""
    return [
        {name: change(specified(reading, arrays)[name].astype(probe.dtype)) for name in probe.outputs}
        for _, arrays in calls(probe)
    ]


@pytest.mark.parametrize(
    "probe", [probe for probe in PROBES.values() if probe.dtype != "bfloat16"], ids=lambda p: p.name
)
def test_each_reading_is_told_by_its_own_words(probe):
    assert judge(probe, answer(probe, probe)).words == "right"
    for words, reading in probe.instead.items():
        assert judge(probe, answer(probe, reading)).words.startswith(f"{words}, without a message: off by ")


def test_what_fits_no_reading_is_wrong_and_by_how_much():
    probe = PROBES["clip"]
    off = answer(probe, probe, lambda array: array + 0.3)
    assert judge(probe, off).words == "wrong by 0.3"
    assert judge(probe, answer(probe, probe, lambda array: array * np.nan)).words == "wrong by inf"


def test_what_is_remembered_and_what_is_refused_is_told():
    probe = PROBES["P"]
    first, between, again = answer(probe, probe)
    assert judge(probe, [first, between, between]).words == "remembers: called again it gives other numbers"
    assert again["Y"].tobytes() == first["Y"].tobytes()
    assert judge(probe, "no such operator").words == "refuses"
    assert judge(probe, "MNN's converter was ended by signal 11").words == "its converter dies"


def told(cell):
    """A cell without what differs from run to run: the number of its note."""
    return re.sub(r" \[\d+\]$", "", cell.strip().strip("*"))


@pytest.mark.contract  # each is a framework of its own
@pytest.mark.slow
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_does_what_the_page_says(name):
    missing = INFOS[name].missing()
    if missing:
        pytest.skip(missing)
    rows = [line.split("|")[1:-1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    place = [cell.strip() for cell in rows[0]].index(name)
    page = {row[0].strip(): told(row[place]) for row in rows[2:]}
    assert page == {probe: told(verdict.words) for probe, verdict in column(INFOS[name], PROBES.values()).items()}
