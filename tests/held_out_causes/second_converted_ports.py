# ruff: noqa: ARG001, B007 (code as people write it)
"""One plain layer, second set: a framework's weights, run by a converter, an importer or a small engine."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "plain",
    "The input and the forget gate are exchanged: what is unpacked as i is f, and f is i.",
    [r"f, i, g, o", r"figo", r"exchang", r"swap", r"\bi\b.*\bf\b", r"input.*forget", r"forget.*input"],
    source="https://github.com/NX-AI/xlstm/issues/98",
    layout="keras",
)
def gates_assigned_crosswise(x, weights, h0, c0):
    """A layer with four dense gates, as ``i, f, z, o = (fgate(x), igate(x), zgate(x), ogate(x))``."""
    kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights["bias"]
    units = recurrent.shape[0]

    def gate(k, inputs, state):
        cols = slice(k * units, (k + 1) * units)
        return inputs @ kernel[:, cols] + state @ recurrent[:, cols] + bias[cols]

    h, c, ys, cs = h0, c0, [], []
    for inputs in x:
        f, i, z, o = (gate(k, inputs, h) for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
        cs.append(c)
    return np.stack(ys), np.stack(cs)


@held_out(
    "plain",
    "Keras' kernels (i, f, g, o) are read in TF1's order i, g, f, o.",
    [r"i, g, f, o", r"igfo", r"exchang", r"tf1"],
    source="https://github.com/tensorflow/tfjs/issues/6554",
    layout="keras",
)
def basic_lstm_cell_of_a_keras_model(x, weights, h0, c0):
    """A core op that slices i, j, f, o, fed with a layers' model."""
    kernel = np.concatenate([weights["kernel"], weights["recurrent_kernel"]], axis=0)
    forget_bias = x.dtype.type(0)
    h, c = h0, c0
    slice_cols = h0.shape[1]
    new_h, new_c = [], []
    for data in x:
        combined = np.concatenate([data, h], axis=1)
        res = combined @ kernel + weights["bias"]
        i = res[:, 0:slice_cols]
        j = res[:, slice_cols : 2 * slice_cols]
        f = res[:, 2 * slice_cols : 3 * slice_cols]
        o = res[:, 3 * slice_cols :]
        c = sigmoid(i) * np.tanh(j) + c * sigmoid(forget_bias + f)
        h = np.tanh(c) * sigmoid(o)
        new_h.append(h)
        new_c.append(c)
    return np.array(new_h), np.array(new_c)


@held_out(
    "plain",
    "TF1's forget bias of 1 is added after the forget gate's sigmoid, not before it.",
    [r"forget", r"\bf\b"],
    [r"after", r"\badd", r"\+ ?1", r"plus", r"\b1\b"],
    source="https://github.com/apple/coremltools/issues/309",
    layout="tf1",
)
def forget_bias_outside(x, weights, h0, c0, lengths=None):
    """A converter with a parameter for the forget bias."""
    forget_bias = 1.0
    c, m = c0, h0
    outs, states = [], []
    for time, inputs in enumerate(x):
        lstm_matrix = np.matmul(np.concatenate([inputs, m], 1), weights["kernel"]) + weights["bias"]
        i, j, f, o = np.split(lstm_matrix, 4, axis=1)
        f_act = sigmoid(f) + x.dtype.type(forget_bias)
        c_next = f_act * c + sigmoid(i) * np.tanh(j)
        m_next = sigmoid(o) * np.tanh(c_next)
        if lengths is not None:
            finished = (time >= np.asarray(lengths))[:, None]
            outs.append(np.where(finished, np.zeros_like(m), m_next))
            c, m = np.where(finished, c, c_next), np.where(finished, m, m_next)
        else:
            outs.append(m_next)
            c, m = c_next, m_next
        states.append(c)
    return np.stack(outs), np.stack(states)


@held_out(
    "plain",
    "The step multiplies [h; x] with TF1's kernel, whose rows are those of x first and those of h after.",
    [r"\[h; ?x\]", r"exchang", r"\border", r"swap", r"kernel.*row", r"rows", r"\bW\b.*\bR\b", r"WR"],
    source="https://github.com/fastai/fastbook/pull/338",
    layout="tf1",
)
def hidden_state_first(x, weights, h0, c0):
    """A course's cell, ``h = torch.cat([h, input], dim=1)``, with weights of another framework."""
    h, c = h0, c0
    ys, cells = [], []
    for inp in x:
        hx = np.concatenate([h, inp], axis=1)
        inp_gate, cell, forget, out = np.split(hx @ weights["kernel"] + weights["bias"], 4, axis=1)
        forget = sigmoid(forget + np.float32(1))
        c = c * forget
        c = c + sigmoid(inp_gate) * np.tanh(cell)
        h = sigmoid(out) * np.tanh(c)
        ys.append(h)
        cells.append(c)
    return np.stack(ys), np.stack(cells)


