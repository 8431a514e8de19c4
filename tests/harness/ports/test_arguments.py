"""What a port is handed: each lane as the layout stores it, every precision in every framework's arrays."""

from __future__ import annotations

import re
import sys

import ml_dtypes
import numpy as np
import pytest
from lstm_cases import make_case
from numpy.testing import assert_array_equal
from port_answers import answers

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.problem import Problem
from lockstep.harness.ports.arguments import Form, Given
from lockstep.harness.ports.framework_arrays import as_array
from lockstep.harness.ports.port import LocalPort


def make_problem(**settings):
    return Problem.from_case(make_case(initial_state="probe", **settings))


NETWORK = make_problem(num_layers=2, direction="bidirectional", proj_size=2, peephole=True, cell_clip=0.5)


def test_of_several_lanes_weights_are_a_list_over_layers_of_a_list_over_directions():
    given = Given(NETWORK, Form()).values
    assert [len(layer) for layer in given["weights"]] == [2, 2]
    for lane, weights in NETWORK.lanes():
        handed = given["weights"][lane.layer][lane.reverse]
        assert handed.keys() == {"W", "R", "b", "P", "p", "clip"}
        assert handed["clip"] == 0.5
        for name, array in weights.arrays().items():
            assert_array_equal(handed[name], array)
            assert handed[name].flags.writeable
    assert given["weights"][1][0]["W"].shape == (16, 4)  # it takes both directions of the layer below
    assert (given["h0"].shape, given["c0"].shape) == ((4, 2, 2), (4, 2, 4))
    assert given.keys() == {"x", "weights", "h0", "c0"}


def test_of_one_lane_weights_are_a_dict_and_cotangents_come_where_gradients_are_asked_for():
    problem = make_problem(direction="reverse", gradients=True, lengths=(5, 2))
    given = Given(problem, Form()).values
    assert given["weights"].keys() == {"W", "R", "b"}
    for name in ("dh", "dc", "lengths"):
        assert_array_equal(given[name], getattr(problem, name))


@pytest.mark.parametrize(
    ("layout", "settings", "message"),
    [
        ("keras", {"proj_size": 2}, "keras has no projection of the hidden state"),
        ("onnx", {"num_layers": 2, "proj_size": 2}, "onnx has no projection of the hidden state"),
        ("torch", {"peephole": True}, "torch has no peepholes"),
    ],
)
def test_what_a_layout_has_no_place_for_is_unsupported(layout, settings, message):
    (reply,) = LocalPort(lambda x, weights, h0, c0, dh=None, dc=None: x, layout=layout).call([make_problem(**settings)])
    assert reply.status == "unsupported"
    assert reply.message.startswith(message)
    assert not reply.message.endswith(".")


def test_peepholes_are_handed_over_where_a_layout_has_them():
    problem = make_problem(peephole=True)
    p = problem.weights[0][0].p
    assert_array_equal(Given(problem, Form("tf1")).values["weights"]["w_f_diag"], p[1])
    assert_array_equal(Given(problem, Form("onnx")).values["weights"]["P"][0, 4:8], p[2])  # i, o, f


HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
FRAMEWORKS = [
    "numpy",
    pytest.param("torch", marks=pytest.mark.xdist_group("torch")),
    pytest.param("jax", marks=pytest.mark.xdist_group("jax")),
    pytest.param("tensorflow", marks=[pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]),
]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("arrays", FRAMEWORKS)
def test_half_precisions_go_in_and_come_out_bit_for_bit(arrays, dtype):
    if arrays != "numpy":
        pytest.importorskip(arrays, reason=f"install the extra for {arrays}")
    problem = make_problem(dtype=dtype, peephole=True, gradients=True)
    seen = {}

    def port(x, weights, h0, c0, dh, dc):
        seen.update(weights, x=x, h0=h0, c0=c0, dh=dh, dc=dc)
        return {"x": x, "W": weights["W"], "p": weights["p"], "c0": dc}

    (reply,) = LocalPort(port, arrays=arrays).call([problem])
    assert reply.status == "ran", reply.message
    for name, array in problem.arrays().items():
        assert re.search(rf"\b{dtype}\b", str(seen[name].dtype))
        assert as_array(seen[name])[0].tobytes() == array.tobytes()
    # What came back is what went in, in the case's dtype: nothing was converted, and nothing counts as changed.
    assert reply.trace.dx.tobytes() == problem.x.tobytes()
    assert all(array.dtype == HALVES[dtype] for array in reply.trace.arrays.values())
    assert reply.notes == ("it returned no h_seq, R, b, h0: not compared",)


@pytest.mark.parametrize(
    ("came", "case"),
    [("float32", "bfloat16"), ("bfloat16", "float16"), ("float64", "float16"), ("bfloat16", "float32")],
)
def test_results_in_another_precision_are_converted_with_a_note(came, case):
    problem = make_problem(dtype=case)
    results = {name: array.astype(HALVES.get(came, came)) for name, array in answers(problem).items()}
    (reply,) = LocalPort(lambda *args: (results["h_seq"], results["c_seq"])).call([problem])
    assert reply.notes == (f"h_seq, c_seq came as {came} where the case is {case}: converted",)
    assert all(array.dtype == problem.x.dtype for array in reply.trace.arrays.values())


@pytest.mark.xdist_group("torch")
def test_tensors_of_torch_in_bfloat16_are_not_taken_for_changed_until_they_are():
    torch = pytest.importorskip("torch", reason="install the extra torch")

    def port(x, weights, h0, _):
        assert x.dtype == weights["W"].dtype == torch.bfloat16
        h0[0, 0] += 1
        return torch.zeros(5, 2, 4, dtype=torch.bfloat16), None

    (reply,) = LocalPort(port, arrays="torch").call([make_problem(dtype="bfloat16")])
    assert reply.notes == ("it changed its argument h0 in place", "it returned None for c_seq: c is not compared")


def test_weights_of_several_lanes_that_were_changed_are_named_by_their_place():
    def port(*args):
        weights = args[1]
        weights[0][1]["R"] *= 2
        weights[1][0]["W"] = weights[1][0].pop("W").T
        weights[1][1]["clip"] = 0
        return np.zeros((5, 2, 4), np.float32), None, None

    (reply,) = LocalPort(port).call([NETWORK])
    changed = [note for note in reply.notes if "in place" in note]
    assert changed == [f"it changed its argument weights[{k}][{d}] ({name}) in place" for k, d, name in
                       [(0, 1, "R"), (1, 0, "W"), (1, 1, "clip")]]  # fmt: skip


def test_a_framework_that_cannot_be_imported_is_no_refusal(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserCodeError, match="torch cannot be imported") as error:
        Given(NETWORK, Form(arrays="torch"))
    assert error.value.outcome.status == "failed"
