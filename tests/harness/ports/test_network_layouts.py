"""Weights of networks as frameworks keep them: what a port is handed, what it may return, in which words it is told."""

from __future__ import annotations

import numpy as np
import pytest
from examples import mostly_slow
from judge import causes_of
from lstm_cases import make_case
from numpy.testing import assert_allclose, assert_array_equal
from port_answers import answers

from lockstep.harness.cases.problem import Problem
from lockstep.harness.jobs.check import check
from lockstep.harness.ports.arguments import Form, Given
from lockstep.harness.ports.port import LocalPort
from lockstep.harness.weights.arranged import arranged, by_lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store, unpack, with_forget_bias

BOTH = make_case("both", num_layers=2, direction="bidirectional", initial_state="probe", timesteps=3)
STACK = make_case("stack", num_layers=2, initial_state="probe", timesteps=3)
SIDES = make_case("sides", direction="bidirectional", initial_state="probe", timesteps=3)
BACKWARD = make_case("backward", num_layers=2, direction="bidirectional", gradients=True)


def handed(case, layout):
    problem = Problem.from_case(case)
    return problem, Given(problem, Form(layout)).values["weights"]


# What is handed over


def test_torch_has_one_dict_as_load_state_dict_takes_it():
    torch = pytest.importorskip("torch", reason="install the extra torch")
    for case, options in ((BOTH, {"num_layers": 2, "bidirectional": True}), (STACK, {"num_layers": 2})):
        _, weights = handed(case, "torch")
        lstm = torch.nn.LSTM(case.lstm.input_size, case.lstm.hidden_size, **options)
        lstm.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})  # strict
        assert list(weights) == list(lstm.state_dict())
    projected = make_case(num_layers=2, proj_size=2)
    assert {"weight_hr_l0", "weight_hr_l1"} < handed(projected, "torch")[1].keys()


def test_keras_has_the_list_of_get_weights_forward_before_backward():
    problem, weights = handed(BOTH, "keras")
    assert len(weights) == 3 * 4
    last = problem.weights[1][1]
    for array, expected in zip(weights[-3:], (last.W.T, last.R.T, last.b), strict=True):
        assert_array_equal(array, expected)
    assert_array_equal(weights[3], problem.weights[0][1].W.T)


def test_onnx_has_directions_stacked_in_each_layer():
    _, weights = handed(BOTH, "onnx")
    H = BOTH.lstm.hidden_size
    assert [{name: array.shape for name, array in layer.items()} for layer in weights] == [
        {"W": (2, 4 * H, n), "R": (2, 4 * H, H), "B": (2, 8 * H)} for n in (BOTH.lstm.input_size, 2 * H)
    ]
    peepholes = make_case(direction="bidirectional", peephole=True)
    assert handed(peepholes, "onnx")[1][0]["P"].shape == (2, 3 * H)