@held_out(
    "plain",
    "The weights have been through float16 (a model exported in half precision); all else is float32.",
    [r"float16", r"half", r"fp16"],
    source="a common slip: ``model.half()`` before the export",
    layout="torch",
)
def exported_in_half(x, weights, h0, c0):
    state_dict = {k: v.astype(np.float16).astype(x.dtype) for k, v in weights.items()}
    w_ih, w_hh = state_dict["weight_ih_l0"], state_dict["weight_hh_l0"]
    b_ih, b_hh = state_dict["bias_ih_l0"], state_dict["bias_hh_l0"]
    hx, cx, output, cell = h0, c0, [], []
    for step in x:
        gates = step @ w_ih.T + b_ih + hx @ w_hh.T + b_hh
        ingate, forgetgate, cellgate, outgate = np.split(gates, 4, axis=1)
        cx = sigmoid(forgetgate) * cx + sigmoid(ingate) * np.tanh(cellgate)
        hx = sigmoid(outgate) * np.tanh(cx)
        output.append(hx)
        cell.append(cx)
    return np.stack(output), np.stack(cell)


@held_out(
    "plain",
    "Of ONNX's tensors W and B are brought from i, o, f, c into i, f, c, o; the recurrent R is left as it was.",
    [r"\bR\b", r"recurrent", r"\bR:"],
    [r"read as", r"order", r"i, o, f, [gc]", r"i, f, [gc], o", r"block"],
    source="https://github.com/CrispStrobe/CrispASR/pull/106",
    layout="onnx",
)
def recurrent_kernel_not_reordered(x, weights, h0, c0):
    """A loader that puts ONNX' gates into PyTorch's order."""
    hs = h0.shape[1]

    def ifco(a):
        i, o, f, c = (a[k * hs : (k + 1) * hs] for k in range(4))
        return np.concatenate([i, f, c, o])

    w_ih = ifco(weights["W"][0])
    w_hh = weights["R"][0]
    bias = ifco(weights["B"][0, : 4 * hs]) + ifco(weights["B"][0, 4 * hs :])
    h, c, y, yc = h0, c0, [], []
    for frame in x:
        gate = w_ih @ frame.T + w_hh @ h.T + bias[:, None]
        it, ft, gt, ot = gate.reshape(4, hs, -1)
        c = (sigmoid(ft) * c.T + sigmoid(it) * np.tanh(gt)).T
        h = sigmoid(ot).T * np.tanh(c)
        y.append(h)
        yc.append(c)
    return np.stack(y), np.stack(yc)


