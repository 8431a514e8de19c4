"""Dumps of LSTMs that are wrong: each is explained by the mistake's name, as a port would be."""

from __future__ import annotations

import dumped
import numpy as np
import pytest
from dumped import batch_first, blocks, keras_names, lstm, torch_names
from examples import mostly_slow

from lockstep.harness.jobs.dumps.explain_dump import DumpRequest, explain_dump

W, R, B_IH, B_HH = dumped.weights()
B = B_IH + B_HH
X = dumped.inputs()
H_SEQ, C_SEQ = lstm(X, W, R, B)
TORCH = torch_names(W, R, B_IH, B_HH)


def keras(out, b=B):
    return {"x": batch_first(X), "out": batch_first(out), **keras_names(W, R, b)}


def tf1_without_forget_bias():
    kernel = blocks(np.hstack([W, R]), "igfo").T
    # The cell adds 1 at run time; whoever ported it did not.
    return {"x": batch_first(X), "outputs": batch_first(H_SEQ), "kernel": kernel, "bias": blocks(B, "igfo")}


def first_bias_alone():
    return {"x": X, "out": lstm(X, W, R, B_IH)[0], **TORCH}


def backwards_as_it_came():
    back = dumped.weights(seed=5)
    h_back, _ = lstm(X[::-1], back[0], back[1], back[2] + back[3])
    out = np.concatenate([H_SEQ, h_back], axis=-1)
    return {"x": X, "out": out, **TORCH, **torch_names(*back, suffix="_l0_reverse")}


def second_layer_in_another_order():
    second = dumped.weights(I=4, seed=7)
    h2, _ = lstm(H_SEQ, second[0], second[1], second[2] + second[3], order="igfo")
    return {"x": X, "out": h2, **TORCH, **torch_names(*second, suffix="_l1")}


DUMPS = {
    "gates in TF1's order": ({"x": X, "out": lstm(X, W, R, B, order="igfo")[0], **TORCH}, "WRb:read-as-igfo"),
    "gates in ONNX' order, with c": (
        {"x": X, **TORCH, **dict(zip(("out", "c_seq"), lstm(X, W, R, B, order="iofg"), strict=True))},
        "layout:torch-read-as-onnx"),
    "the second bias is left out": (first_bias_alone(), "b_hh:left-out"),
    "the state is not carried": (keras(lstm(X, W, R, B, carry=False)[0]), "h_in-and-c_in:initial"),
    "the recurrent kernel is transposed": (
        keras(lstm(X, W, np.concatenate([part.T for part in np.split(R, 4)]), B)[0]), "R:transposed-by-gate"),
    "the forget bias is not added": (tf1_without_forget_bias(), "b:forget-bias-left-out"),
    "the backward direction is not turned back": (backwards_as_it_came(), "turn-out:within-and-not"),
    "the second layer's gates": (second_layer_in_another_order(), "WRb:read-as-igfo@1"),
    "the final h alone": (
        {"x": batch_first(X), "y": lstm(X, W, R, B, order="ifog")[0][-1], **keras_names(W, R, B)}, "WRb:read-as-ifog"),
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(DUMPS, every=3))
def test_a_wrong_dump_is_explained_as_a_port_is(name, tmp_path):
    arrays, fault = DUMPS[name]
    np.savez(tmp_path / "dump.npz", **arrays)
    (run,) = explain_dump(tmp_path / "dump.npz", DumpRequest()).runs
    assert run.status == "diverge"
    assert run.diagnosis[0].fault == fault


def wrong_gradients(scale=1.0, **extra):
    """Of one timestep, so that they are written down at once: dW = (dz outer x), with the slope of each gate."""
    x = X[:1]
    z = x[0] @ W.T + B
    i, f, g, o = np.split(z, 4, axis=-1)
    i, o, g = dumped.sigmoid(i), dumped.sigmoid(o), np.tanh(g)
    c = i * g
    h = o * np.tanh(c)
    dh = dumped.inputs(1, 2, 4, seed=3)
    dc = dh[0] * o * (1 - np.tanh(c) ** 2)
    dz = np.concatenate([dc * g * i * (1 - i), 0 * f, dc * i * (1 - g**2), dh[0] * np.tanh(c) * o * (1 - o)], axis=-1)
    gradients = {"weight_ih_l0.grad": scale * dz.T @ x[0], "bias_ih_l0.grad": dz.sum(0), "bias_hh_l0.grad": dz.sum(0),
                 "weight_hh_l0.grad": 0 * R, "x.grad": (dz @ W)[None]}  # fmt: skip
    return {"x": x, "out": h[None], **TORCH, **gradients, **extra}, dh


def test_gradients_are_compared_by_the_names_of_what_they_belong_to(tmp_path):
    arrays, dh = wrong_gradients()
    np.savez(tmp_path / "dump.npz", **arrays, grad_output=dh)
    right = explain_dump(tmp_path / "dump.npz", DumpRequest())
    assert right.runs[0].status == "agree"
    assert {"dW", "dR", "db", "dx", "h"} <= right.runs[0].tensors.keys()
    assert "no dc: it is taken to be zeros" in "\n".join(right.lines)
    arrays, dh = wrong_gradients(scale=np.float32(0.5))
    np.savez(tmp_path / "dump.npz", **arrays, grad_output=dh)
    (run,) = explain_dump(tmp_path / "dump.npz", DumpRequest()).runs
    assert run.first_divergence.tensor == "dW"
    assert run.diagnosis[0].fault == "dW:times-1/B"  # B is 2


def test_gradients_without_what_they_were_computed_from_are_left_out_and_told(tmp_path):
    arrays, _ = wrong_gradients()
    np.savez(tmp_path / "dump.npz", **arrays)
    (run,) = explain_dump(tmp_path / "dump.npz", DumpRequest()).runs
    assert run.status == "agree"
    assert not {"dW", "dx"} & run.tensors.keys()
    (note,) = run.notes
    assert note.startswith("gradients are not compared (weight_ih_l0.grad, ")
    assert "dh" in note
