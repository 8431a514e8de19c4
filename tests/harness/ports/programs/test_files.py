"""The files of problems and answers: names, shapes and what is told of the case, as docs/how-to/program.md has them."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from lstm_cases import make_case
from numpy.testing import assert_array_equal
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.checks.forms import as_given
from lockstep.harness.ports.programs.answer_file import read_answer
from lockstep.harness.ports.programs.problem_file import write_problem


def written(tmp_path, problem, layout="canonical"):
    """The arrays and the description in the file of a problem."""
    path = tmp_path / "problem.safetensors"
    write_problem(path, problem, layout)
    with safe_open(path, framework="numpy") as file:
        return load_file(path), json.loads(file.metadata()["case"])


def shipped(name):
    return problem_of(find_cases([name])[0].case)


def test_a_layer_has_the_names_of_the_docs(tmp_path):
    problem = shipped("lengths")
    arrays, about = written(tmp_path, problem)
    assert arrays.keys() == {"x", "W", "R", "b", "h0", "c0", "lengths"}
    for name, array in arrays.items():
        assert_array_equal(array, getattr(problem, name), strict=True)
    T, B, I, H = problem.case.shape
    sizes = {"timesteps": T, "batch": B, "input_size": I, "hidden_size": H, "num_layers": 1, "proj_size": 0}
    assert sizes.items() <= about.items()
    assert (about["form"], about["plain"], about["dtype"], about["layout"]) == ("layer", True, "float32", "canonical")
    # It is in b already, and whoever read it here would add it again.
    assert "forget_bias" not in about


def test_a_network_has_its_lanes_in_the_names(tmp_path):
    arrays, about = written(tmp_path, shipped("bidirectional-layers-lengths"))
    lanes = [f"_l{layer}{way}" for layer in range(about["num_layers"]) for way in ("", "_reverse")]
    expected = {"x", "h0", "c0", "lengths", "dh", "dc", *(name + lane for name in "WRb" for lane in lanes)}
    assert arrays.keys() - {"dh", "dc"} == expected - {"dh", "dc"}
    assert (about["form"], about["plain"], about["direction"]) == ("network", False, "bidirectional")


def test_a_decoder_has_names_of_its_own(tmp_path):
    arrays, about = written(tmp_path, as_given(shipped("attention-window")))
    assert {"enc", "y0", "h0", "c0", "W", "R", "b", "W_tilde", "b_tilde", "W_target"} <= arrays.keys()
    assert (about["form"], about["plain"], about["gradients"]) == ("decoder", False, False)
    assert {"source_timesteps", "source_size", "score", "output_size"} <= about.keys()
    assert about["source_timesteps"] == len(arrays["enc"])


@pytest.mark.parametrize(
    ("name", "layout", "names"),
    [
        ("tiny", "torch", {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}),
        ("tiny", "tf1", {"kernel", "bias"}),
        ("bidirectional", "keras", {f"{name}_l0{way}" for name in ("kernel", "recurrent_kernel", "bias")
                                    for way in ("", "_reverse")}),
        ("bidirectional", "torch", {f"{name}_l0{way}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                                    for way in ("", "_reverse")}),
        ("bidirectional", "onnx", {"W_l0", "R_l0", "B_l0"}),
        ("bidirectional", "tf1", {f"bidirectional_rnn/{way}/basic_lstm_cell/{name}" for way in ("fw", "bw")
                                  for name in ("kernel", "bias")}),
        ("bidirectional", "haiku", {f"{name}_l0{way}" for name in "wb" for way in ("", "_reverse")}),
    ],
)  # fmt: skip
def test_weights_are_stored_as_a_layout_has_them(tmp_path, name, layout, names):
    arrays, about = written(tmp_path, shipped(name), layout)
    assert arrays.keys() - {"x", "h0", "c0", "lengths", "dh", "dc"} == names
    assert about["layout"] == layout


def test_half_precisions_are_stored_as_they_are(tmp_path):
    arrays, about = written(tmp_path, shipped("bfloat16"))
    assert about["dtype"] == "bfloat16"
    assert arrays["W"].dtype == ml_dtypes.bfloat16


def answered(tmp_path, case, arrays, layout="canonical"):
    path = tmp_path / "answer.safetensors"
    save_file(arrays, path)
    return read_answer(path, problem_of(case), layout)


NETWORK = make_case(num_layers=2, direction="bidirectional", gradients=True)


def gradients_of_network():
    names = [f"{name}_l{layer}{way}" for name in "WRb" for layer in (0, 1) for way in ("", "_reverse")]
    lstm = NETWORK.lstm
    H, widths = lstm.hidden_size, (lstm.input_size, 2 * lstm.hidden_size)
    shapes = {"W": lambda layer: (4 * H, widths[layer]), "R": lambda layer: (4 * H, H), "b": lambda layer: (4 * H,)}
    values = {name: np.full(shapes[name[0]](int(name[3])), k, np.float32) for k, name in enumerate(names)}
    return {"h_seq": np.zeros(NETWORK.natural_shape("h"), np.float32), **values}


def test_gradients_come_by_the_names_of_the_weights(tmp_path):
    given = gradients_of_network()
    returned = answered(tmp_path, NETWORK, given)
    tensors = returned.trace.tensors(NETWORK)
    for name in given.keys() - {"h_seq"}:
        assert_array_equal(tensors[f"d{name}"], given[name])
    assert returned.notes == ["it returned no x, h0, c0: not compared"]


@pytest.mark.parametrize("layout", ["torch", "keras", "onnx", "tf1", "haiku"])
def test_gradients_in_a_layout_come_by_the_names_of_the_weights_there(tmp_path, layout):
    problem = problem_of(NETWORK)
    stored, _ = written(tmp_path, problem, layout)
    inputs = {"x", "h0", "c0", "dh", "dc"}
    # Of weights that stand for gradients what is read is known: each is moved as the weight is.
    given = {"h_seq": np.zeros(NETWORK.natural_shape("h"), np.float32)}
    given |= {name: np.ascontiguousarray(array) for name, array in stored.items() if name not in inputs}
    returned = answered(tmp_path, NETWORK, given, layout)
    tensors = returned.trace.tensors(NETWORK)
    assert {"dW_l0", "dR_l1_reverse", "db_l1"} <= tensors.keys()
    for name, array in problem.named_weights().items():
        if name[0] != "b":  # which is split, and of which a part is added at run time
            assert_array_equal(tensors[f"d{name}"], array)
    assert returned.notes == ["it returned no x, h0, c0: not compared"]


def test_a_gradient_that_is_left_out_is_told_by_its_name(tmp_path):
    given = gradients_of_network()
    del given["W_l1_reverse"]
    assert answered(tmp_path, NETWORK, given).notes == ["it returned no x, h0, c0, W_l1_reverse: not compared"]


def test_a_gradient_of_another_shape_is_told_by_its_name(tmp_path):
    given = gradients_of_network() | {"R_l0_reverse": np.zeros((3, 4), np.float32)}
    with pytest.raises(UserCodeError, match=r"R_l0_reverse has shape \(3, 4\), expected \(4H, H\)"):
        answered(tmp_path, NETWORK, given)


def test_a_gradient_without_its_lane_is_told_what_it_is_called(tmp_path):
    given = gradients_of_network() | {"W": np.zeros((3, 4), np.float32)}
    with pytest.raises(
        UserCodeError, match=r"holds W, which in this network is one of W_l0, W_l0_reverse, W_l1, W_l1_r"
    ):
        answered(tmp_path, NETWORK, given)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"out": np.zeros((2, 2))}, r"a dict of out: expected h_seq and c_seq"),
        ({}, "a dict of nothing"),
        ({"h_seq": np.zeros((5, 3, 4), np.int64)}, "h_seq is int64, which holds no fractions"),
        (
            {"h_seq": np.zeros((3, 5, 4), np.float32)},
            r"h_seq has shape \(3, 5, 4\), expected \(T, B, H\) = \(5, 3, 4\)",
        ),
    ],
)
def test_what_is_no_answer_is_told_as_of_ports(tmp_path, arrays, message):
    case = make_case(timesteps=5, batch=3, hidden_size=4)
    with pytest.raises(UserCodeError, match=message):
        answered(tmp_path, case, arrays)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "BOOL", "F4", "NONSENSE"])
def test_dtypes_that_nobody_computes_in_are_told(tmp_path, dtype):
    header = json.dumps({"h_seq": {"dtype": dtype, "shape": [5, 3, 4], "data_offsets": [0, 60]}}).encode()
    path = tmp_path / "answer.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(60))
    with pytest.raises(UserCodeError, match=r"h_seq|its answer"):
        read_answer(path, problem_of(make_case(timesteps=5, batch=3, hidden_size=4)), "canonical")