@held_out(
    "plain",
    "torch's bias_ih is added twice; bias_hh is not added.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"bias_hh", r"second", r"twice", r"first", r"recurrent", r"hidden", r"b_h"],
    source="a common slip: a line copied, and one of its two names changed",
    layout="torch",
)
def same_bias_on_both_sides(x, weights, h0, c0, lengths=None):
    class Linear:
        def __init__(self, weight, bias):
            self.weight, self.bias = weight, bias

        def __call__(self, v):
            return v @ self.weight.T + self.bias

    ih = Linear(weights["weight_ih_l0"], weights["bias_ih_l0"])
    hh = Linear(weights["weight_hh_l0"], weights["bias_ih_l0"])
    h, c, hs, cs = h0, c0, [], []
    for t, v in enumerate(x):
        i, f, g, o = np.split(ih(v) + hh(h), 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        on = np.ones(len(h), bool) if lengths is None else t < np.asarray(lengths)
        h, c = np.where(on[:, None], h_new, h), np.where(on[:, None], c_new, c)
        hs.append(np.where(on[:, None], h_new, 0))
        cs.append(c)
    return np.stack(hs).astype(x.dtype), np.stack(cs)


@held_out(
    "plain",
    "TF1's state tuple (c, h) is unpacked as (h, c): h0 and c0 change places; and the forget bias of 1 is not added.",
    [r"exchang", r"swap", r"h0.*c0", r"c0.*h0", r"h.*start.*c", r"place"],
    [r"forget", r"bias"],
    source="https://github.com/microsoft/nni/pull/2842",
    layout="tf1",
)
def state_tuple_and_forget_bias(x, weights, h0, c0):
    state = (c0, h0)
    h, c = state
    kernel, bias = weights["kernel"], weights["bias"]
    hs, cs = [], []
    for x_t in x:
        i, j, f, o = np.split(np.hstack((x_t, h)) @ kernel + bias, 4, axis=1)
        c = c * sigmoid(f) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "Keras' old hard sigmoid stands for the sigmoid of the gates, and lengths (the mask) are ignored.",
    [r"hard", r"0\.2"],
    [r"length", r"padding", r"mask"],
    source="https://github.com/moof2k/kerasify/pull/3",
    layout="keras",
)
def small_engine_without_masks(x, weights, h0, c0, lengths=None):
    """A header-only engine for Keras models: its gates by default as Keras 1 had them, and no Masking layer."""

    def inner_activation(v):
        return np.clip(v * np.float32(0.2) + np.float32(0.5), 0, 1)

    k, r, b = (np.split(weights[name], 4, axis=-1) for name in ("kernel", "recurrent_kernel", "bias"))
    h, c, outputs, cells = h0, c0, [], []
    for t, x_t in enumerate(x):
        i = inner_activation(x_t @ k[0] + h @ r[0] + b[0])
        f = inner_activation(x_t @ k[1] + h @ r[1] + b[1])
        c_new = f * c + i * np.tanh(x_t @ k[2] + h @ r[2] + b[2])
        o = inner_activation(x_t @ k[3] + h @ r[3] + b[3])
        h_new = o * np.tanh(c_new)
        live = np.ones((len(h), 1), bool)
        h, c = np.where(live, h_new, h), np.where(live, c_new, c)
        outputs.append(np.where(live, h_new, 0))
        cells.append(c)
    return np.stack(outputs).astype(x.dtype), np.stack(cells)


@held_out(
    "plain",
    "The recurrent kernel is not transposed (h R for h R^T, gate by gate), and the bias is left out.",
    [r"transpos"],
    [r"bias", r"\bb\b", r"\bb:"],
    source="a common slip: torch's weight_hh used as a right factor, its bias forgotten",
    layout="torch",
)
def right_factor_without_bias(x, weights, h0, c0):
    n = h0.shape[1]
    U = [weights["weight_hh_l0"][k * n : (k + 1) * n] for k in range(4)]
    V = [weights["weight_ih_l0"][k * n : (k + 1) * n].T for k in range(4)]
    h, c, ys, cs = h0, c0, [], []
    for v in x:
        i, f, g, o = (v @ V[k] + h @ U[k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
        cs.append(c)
    return np.stack(ys), np.stack(cs)


@held_out(
    "plain",
    "Only the first of ONNX' two biases, that of W, is added; and h and c start at zero, not at initial_h, initial_c.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"initial", r"start", r"h0", r"state"],
    source="https://github.com/opencv/opencv/pull/16817",
    layout="onnx",
)
def first_importer(x, weights, h0, c0, lengths=None):
    """The first version of an importer, which knows neither initial states nor the second half of B."""
    blobs = {"Wx": weights["W"][0].T, "Wh": weights["R"][0].T, "bias": weights["B"][0]}
    num_out = h0.shape[1]
    bias = blobs["bias"][: 4 * num_out]
    h_internal, c_internal = np.zeros_like(h0), np.zeros_like(c0)
    h_out, c_out = [], []
    for ts, x_curr in enumerate(x):
        gates = x_curr @ blobs["Wx"] + h_internal @ blobs["Wh"] + bias
        gate_i, gate_o, gate_f, gate_g = (gates[:, k * num_out : (k + 1) * num_out] for k in range(4))
        c_new = sigmoid(gate_f) * c_internal + sigmoid(gate_i) * np.tanh(gate_g)
        h_new = sigmoid(gate_o) * np.tanh(c_new)
        valid = np.ones((len(h0), 1), bool) if lengths is None else (np.asarray(lengths) > ts)[:, None]
        h_internal = np.where(valid, h_new, h_internal)
        c_internal = np.where(valid, c_new, c_internal)
        h_out.append(np.where(valid, h_new, 0).astype(x.dtype))
        c_out.append(c_internal)
    return np.stack(h_out), np.stack(c_out)