@pytest.mark.parametrize(
    ("case", "names"),
    [
        (STACK, ["rnn/multi_rnn_cell/cell_0/basic_lstm_cell/", "rnn/multi_rnn_cell/cell_1/basic_lstm_cell/"]),
        (SIDES, ["bidirectional_rnn/fw/basic_lstm_cell/", "bidirectional_rnn/bw/basic_lstm_cell/"]),
        (
            BOTH,
            [
                f"stack_bidirectional_rnn/cell_{k}/bidirectional_rnn/{side}/basic_lstm_cell/"
                for k in (0, 1)
                for side in ("fw", "bw")
            ],
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_tf1_has_names_by_scope(case, names):
    _, weights = handed(case, "tf1")
    assert list(weights) == [f"{scope}{name}" for scope in names for name in ("kernel", "bias")]


def test_tf1_calls_a_cell_with_a_projection_or_peepholes_another():
    _, weights = handed(make_case(num_layers=2, proj_size=2), "tf1")
    assert "rnn/multi_rnn_cell/cell_1/lstm_cell/projection/kernel" in weights


def test_layouts_of_single_cells_stay_a_list_over_layers():
    assert handed(BOTH, "flax")[1][1][1].keys() >= {"ii.kernel", "hg.bias"}


@pytest.mark.parametrize("layout", DIALECTS)
@pytest.mark.parametrize("case", [BOTH, STACK, SIDES], ids=lambda case: case.name)
def test_what_was_put_together_comes_apart_again(case, layout):
    dialect = DIALECTS[layout]
    lanes = [[store(w.arrays(), dialect) for w in layer] for layer in Problem.from_case(case).weights]
    again = by_lane(arranged(lanes, dialect, case.lstm), dialect, case.lstm)
    for layer, expected_layer in zip(again, lanes, strict=True):
        for lane, expected in zip(layer, expected_layer, strict=True):
            assert lane.keys() == expected.keys()
            for name, array in lane.items():
                assert_array_equal(array, expected[name])


@pytest.mark.parametrize(
    ("layout", "spoil", "note"),
    [
        ("torch", lambda w: w["weight_hh_l1"].fill(0), "weights (weight_hh_l1)"),
        ("keras", lambda w: w[4].fill(0), "weights (4)"),
        ("keras", lambda w: w.append(0), "weights (12)"),
        ("onnx", lambda w: w[1]["B"].fill(0), "weights[1] (B)"),
    ],
)
def test_what_a_port_changes_is_named_by_its_place(layout, spoil, note):
    def port(x, weights, h0, c0):
        spoil(weights)
        return np.zeros((3, x.shape[1], 2 * h0.shape[-1]), x.dtype), None, c0

    (reply,) = LocalPort(port, layout=layout).call([Problem.from_case(BOTH)])
    assert f"it changed its argument {note} in place" in reply.notes


def test_a_list_has_no_place_for_a_clip():
    case = make_case(num_layers=2, cell_clip=0.5)
    (reply,) = LocalPort(lambda x, weights, h0, c0: x, layout="keras").call([Problem.from_case(case)])
    assert (reply.status, "no place for the bound of a cell clip" in reply.message) == ("unsupported", True)


# Ports that read them by themselves


def of_torch(weights, directions):
    H = len(weights["weight_hh_l0"]) // 4
    for k in range(sum(name.startswith("weight_hh") for name in weights) // directions):
        for side in ("", "_reverse")[:directions]:
            W, R, b, b2 = (weights[f"{n}_l{k}{side}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            yield W, R, b + b2, H, "ifgo"


def of_keras(weights, directions):
    del directions
    for start in range(0, len(weights), 3):
        kernel, recurrent, bias = weights[start : start + 3]
        yield kernel.T, recurrent.T, bias, len(recurrent), "ifgo"


def of_onnx(weights, directions):
    for layer in weights:
        for d in range(directions):
            first, second = np.split(layer["B"][d], 2)
            yield layer["W"][d], layer["R"][d], first + second, layer["R"].shape[-1], "iofg"


def of_tf1(weights, directions):
    del directions
    for name in weights:
        if name.endswith("/kernel"):
            bias = weights[name.replace("/kernel", "/bias")].copy()
            H = len(bias) // 4
            bias[2 * H : 3 * H] += 1
            yield weights[name][:-H].T, weights[name][-H:].T, bias, H, "igfo"


READERS = {"torch": of_torch, "keras": of_keras, "onnx": of_onnx, "tf1": of_tf1}


def network(layout, misread=lambda lane: None):
    """A port that reads a layout; ``misread``: the order in which it takes the blocks of a lane, counted from 0."""

    def port(x, weights, h0, c0):
        directions = 2 if h0.shape[0] == 4 or layout == "sides" else 1
        h_n, c_n, sides = [], [], []
        for n, (W, R, b, H, order) in enumerate(READERS[layout](weights, directions)):
            reverse, h, c, hs = n % directions, h0[n], c0[n], []
            for x_t in x[::-1] if reverse else x:
                blocks = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
                z = dict(zip(misread(n) or order, blocks, strict=True))
                c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
                h = sigmoid(z["o"]) * np.tanh(c)
                assert h.shape[-1] == H
                hs.append(h)
            sides.append(np.stack(hs[::-1] if reverse else hs))
            h_n.append(h)
            c_n.append(c)
            if len(sides) == directions:
                x, sides = np.concatenate(sides, axis=-1), []
        return x, np.stack(h_n), np.stack(c_n)

    return port


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2


@pytest.mark.parametrize("layout", READERS)
def test_a_port_that_reads_a_layout_agrees(layout):
    runs = check(LocalPort(network(layout), layout=layout), [BOTH, STACK])
    assert {run.status for run in runs} == {"agree"}


@pytest.mark.parametrize(
    ("layout", "order", "words"),
    mostly_slow(
        [
            (
                "torch",
                "ifog",
                ["W (`weight_ih`), R (`weight_hh`)", "read as i, f, o, g, and stored as i, f, g, o (torch)"],
            ),
            (
                "keras",
                "igfo",
                ["W (`kernel`), R (`recurrent_kernel`)", "as i, g, f, o, and stored as i, f, g, o (keras)"],
            ),
            ("onnx", "ifgo", ["i, f, g, o", "(i, o, f, g"]),
            ("tf1", "ifgo", ["W (`kernel`)", "read as i, f, g, o, and stored as i, g, f, o (tf1)"]),
        ],
        every=4,
        names=3,
    ),
)
def test_an_order_of_gates_is_told_in_the_terms_of_the_layout(layout, order, words):
    (cause,) = causes_of(check(LocalPort(network(layout, lambda lane: order), layout=layout), [BOTH]))
    assert [word for word in words if word not in cause.message] == [], cause.message


@pytest.mark.parametrize(
    ("layout", "order", "words"),
    mostly_slow(
        [
            ("torch", "ifog", ["in layer 1 (counted from 0), reverse direction", "`weight_ih_l1_reverse`", "(torch)"]),
            ("keras", "ifog", ["in layer 1 (counted from 0), reverse direction", "`recurrent_kernel`", "(keras)"]),
            ("onnx", "ifgo", ["in layer 1 (counted from 0), reverse direction", "i, o, f, g"]),
        ],
        every=3,
        names=3,
    ),
)
def test_an_order_of_gates_in_one_lane_names_its_arrays(layout, order, words):
    wrong = network(layout, lambda lane: order if lane == 3 else None)
    (cause,) = causes_of(check(LocalPort(wrong, layout=layout), [BOTH]))
    message = cause.message[0].lower() + cause.message[1:]
    assert [word for word in words if word not in message] == [], cause.message


# Gradients


def gives_back(layout, spoil=lambda weights: weights):
    """A port that returns right gradients in a layout."""
    problem = Problem.from_case(BACKWARD)
    right, dialect = answers(problem), DIALECTS[layout]

    def port(x, weights, h0, c0, dh, dc):
        del weights, h0, c0, dh, dc
        assert x.tobytes() == problem.x.tobytes()  # of a stranger it knows nothing
        lanes = [
            [stored_gradients(W, R, b, dialect) for W, R, b in zip(*layer, strict=True)]
            for layer in zip(right["W"], right["R"], right["b"], strict=True)
        ]
        gradients = spoil(arranged(lanes, dialect, BACKWARD.lstm))
        return {**{name: right[name] for name in ("h_seq", "x", "h0", "c0")}, "weights": gradients}

    return LocalPort(port, layout=layout)


def stored_gradients(W, R, b, dialect):
    """Gradients as arrays of a dialect: each of two biases has that of their sum; a constant has none."""
    stored = store({"W": W, "R": R, "b": with_forget_bias(b, dialect.forget_bias)}, dialect)
    if dialect.biases == "two":
        halves = unpack(stored, dialect)[2]
        assert_allclose(halves[0], b)
        for name in dialect.bias:
            stored[name] = np.concatenate([stored[name][:, : 4 * R.shape[1]]] * 2, 1) if len(dialect.bias) == 1 else b
    return stored


@pytest.mark.parametrize("layout", ["torch", "keras", "onnx", "tf1", "flax"])
def test_gradients_that_come_in_a_layout_are_read_back(layout):
    (run,) = check(gives_back(layout), [BACKWARD])
    assert run.status == "agree", run.message
    assert {"dW_l0", "dR_l1_reverse", "db_l0_reverse"} <= run.tensors.keys()
    assert run.notes == []


def test_a_wrong_gradient_of_one_of_two_biases_diverges():
    def spoil(weights):
        return {**weights, "bias_hh_l1": 2 * weights["bias_hh_l1"]}

    (outcome,) = gives_back("torch", spoil).call([Problem.from_case(BACKWARD)])
    expected = answers(Problem.from_case(BACKWARD))["b"][1][0]
    assert_allclose(outcome.trace.tensors(BACKWARD)["db_l1"], 1.5 * expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("layout", "spoil", "message"),
    [
        (
            "torch",
            lambda w: w | {"weight_ih_l2": 0},
            "weights holds weight_ih_l2, of which nothing is known. Allowed: w",
        ),
        ("torch", lambda w: list(w.values()), "weights is a list of 16, expected a dict of weight_ih_l0, "),
        (
            "keras",
            lambda w: w[:-1],
            "weights is a list of 11, expected a list of 12 arrays: gradients have the form of",
        ),
        ("onnx", lambda w: w[:1], "weights is a list of 1, expected a list of 2 layers"),
        (
            "torch",
            lambda w: w | {"weight_ih_l0": w["weight_ih_l0"].T},
            "weights['weight_ih_l0'] has shape (3, 16), exp",
        ),
    ],
)
def test_gradients_in_another_form_than_the_weights_are_told(layout, spoil, message):
    (run,) = check(gives_back(layout, spoil), [BACKWARD])
    assert (run.status, message in run.message) == ("failed", True), run.message


def test_gradients_that_are_left_out_are_noted_and_the_others_compared():
    (run,) = check(gives_back("torch", lambda w: w | {"weight_ih_l0": None}), [BACKWARD])
    assert run.status == "agree"
    assert run.notes == ["it returned no weights['weight_ih_l0']: not compared"]
    assert "dR_l0" in run.tensors
    assert "dW_l0" not in run.tensors
