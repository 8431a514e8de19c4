"""Forward and back through one layer, as reported: the way back by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def dsigmoid(a):
    return a * (1 - a)


def dtanh(a):
    return 1 - a * a


@dataclass
class Tape:
    """What the way forward leaves behind, step by step; h and c begin with the initial state."""

    gates: list[dict[str, Any]]
    h: list[Any]
    c: list[Any]


def forward(x, W, R, b, h0, c0, p=None):
    tape = Tape([], [h0], [c0])
    for xt in x:
        zi, zf, zg, zo = np.split(xt @ W.T + tape.h[-1] @ R.T + b, 4, axis=1)
        if p is not None:
            zi, zf = zi + p[0] * tape.c[-1], zf + p[1] * tape.c[-1]
        i, f, g = sigmoid(zi), sigmoid(zf), np.tanh(zg)
        c = f * tape.c[-1] + i * g
        o = sigmoid(zo if p is None else zo + p[2] * c)
        tape.gates.append({"i": i, "f": f, "g": g, "o": o})
        tape.c.append(c)
        tape.h.append(o * np.tanh(c))
    return tape


def result(tape, W, R, b, x):
    zero = {"W": np.zeros_like(W), "R": np.zeros_like(R), "b": np.zeros_like(b), "x": np.zeros_like(x)}
    return {"h_seq": np.stack(tape.h[1:]), **zero}


@held_out(
    "gradients",
    "On the way back the forget gate's slope is sigmoid(f) of its value instead of f (1 - f).",
    [r"\bf\b", r"forget"],
    [r"slope", r"derivative", r"curve", r"sigmoid"],
    source="https://github.com/CaptainE/RNN-LSTM-in-numpy/issues/1",
)
def sigmoid_for_its_derivative(x, weights, h0, c0, dh, dc):
    W, R, b = weights["W"], weights["R"], weights["b"]
    tape = forward(x, W, R, b, h0, c0)
    out = result(tape, W, R, b, x)
    dh_next, dC_next = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        G = tape.gates[t]
        dh_t = dh[t] + dh_next
        do = dh_t * np.tanh(tape.c[t + 1])
        do = dsigmoid(G["o"]) * do
        dC = dC_next + dh_t * G["o"] * dtanh(np.tanh(tape.c[t + 1]))
        dg = dC * G["i"] * dtanh(G["g"])
        di = dC * G["g"] * dsigmoid(G["i"])
        df = dC * tape.c[t]
        df = sigmoid(G["f"]) * df
        dz = np.hstack([di, df, dg, do])
        out["W"] += dz.T @ x[t]
        out["R"] += dz.T @ tape.h[t]
        out["b"] += dz.sum(axis=0)
        out["x"][t] = dz @ W
        dh_next, dC_next = dz @ R, G["f"] * dC
    return {**out, "h0": dh_next, "c0": dC_next}


@held_out(
    "gradients",
    "No gradient goes from a step to the one before: dh_next and dc_next are never passed on.",
    [r"(state|both|\bh\b.*\bc\b|\bc\b.*\bh\b)", r"no gradient"],
    [r"step", r"detach", r"carr", r"zero", r"no gradient"],
    source="https://github.com/CaptainE/RNN-LSTM-in-numpy/issues/1",
)
def next_never_updated(x, weights, h0, c0, dh, dc):
    W, R, b = weights["W"], weights["R"], weights["b"]
    tape = forward(x, W, R, b, h0, c0)
    out = result(tape, W, R, b, x)
    zeros = np.zeros_like(h0)
    for t in range(len(x) - 1, -1, -1):
        last = t == len(x) - 1
        dz, dh_prev, dc_prev = _step_back(tape, t, dh[t], dc if last else zeros, R)
        out["W"] += dz.T.dot(x[t])
        out["R"] += dz.T.dot(tape.h[t])
        out["b"] += dz.sum(0)
        out["x"][t] = dz.dot(W)
    return {**out, "h0": dh_prev, "c0": dc_prev}


def _step_back(tape, t, dh, dc, R):
    G, c = tape.gates[t], tape.c[t + 1]
    do = dh * np.tanh(c) * dsigmoid(G["o"])
    dc = dc + dh * G["o"] * dtanh(np.tanh(c))
    df = dc * tape.c[t] * dsigmoid(G["f"])
    di = dc * G["g"] * dsigmoid(G["i"])
    dg = dc * G["i"] * dtanh(G["g"])
    dz = np.concatenate([di, df, dg, do], axis=1)
    return dz, dz @ R, dc * G["f"]


def _back(x, weights, h0, c0, dh, dc, step=_step_back):
    """The whole way back, right where ``step`` is."""
    W, R, b = weights["W"], weights["R"], weights["b"]
    tape = forward(x, W, R, b, h0, c0)
    out = result(tape, W, R, b, x)
    dh_next, dc_next, dzs = np.zeros_like(h0), dc, []
    for t in range(len(x) - 1, -1, -1):
        dz, dh_next, dc_next = step(tape, t, dh[t] + dh_next, dc_next, R)
        dzs.insert(0, dz)
        out["W"] += dz.T @ x[t]
        out["R"] += dz.T @ tape.h[t]
        out["b"] += dz.sum(0)
        out["x"][t] = dz @ W
    return {**out, "h0": dh_next, "c0": dc_next}, tape, dzs


@held_out(
    "gradients",
    "The gradients of the input and the output gate's bias are those of the forget gate's.",
    [r"\bdb\b", r"bias", r"\bb\b", r"db:"],
    [r"\bf\b", r"forget"],
    source="https://github.com/hanbt/learn_dl/issues/53",
)
def deltas_copied(x, weights, h0, c0, dh, dc):
    grads, _, dzs = _back(x, weights, h0, c0, dh, dc)
    delta_f_list = [np.split(dz, 4, axis=1)[1] for dz in dzs]
    bias = np.split(grads["b"], 4)
    bias[0] = sum(delta_f_list).sum(0)
    bias[3] = sum(delta_f_list).sum(0)
    grads["b"] = np.concatenate(bias)
    return grads


@held_out(
    "gradients",
    "The gradient that arrives at c from the step after is lost: dc is made of dh alone (dc of the end included).",
    [r"\bc\b", r"cell state", r"d-c"],
    [r"detach", r"zero", r"lost", r"no gradient", r"left out", r"carr"],
    source="https://github.com/apache/mxnet/issues/4057",
)
def assigned_for_added(x, weights, h0, c0, dh, dc):
    def step(tape, t, dht, dc_after, R):  # noqa: ARG001
        dz, dh_prev, dc_prev = _step_back(tape, t, dht, 0 * dht, R)
        return dz, dh_prev, dc_prev

    return _back(x, weights, h0, c0, dh, dc, step)[0]


@held_out(
    "gradients",
    "The gradient through the recurrent product is lost: nothing goes back through h.",
    [r"\bh\b", r"hidden", r"d-h", r"recurrent"],
    [r"detach", r"zero", r"lost", r"no gradient", r"left out", r"carr"],
    source="https://github.com/ooples/AiDotNet/pull/722",
)
def recurrent_gradient_zeroed(x, weights, h0, c0, dh, dc):
    def step(tape, t, dht, dc_after, R):
        dz, dh_prev, dc_prev = _step_back(tape, t, dht, dc_after, R)
        return dz, np.zeros_like(dh_prev), dc_prev

    return _back(x, weights, h0, c0, dh, dc, step)[0]


@held_out(
    "gradients",
    "On the way back the tanh's slope is taken at c of the step before (an index off by one).",
    [r"slope", r"tanh"],
    [r"\bc\b", r"c\[t", r"before", r"c_in", r"cell state"],
    source="https://lzwjava.github.io/notes/2025-09-06-lstm-bugs-fixes-en",
)
def index_off_by_one(x, weights, h0, c0, dh, dc):
    def step(tape, t, dht, dc_after, R):
        G, C = tape.gates[t], tape.c  # C[0] is the initial state: C[t] is not c of step t
        do = dht * np.tanh(C[t + 1]) * dsigmoid(G["o"])
        dC = dc_after + dht * G["o"] * dtanh(np.tanh(C[t]))
        df = dC * C[t] * dsigmoid(G["f"])
        di, dg = dC * G["g"] * dsigmoid(G["i"]), dC * G["i"] * dtanh(G["g"])
        dz = np.hstack((di, df, dg, do))
        return dz, dz @ R, G["f"] * dC

    return _back(x, weights, h0, c0, dh, dc, step)[0]


@held_out(
    "gradients",
    "The output gate gets the gradient of the step's own output only, without what comes through h of later steps.",
    [r"\bo\b", r"output gate"],
    source="https://github.com/lhnguyen102/cuTAGI/issues/77",
)
def output_gate_without_recurrence(x, weights, h0, c0, dh, dc):
    def step(tape, t, delta_m, dc_after, R):
        dz, _, dc_prev = _step_back(tape, t, delta_m, dc_after, R)
        H = delta_m.shape[1]
        delta_m_out = dh[t]
        dz[:, 3 * H :] = delta_m_out * np.tanh(tape.c[t + 1]) * dsigmoid(tape.gates[t]["o"])
        return dz, dz @ R, dc_prev

    return _back(x, weights, h0, c0, dh, dc, step)[0]


@held_out(
    "gradients",
    "The gates are saved as f, i, g, o and read as i, f, g, o on the way back.",
    [r"saved", r"read", r"exchang", r"way back", r"going back"],
    [r"\bi\b.*\bf\b", r"\bf\b.*\bi\b"],
    source="https://github.com/ooples/AiDotNet.Tensors/pull/907",
)
def cache_of_another_order(x, weights, h0, c0, dh, dc):
    def step(tape, t, dht, dc_after, R):
        cached = tape.gates[t]
        cached = {**cached, "i": cached["f"], "f": cached["i"]}
        return _step_back(Tape([cached] * (t + 1), tape.h, tape.c), t, dht, dc_after, R)

    return _back(x, weights, h0, c0, dh, dc, step)[0]


@held_out(
    "gradients",
    "No gradient goes back into c through the peepholes.",
    [r"peephole", r"\bpeep", r"\bp\b"],
    cases="gradients with peepholes",
    source="https://github.com/automan000/Convolutional_LSTM_PyTorch/issues/20",
)
def peepholes_detached(x, weights, h0, c0, dh, dc):
    W, R, b, p = (weights[k] for k in ("W", "R", "b", "p"))
    tape = forward(x, W, R, b, h0, c0, p)
    out = {**result(tape, W, R, b, x), "p": np.zeros_like(p)}
    dh_next, dc_next = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        dz, dh_next, dc_next = _step_back(tape, t, dh[t] + dh_next, dc_next, R)
        di, df, _, do = np.split(dz, 4, axis=1)
        out["W"] += dz.T @ x[t]
        out["R"] += dz.T @ tape.h[t]
        out["b"] += dz.sum(0)
        out["p"] += np.stack([(di * tape.c[t]).sum(0), (df * tape.c[t]).sum(0), (do * tape.c[t + 1]).sum(0)])
        out["x"][t] = dz @ W
    return {**out, "h0": dh_next, "c0": dc_next}


@held_out(
    "gradients",
    "The recurrent kernel's gradient is taken with the step's own h in the place of the one before.",
    [r"\bdR\b", r"\bR\b", r"recurrent", r"Rh", r"h that a step starts from"],
    [r"h\[t\]", r"\bh\b", r"saved"],
    source="https://community.deeplearning.ai/t/c5w1a1-wrong-results-of-lstm-backward/8480",
)
def a_next_for_a_prev(x, weights, h0, c0, dh, dc):
    grads, tape, dzs = _back(x, weights, h0, c0, dh, dc)
    concat = np.concatenate([np.concatenate([tape.h[t + 1], x[t]], 1) for t in range(len(x))])
    dWR = np.concatenate(dzs).T @ concat
    H = h0.shape[1]
    grads["R"] = dWR[:, :H]
    return grads


@held_out(
    "gradients",
    "Gradients of the weights are means over the batch, and dx lacks the output gate's part.",
    [r"1/B", r"mean", r"batch"],
    [r"\bo\b", r"output gate"],
    source="https://community.deeplearning.ai/t/lstm-backward-wrong-output/67533",
)
def averaged_and_short(x, weights, h0, c0, dh, dc):
    grads, _, dzs = _back(x, weights, h0, c0, dh, dc)
    B, H = x.shape[1], h0.shape[1]
    for name in ("W", "R", "b"):
        grads[name] = grads[name] / B
    grads["x"] = np.stack([dz[:, : 3 * H] @ weights["W"][: 3 * H] for dz in dzs])
    return grads
