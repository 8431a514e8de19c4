"""Peepholes, clips and projections, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "cell",
    "The output gate's peephole is added after its sigmoid instead of before.",
    [r"peephole", r"\bpeep"],
    [r"after", r"moved", r"sigmoid", r"activation"],
    cases="peepholes",
    source="https://github.com/Lasagne/Lasagne/issues/448",
)
def peephole_after_sigmoid(x, weights, h0, c0):
    W, R, b, p = weights["W"], weights["R"], weights["b"], weights["p"]
    hid, cell_previous, hs, cs = h0, c0, [], []
    for xt in x:
        ingate, forgetgate, cell_input, outgate = np.split(xt @ W.T + hid @ R.T + b, 4, axis=1)
        ingate = sigmoid(ingate + cell_previous * p[0])
        forgetgate = sigmoid(forgetgate + cell_previous * p[1])
        cell_input = np.tanh(cell_input)
        outgate = sigmoid(outgate)
        cell = forgetgate * cell_previous + ingate * cell_input
        outgate = outgate + cell * p[2]
        hid, cell_previous = outgate * np.tanh(cell), cell
        hs.append(hid)
        cs.append(cell)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The peepholes, stored i, o, f, are read as i, f, o.",
    [r"peephole", r"\bP\b", r"p:"],
    [r"i, f, o", r"i, o, f", r"iof", r"exchang", r"order"],
    cases="peepholes",
    source="https://github.com/webmachinelearning/webnn-baseline/pull/81",
    layout="onnx",
)
def peepholes_as_ifo(x, weights, h0, c0):
    W, R, P = weights["W"][0], weights["R"][0], weights["P"][0]
    b = np.split(weights["B"][0], 2)
    pi, pf, po = np.split(P, 3)
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        zi, zo, zf, zc = np.split(xt @ W.T + h @ R.T + (b[0] + b[1]), 4, axis=1)
        i, f = sigmoid(zi + pi * c), sigmoid(zf + pf * c)
        c = f * c + i * np.tanh(zc)
        h = sigmoid(zo + po * c) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The output gate is sigmoid(c * p_o + z_f): it adds its peephole to the forget gate's pre-activation.",
    [r"\bo\b", r"output gate"],
    [r"\bf\b", r"forget"],
    cases="peepholes",
    source="https://github.com/tensorflow/tensorflow/issues/8325",
    layout="tf1",
)
def lstm_ops_typo(x, weights, h0, c0):
    wci, wcf, wco = weights["w_i_diag"], weights["w_f_diag"], weights["w_o_diag"]
    h, cs_prev, hs, cs_all = h0, c0, [], []
    for xt in x:
        i, ci, f, o = np.split(np.concatenate([xt, h], 1) @ weights["kernel"] + weights["bias"], 4, axis=1)
        f = f + 1
        i_g = sigmoid(cs_prev * wci + i)
        f_g = sigmoid(cs_prev * wcf + f)
        cs = np.tanh(ci) * i_g + cs_prev * f_g
        o = sigmoid(cs * wco + f)
        h = o * np.tanh(cs)
        cs_prev = cs
        hs.append(h)
        cs_all.append(cs)
    return np.stack(hs), np.stack(cs_all)


@held_out(
    "cell",
    "The output is made of the cell state before its clip; what is carried is clipped.",
    [r"clip"],
    [r"before", r"unclipped", r"raw", r"output", r"tanh"],
    cases="clip",
    source="https://github.com/microsoft/onnxruntime/issues/27224",
)
def no_clip_before_h(x, weights, h0, c0):
    clip = weights["clip"]
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        Ct = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(Ct)
        c = np.clip(Ct, -clip, clip)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is not clipped (the clip was taken for one of gradients).",
    [r"clip"],
    [r"not", r"none", r"left out", r"without", r"missing", r"no clip"],
    cases="clip",
    source="https://github.com/ratsgo/embedding/issues/49",
)
def clip_for_gradients(x, weights, h0, c0):
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "Pre-activations are clipped at the bound too, not the cell state alone.",
    [r"clip"],
    [r"pre-?activation", r"\bz\b", r"gate"],
    cases="clip",
    source="https://github.com/microsoft/onnxruntime/issues/27224",
)
def clipped_as_onnx_says(x, weights, h0, c0):
    bound = weights["clip"]
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        z = np.clip(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], -bound, bound)
        i, f, g, o = np.split(z, 4, axis=1)
        c = np.clip(sigmoid(f) * c + sigmoid(i) * np.tanh(g), -bound, bound)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The projected h is clipped at the cell's bound as well.",
    [r"clip"],
    [r"\bh\b", r"project", r"hidden"],
    cases="projection and clip",
    source="https://github.com/allenai/allennlp/pull/862",
)
def projection_clamped(x, weights, h0, c0):
    clip, P = weights["clip"], weights["P"]
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        c = np.clip(sigmoid(i) * np.tanh(g) + sigmoid(f) * c, -clip, clip)
        pre_projection = sigmoid(o) * np.tanh(c)
        h = np.clip(pre_projection @ P.T, -clip, clip)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The projection goes through tanh.",
    [r"tanh"],
    [r"project", r"\bh\b", r"hidden", r"\bP\b"],
    cases="projection",
    source="https://github.com/PaddlePaddle/Paddle/pull/15605",
    layout="torch",
)
def projection_activated(x, weights, h0, c0):
    W, R, P = weights["weight_ih_l0"], weights["weight_hh_l0"], weights["weight_hr_l0"]
    b = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    r, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ W.T + r @ R.T + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        r = np.tanh((sigmoid(o) * np.tanh(c)) @ P.T)
        hs.append(r)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The output gate's peephole sees the cell state before the step.",
    [r"peephole", r"\bpeep"],
    [r"before", r"\bold\b", r"c\[t ?[-\N{MINUS SIGN}] ?1\]", r"c_in", r"previous"],
    cases="peepholes",
    source="https://github.com/carlthome/tensorflow-convlstm-cell/issues/11",
)
def output_sees_old_memory(x, weights, h0, c0):
    p = weights["p"]
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        i, f, o = i + p[0] * c, f + p[1] * c, o + p[2] * c
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "TF1's kernel (i, g, f, o) of a cell with projection and peepholes is read as i, f, g, o.",
    [r"i, f, (g|c), o", r"i, g, f, o", r"exchang", r"igfo", r"f-g"],
    cases="projection and peepholes",
    source="https://github.com/tensorflow/tensorflow/issues/29622",
    layout="tf1",
)
def lstmp_order(x, weights, h0, c0):
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, j, o = np.split(np.hstack([xt, h]) @ weights["kernel"] + weights["bias"], 4, axis=1)
        c_new = sigmoid(f + 1 + weights["w_f_diag"] * c) * c
        c_new = c_new + sigmoid(i + weights["w_i_diag"] * c) * np.tanh(j)
        c = c_new
        h = (sigmoid(o + weights["w_o_diag"] * c) * np.tanh(c)) @ weights["projection/kernel"]
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The forget gate's peephole uses the input gate's weights.",
    [r"peephole", r"\bpeep", r"p:"],
    [r"\bf\b", r"forget"],
    [r"\bi\b", r"input"],
    cases="peepholes",
    source="https://github.com/MartinuzziFrancesco/RecurrentLayers.jl/pull/134",
)
def peephole_of_i_for_f(x, weights, h0, c0):
    w_ci, _, w_co = weights["p"]
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigmoid(f + w_ci * c) * c + sigmoid(i + w_ci * c) * np.tanh(g)
        h = sigmoid(o + w_co * c) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)
