"""What a port returns of a whole network, and with gradients: taken in its forms, and told what is wrong with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from lstm_cases import make_case
from numpy.testing import assert_array_equal
from port_answers import answers

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.ports.outputs import read_returned

NETWORK = {"num_layers": 3, "direction": "bidirectional", "initial_state": "probe"}
PROJECTED = {"proj_size": 2, "peephole": True, "initial_state": "probe"}


def posed(**settings):
    """Give a case, and what a right port returns for it."""
    case = make_case(**settings)
    return case, answers(Problem.from_case(case))


def refused(value, case):
    with pytest.raises(UserCodeError) as error:
        read_returned(value, case)
    assert error.value.outcome.status == "failed"
    return str(error.value)


class States(NamedTuple):
    h_seq: Any
    h_n: Any
    c_n: Any


FORMS = {
    "tuple": lambda r: (r["h_seq"], r["h_n"], r["c_n"]),
    "list": lambda r: [r["h_seq"].tolist(), list(r["h_n"]), r["c_n"]],
    "as torch does": lambda r: (r["h_seq"], (r["h_n"], r["c_n"])),
    "dict": dict,
    "by name": lambda r: States(**r),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_network_gives_h_seq_and_final_states(form):
    case, right = posed(**NETWORK)
    trace, notes, _ = read_returned(FORMS[form](right), case)
    assert trace.arrays.keys() == {"h", "h_n", "c_n"}
    assert trace.h.shape == (5, 2, 8)
    assert trace.h_n.shape == trace.c_n.shape == (6, 2, 4)
    for name in ("h_n", "c_n"):
        assert_array_equal(getattr(trace, name), right[name])
    assert [note for note in notes if "came as" not in note] == []


def test_final_states_may_be_missing_with_a_note():
    case, right = posed(**NETWORK)
    for value, missing in [
        (right["h_seq"], "h_n, c_n"),
        ((right["h_seq"], None, right["c_n"]), "h_n"),
        ({"h_seq": right["h_seq"], "h_n": right["h_n"]}, "c_n"),
    ]:
        trace, notes, _ = read_returned(value, case)
        assert notes == [f"it returned no {missing}: not compared"]
        assert trace.h is not None


def test_timesteps_of_a_network_may_come_in_a_list():
    for timesteps in (2, 3):
        case, right = posed(timesteps=timesteps, **NETWORK)
        trace, *_ = read_returned(list(right["h_seq"]), case)
        assert_array_equal(trace.h, right["h_seq"])


def test_a_projection_makes_h_narrower_than_c():
    case, right = posed(**PROJECTED)
    trace, notes, _ = read_returned((right["h_seq"], right["c_seq"]), case)
    assert (trace.h.shape, trace.c.shape, notes) == ((5, 2, 2), (5, 2, 4), [])
    trace, notes, _ = read_returned((right["h_seq"], right["c_n"]), case)
    assert_array_equal(trace.c_n, right["c_n"])
    trace, notes, _ = read_returned((right["h_seq"], (right["h_n"][None], right["c_n"][None])), case)
    assert trace.h_n.shape == (2, 2)
    message = refused((np.zeros((5, 2, 4), np.float32), right["c_seq"]), case)
    assert message.startswith("h_seq has shape (5, 2, 4), expected (T, B, P) = (5, 2, 2): before the projection?")


def spoilt(name, change, **settings):
    """Give the message on a result of which one part was changed."""
    case, right = posed(**settings)
    return refused({**right, name: change(right[name])}, case)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "h_seq",
            lambda a: a[..., :4],
            "h_seq has shape (5, 2, 4), expected (T, B, D*H) = (5, 2, 8): one direction alone",
        ),
        ("h_seq", lambda a: a.reshape(5, 2, 2, 4), "directions on an axis of their own? they go side by side"),
        ("h_seq", lambda a: a.swapaxes(0, 1), "batch-major? time comes first"),
        (
            "h_n",
            lambda a: a.reshape(3, 2, 2, 4),
            "h_n has shape (3, 2, 2, 4), expected (L*D, B, H) = (6, 2, 4): layers",
        ),
        ("h_n", lambda a: a.swapaxes(0, 1), "batch-major? layers and directions come first"),
        ("c_n", lambda a: a[-2:], "of one layer alone?"),
        ("c_n", lambda a: a[-1], "of one layer alone?"),
        ("c_n", lambda a: a.astype(int), "c_n is int64, which holds no fractions"),
    ],
)
def test_a_wrong_shape_of_a_network_is_recognised(name, change, message):
    assert message in spoilt(name, change, **NETWORK)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda r: (r["h_seq"], r["h_seq"]), "it returned a tuple of 2: expected (h_seq, h_n, c_n)"),
        (lambda r: (*FORMS["tuple"](r), None), "it returned a tuple of 4: expected (h_seq, h_n, c_n)"),
        (lambda r: {**r, "c_seq": 1}, "it returned c_seq, of which nothing is known. Allowed: h_seq, h_n, c_n"),
        (lambda r: {"h_n": r["h_n"]}, "it returned a dict of h_n: expected (h_seq, h_n, c_n)"),
        (lambda _: None, "it returns nothing: is `return` missing?"),
        (lambda _: np.tanh, "not its results: is a call missing? expected (h_seq, h_n, c_n)"),
    ],
)
def test_what_is_no_result_of_a_network_is_told_the_form(value, message):
    case, right = posed(**NETWORK)
    assert message in refused(value(right), case)


# Gradients


@pytest.mark.parametrize(
    "settings", [{}, {"direction": "reverse"}, NETWORK, PROJECTED, {**NETWORK, **PROJECTED}, {"dtype": "bfloat16"}]
)
def test_gradients_are_read_under_the_names_of_the_trace(settings):
    case, right = posed(gradients=True, **settings)
    trace, notes, _ = read_returned(right, case)
    assert notes == []
    found, known = trace.tensors(case), tensors_of(case)
    for name, array in found.items():
        assert (array.shape, array.dtype) == (known[name].shape, right["x"].dtype)
    own = "" if case.lstm.single else "_l2_reverse"
    assert {"dx", f"dh0{own}", f"dc0{own}", f"dW{own}", f"dR{own}", f"db{own}", f"h{own}"} <= found.keys()
    weights = right["W"] if case.lstm.single else right["W"][2][1]
    assert_array_equal(found[f"dW{own}"], weights)
    if case.lstm.proj_size:
        assert_array_equal(found[f"dp{own}"], right["p"] if case.lstm.single else right["p"][2][1])


def test_whatever_is_missing_is_left_out_with_a_note():
    case, right = posed(gradients=True)
    trace, notes, _ = read_returned({"W": right["W"], "R": None, "h_seq": None}, case)
    assert trace.arrays.keys() == {"dW"}
    assert notes == ["it returned no h_seq, x, R, b, h0, c0: not compared"]
    trace, notes, _ = read_returned({"h_seq": right["h_seq"]}, case)
    assert trace.arrays.keys() == {"h"}
    case, right = posed(gradients=True, **NETWORK)
    right["W"][1][0] = right["b"] = None
    trace, notes, _ = read_returned(right, case)
    assert notes == ["it returned no b, W[1][0]: not compared"]
    assert "dW_l1" not in trace.arrays
    assert "dW_l1_reverse" in trace.arrays


def test_whoever_has_no_bias_may_give_its_gradient_all_the_same():
    case, right = posed(gradients=True, bias=False, forget_bias=0.0)
    assert "b" not in right
    trace, notes, _ = read_returned({**right, "b": np.zeros(16, np.float32)}, case)
    assert "db" not in trace.arrays
    assert notes == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"dW": 1, "dx": 2}, "it returned a dict of dW, dx: expected a dict of h_seq, x, W, R, b, h0, c0"),
        ({"x": None}, "it returned a dict of x: expected a dict of h_seq"),
        ({}, "it returned a dict of nothing: expected a dict of h_seq"),
        ((1, 2), "it returned a tuple: expected a dict of h_seq, x, W, R, b, h0, c0"),
        (np.zeros(3), "it returned a ndarray: expected a dict of"),
        (None, "it returns nothing"),
    ],
)
def test_what_holds_no_gradients_is_told_their_names(value, message):
    assert message in refused(value, make_case(gradients=True))


def test_an_unknown_name_is_told_those_that_there_are():
    case, right = posed(gradients=True)
    message = refused({**right, "dW": right["W"], "P": right["R"], "p": None}, case)
    assert message == (
        "it returned dW, P, of which nothing is known. Allowed: h_seq, c_seq, h_n, c_n, x, W, R, b, h0, c0"
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("W", np.transpose, "W has shape (3, 16), expected (4H, I) = (16, 3): transposed?"),
        (
            "R",
            lambda a: np.stack([a] * 5),
            "R has shape (5, 16, 4), expected (4H, H) = (16, 4): one for each timestep?",
        ),
        ("W", lambda a: np.stack([a] * 2), "one for each sequence? add them up"),
        ("W", lambda a: a[None], "an axis of length 1 too many?"),
        ("W", lambda a: a.reshape(4, 4, 3), "gates on an axis of their own? they are stacked, i, f, g, o"),
        ("W", lambda a: np.zeros((16, 7)), "of [x; h] in one? W and R are apart"),
        ("b", lambda a: np.tile(a, 2), "b has shape (32,), expected (4H,) = (16,): two biases? here they are one"),
        ("b", lambda a: np.zeros((5, 2, 16)), "of the pre-activations? all timesteps share a weight"),
        ("x", lambda a: a.swapaxes(0, 1), "x has shape (2, 5, 3), expected (T, B, I) = (5, 2, 3): batch-major?"),
        ("x", lambda a: np.zeros((5, 2, 16)), "of the pre-activations? x is what W multiplies"),
        ("h0", np.transpose, "h0 has shape (4, 2), expected (B, H) = (2, 4): transposed?"),
        ("c0", lambda a: np.stack([a] * 5), "c0 has shape (5, 2, 4), expected (B, H) = (2, 4): one for each timestep?"),
        ("R", lambda a: a.astype(complex), "R is complex128, expected float32"),
        ("R", lambda a: "R", "R is a str, expected an array of shape (16, 4)"),
    ],
)
def test_a_gradient_of_a_wrong_shape_is_recognised(name, change, message):
    assert message in spoilt(name, change, gradients=True)


AS_WEIGHTS = "gradients are a list over layers of a list over directions, as weights has them"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("W", lambda g: g[:2], f"W holds 2 layers, expected 3: {AS_WEIGHTS}"),
        ("W", lambda g: [*g, g[0]], f"W holds 4 layers, expected 3: {AS_WEIGHTS}"),
        ("R", lambda g: [one for layer in g for one in layer], f"R holds 6 layers, expected 3: {AS_WEIGHTS}"),
        (
            "R",
            lambda g: [layer[0] for layer in g],
            "R[0] is a ndarray of shape (16, 4), expected a list over 2 directions",
        ),
        ("b", lambda g: [g[0], g[1][:1], g[2]], f"b[1] holds 1 direction, expected 2: {AS_WEIGHTS}"),
        ("b", lambda g: {"l0": g}, f"b is a dict, expected a list over 3 layers: {AS_WEIGHTS}"),
        (
            "W",
            lambda g: [g[0], [g[1][0], g[1][1].T], g[2]],
            "W[1][1] has shape (8, 16), expected (4H, D*H) = (16, 8): tra",
        ),
        ("h0", lambda a: a[-1], "h0 has shape (2, 4), expected (L*D, B, H) = (6, 2, 4): of one layer alone?"),
    ],
)
def test_gradients_of_several_lanes_come_in_lists_like_the_weights(name, change, message):
    assert message in spoilt(name, change, gradients=True, **NETWORK)


def test_what_is_not_finite_is_noted_with_its_lane_and_place():
    case, right = posed(gradients=True, **NETWORK)
    right["R"][2][0][3, 1] = np.inf
    _, notes, _ = read_returned(right, case)
    assert notes == ["R[2][0] holds inf, first at R[2][0][3, 1]"]


def test_arrays_of_another_precision_are_named_together():
    case, right = posed(gradients=True)
    wide = {name: array.astype(np.float64) if name in {"W", "b"} else array for name, array in right.items()}
    _, notes, _ = read_returned(wide, case)
    assert notes == ["W, b came as float64 where the case is float32: converted"]
