"""Peepholes, clips and projections, as reported: speech, converters, old layers."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "cell",
    "The peepholes, stored i, f, o, are read in ONNX' order i, o, f: f and o have each other's.",
    [r"peephole", r"\bP\b", r"\bp\b", r"p:"],
    [r"i, f, o", r"i, o, f", r"iof", r"exchang", r"order", r"each other", r"swap"],
    cases="peepholes",
    source="OpenCV's pull request on ONNX's peepholes and webnn-baseline's, which put the order of P right",
)
def peepholes_in_onnx_order(x, weights, h0, c0):
    W, R, b = weights["W"], weights["R"], weights["b"]
    p_i, p_o, p_f = weights["p"]
    H_t, C_t, Y, cells = h0, c0, [], []
    for x_t in x:
        i, f, c, o = np.split(np.dot(x_t, W.T) + np.dot(H_t, R.T) + b, 4, -1)
        i = sigmoid(i + p_i * C_t)
        f = sigmoid(f + p_f * C_t)
        C = f * C_t + i * np.tanh(c)
        o = sigmoid(o + p_o * C)
        H_t, C_t = o * np.tanh(C), C
        Y.append(H_t)
        cells.append(C_t)
    return np.stack(Y), np.stack(cells)


@held_out(
    "cell",
    "The input gate has no peephole; those of f and o are there.",
    [r"peephole", r"\bpeep", r"p:"],
    [r"\bi\b", r"input"],
    cases="peepholes",
    source="a common slip: one of three peepholes forgotten",
)
def input_gate_does_not_peep(x, weights, h0, c0):
    Wci, Wcf, Wco = (p.copy() for p in weights["p"])
    Wci *= 0
    h, c = h0, c0
    hs, cs = [], []
    for t in range(len(x)):
        xi, xf, xc, xo = np.split(x[t] @ weights["W"].T + weights["b"], 4, axis=1)
        hi, hf, hc, ho = np.split(h @ weights["R"].T, 4, axis=1)
        ci = sigmoid(xi + hi + c * Wci)
        cf = sigmoid(xf + hf + c * Wcf)
        cc = cf * c + ci * np.tanh(xc + hc)
        co = sigmoid(xo + ho + cc * Wco)
        h, c = co * np.tanh(cc), cc
        hs.append(h)
        cs.append(c)
    return np.array(hs), np.array(cs)


@held_out(
    "cell",
    "The clip is put on h, and the cell state is not clipped.",
    [r"clip"],
    [r"\bh\b", r"hidden", r"output"],
    cases="clip",
    source="cell_clip taken for the clip of the output, where a cell has both; a common slip",
)
def output_clipped(x, weights, h0, c0):
    cap = weights["clip"]
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        h = np.minimum(np.maximum(h, -cap), cap)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is clipped at a default of 1 instead of the bound that was given.",
    [r"clip", r"bound"],
    [r"\b1(\.0)?\b", r"bound", r"other", r"default", r"wide", r"larger", r"not", r"without", r"constant", r"threshold"],
    cases="clip",
    source="an argument that is not handed on to the cell, so that its default holds; a common slip",
)
def default_cell_clip(x, weights, h0, c0):
    def layer(inputs, state, cell_clip=1.0):
        h, c = state
        seq = []
        for x_t in inputs:
            i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
            c = np.clip(sigmoid(f) * c + sigmoid(i) * np.tanh(g), -cell_clip, cell_clip)
            h = sigmoid(o) * np.tanh(c)
            seq.append([h, c])
        return np.array(seq).swapaxes(0, 1)

    h_seq, c_seq = layer(x, (h0, c0))
    return h_seq, c_seq


@held_out(
    "cell",
    "h is not projected where the projection keeps the size.",
    [r"project", r"\bP\b", r"P:"],
    [r"not", r"left out", r"without", r"missing", r"identity", r"no project", r"ignor", r"skip"],
    cases="projection square",
    source="`if proj_size and proj_size != hidden_size` in wrappers; a common slip",
)
def projection_skipped_where_square(x, weights, h0, c0):
    P = weights["P"]
    num_proj, num_units = P.shape
    use_projection = num_proj != num_units
    m, c, ms, cs = h0, c0, [], []
    for x_t in x:
        z = x_t @ weights["W"].T + m @ weights["R"].T + weights["b"]
        i, f, j, o = (z[:, k * num_units : (k + 1) * num_units] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(j)
        m = sigmoid(o) * np.tanh(c)
        if use_projection:
            m = m @ P.T
        ms.append(m)
        cs.append(c)
    return np.stack(ms), np.stack(cs)


@held_out(
    "cell",
    "torch's blocks i, f, g, o of a cell with projection are read as i, f, o, g.",
    [r"i, f, o, g", r"ifog", r"exchang", r"\bg\b and \bo\b", r"order of (its|the) (gates|blocks)", r"read-as"],
    cases="projection",
    source="the order of Core ML (its pull request on documented weights), for a cell with a projection",
    layout="torch",
)
def projected_cell_converted(x, weights, h0, c0):
    w_ih, w_hh, w_hr = weights["weight_ih_l0"], weights["weight_hh_l0"], weights["weight_hr_l0"]
    H = c0.shape[1]
    order = ["i", "f", "o", "g"]
    r, c, rs, cs = h0, c0, [], []
    for x_t in x:
        z = w_ih @ x_t.T + w_hh @ r.T + (weights["bias_ih_l0"] + weights["bias_hh_l0"])[:, None]
        z = {name: z[k * H : (k + 1) * H].T for k, name in enumerate(order)}
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
        r = (sigmoid(z["o"]) * np.tanh(c)) @ w_hr.T
        rs.append(r)
        cs.append(c)
    return np.stack(rs), np.stack(cs)


@held_out(
    "cell",
    "The projected h starts from zeros (h0 has another size than c0, and was left out); c0 is used.",
    [r"initial", r"start", r"h0", r"\bh\b"],
    [r"zero", r"\b0\b", r"not used", r"ignor", r"left out"],
    cases="projection",
    source="Paddle's fix of its LSTMP operator, which names its h0",
)
def lstmp_without_h0(x, weights, h0, c0):
    T, B, _ = x.shape
    proj, hidden = weights["P"].shape
    ordered_proj0 = h0 if proj == hidden else np.zeros_like(h0)
    prev, c = ordered_proj0, c0
    out, cells = np.empty((T, B, proj), x.dtype), np.empty((T, B, hidden), x.dtype)
    for t in range(T):
        i, f, g, o = np.split(x[t] @ weights["W"].T + prev @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        prev = np.dot(sigmoid(o) * np.tanh(c), weights["P"].T)
        out[t], cells[t] = prev, c
    return out, cells


@held_out(
    "cell",
    "The peepholes are not used, and the cell state is not clipped: a plain cell.",
    [r"peephole", r"\bpeep", r"p:"],
    [r"clip"],
    cases="peepholes and clip",
    source="a cell with use_peepholes and cell_clip replaced by a plain LSTM: two common slips together",
)
def replaced_by_a_plain_cell(x, weights, h0, c0):
    n = h0.shape[1]
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        z = np.hstack((x_t, h)) @ np.hstack((weights["W"], weights["R"])).T + weights["b"]
        forget, write, read = sigmoid(z[:, n : 2 * n]), sigmoid(z[:, :n]), sigmoid(z[:, 3 * n :])
        c = forget * c + write * np.tanh(z[:, 2 * n : 3 * n])
        h = read * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)
