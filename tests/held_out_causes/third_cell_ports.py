# ruff: noqa: RUF059 (code as people write it)
"""Peepholes, clips and projections, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "cell",
    "The peepholes are zeros: they are initialised anew, and the weights given are not used.",
    [r"peephole", r"\bpeep", r"\bp\b"],
    [r"zero", r"left out", r"not used", r"ignor", r"missing", r"without", r"no "],
    cases="peepholes",
    source="automan000/Convolutional_LSTM_PyTorch, issue 9: Why Wci,Wcf,Wco should be initialized at each batch?",
)
def peepholes_initialised(x, weights, h0, c0):
    class Cell:
        def __init__(self, p):
            self.Wci, self.Wcf, self.Wco = p

        def init_hidden(self):
            self.Wci, self.Wcf, self.Wco = (np.zeros_like(w) for w in (self.Wci, self.Wcf, self.Wco))
            return h0, c0

        def forward(self, x, h, c):
            xi, xf, xc, xo = np.split(x @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
            ci, cf = sigmoid(xi + c * self.Wci), sigmoid(xf + c * self.Wcf)
            cc = cf * c + ci * np.tanh(xc)
            return sigmoid(xo + cc * self.Wco) * np.tanh(cc), cc

    cell = Cell(weights["p"])
    internal_state, outputs = cell.init_hidden(), []
    for step in x:
        internal_state = cell.forward(step, *internal_state)
        outputs.append(internal_state)
    return np.stack([h for h, _ in outputs]), np.stack([c for _, c in outputs])


@held_out(
    "cell",
    "Only the outputs are projected: what recurs is h before its projection.",
    [r"project", r"\bP\b"],
    [r"recur", r"before", r"unprojected", r"carr", r"fed back", r"next", r"output", r"state"],
    cases="projection square",
    source="rdspring1/PyTorch_GBW_LM, issue 2: state of the art performance? (projection not passed to the next step)",
)
def projected_outputs_only(x, weights, h0, c0):
    W, R, b, P = weights["W"], weights["R"], weights["b"], weights["P"]
    h, c, result = h0, c0, []
    for x_t in x:
        i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        m = sigmoid(o) * np.tanh(c)
        r = m @ P.T
        h = m
        result.append((r, c))
    rs, cs = zip(*result, strict=True)
    return np.stack(rs), np.stack(cs)


@held_out(
    "cell",
    "The bounds of the clip are exchanged, clip(c, bound, -bound): c is -bound everywhere.",
    [r"clip", r"bound"],
    [r"exchang", r"lower|minus|negative|-", r"swap", r"order", r"everywhere|constant|all"],
    cases="clip",
    source="keras-team/keras, pull request 729: Clip value as in Neural Turing Machines paper",
)
def clip_bounds_exchanged(x, weights, h0, c0):
    clipvalue = weights["clip"]
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        z = x_t @ weights["W"].T + h @ weights["R"].T + weights["b"]
        i, f, g, o = np.split(z, 4, axis=1)
        c = np.clip(sigmoid(f) * c + sigmoid(i) * np.tanh(g), clipvalue, -clipvalue)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is clipped from above only.",
    [r"clip", r"bound"],
    [r"above", r"upper", r"ceiling", r"one side", r"only", r"minimum", r"below", r"lower"],
    cases="clip",
    source="kaldi-asr/kaldi, issue 2694: Find a bug in src/nnet/nnet-lstm-projected.h (ApplyFloor, ApplyCeiling)",
)
def ceiling_without_floor(x, weights, h0, c0):
    cell_clip_ = weights["clip"]
    T, B, _ = x.shape
    YR, YC = np.zeros((T + 1, *h0.shape), x.dtype), np.zeros((T + 1, *c0.shape), x.dtype)
    YR[0], YC[0] = h0, c0
    for t in range(1, T + 1):
        y_gifo = x[t - 1] @ weights["W"].T + YR[t - 1] @ weights["R"].T + weights["b"]
        y_i, y_f, y_g, y_o = np.split(y_gifo, 4, axis=1)
        y_c = sigmoid(y_f) * YC[t - 1] + sigmoid(y_i) * np.tanh(y_g)
        y_c = np.minimum(y_c, cell_clip_)  # ApplyCeiling
        YC[t] = y_c
        YR[t] = sigmoid(y_o) * np.tanh(y_c)
    return YR[1:], YC[1:]


@held_out(
    "cell",
    "The initial h, which is projected already, is projected once more.",
    [r"initial", r"\bh0\b", r"start"],
    [r"project", r"\bP\b"],
    cases="projection square",
    source="PaddlePaddle/Paddle, pull request 7792: Add lstm with recurrent projection layer operator (ordered_proj0)",
)
def h0_projected(x, weights, h0, c0):
    proj_weight = weights["P"].T
    ordered_proj0 = h0 @ proj_weight
    r, c, proj, cells = ordered_proj0, c0, [], []
    for batch in x:
        gate = batch @ weights["W"].T + r @ weights["R"].T + weights["b"]
        i, f, g, o = np.split(gate, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        r = (sigmoid(o) * np.tanh(c)) @ proj_weight
        proj.append(r)
        cells.append(c)
    return np.stack(proj), np.stack(cells)


@held_out(
    "cell",
    "The projection's matrix is used transposed.",
    [r"\bP\b", r"project"],
    [r"transpos", r"\.T"],
    cases="projection square",
    source="PaddlePaddle/Paddle, pull request 63284 (h_t = h_t W_proj_size: which way round)",
)
def projected_from_the_right(x, weights, h0, c0):
    pre_h, pre_c, outs = h0, c0, []
    for inputs in x:
        gates = np.einsum("bi,gi->bg", inputs, weights["W"]) + np.einsum("bh,gh->bg", pre_h, weights["R"])
        i, f, g, o = np.split(gates + weights["b"], 4, axis=-1)
        pre_c = sigmoid(f) * pre_c + sigmoid(i) * np.tanh(g)
        pre_h = sigmoid(o) * np.tanh(pre_c)
        pre_h = np.einsum("bh,hp->bp", pre_h, weights["P"])
        outs.append((pre_h, pre_c))
    return np.array([h for h, _ in outs]), np.array([c for _, c in outs])


@held_out(
    "cell",
    "The candidate has no recurrent product: its part of R is taken to be zero.",
    [r"\bg\b", r"candidate", r"\bR\b", r"recurrent"],
    [r"\bR\b", r"recurrent", r"\bh\b", r"zero", r"without"],
    cases="peepholes",
    source="Yoctol/yoctol-keras-layer-zoo, pull request 8: set LSTM Peephole recurrent kernel c to zero",
)
def recurrent_kernel_c_zero(x, weights, h0, c0):
    units = h0.shape[1]
    recurrent_kernel = weights["R"].T.copy()
    recurrent_kernel[:, 2 * units : 3 * units] = 0
    peep_i, peep_f, peep_o = weights["p"]
    h_tm1, c_tm1, ys, cs = h0, c0, [], []
    for inputs in x:
        z = inputs @ weights["W"].T + h_tm1 @ recurrent_kernel + weights["b"]
        i = sigmoid(z[:, :units] + c_tm1 * peep_i)
        f = sigmoid(z[:, units : 2 * units] + c_tm1 * peep_f)
        c_tm1 = f * c_tm1 + i * np.tanh(z[:, 2 * units : 3 * units])
        h_tm1 = sigmoid(z[:, 3 * units :] + c_tm1 * peep_o) * np.tanh(c_tm1)
        ys.append(h_tm1)
        cs.append(c_tm1)
    return np.stack(ys), np.stack(cs)


@held_out(
    "cell",
    "The output gate's peephole sees the cell state before it is clipped.",
    [r"peephole", r"\bpeep"],
    [r"clip", r"before"],
    cases="peepholes and clip",
    source="a common slip (which c the last peephole sees); Enny1991/PLSTM, issue 1: Possible bug in the PLSTM",
)
def peephole_before_clip(x, weights, h0, c0):
    bound, (w_i, w_f, w_o) = weights["clip"], weights["p"]
    m_prev, c_prev, ms, cs = h0, c0, [], []
    for x_t in x:
        i, f, j, o = np.split(x_t @ weights["W"].T + m_prev @ weights["R"].T + weights["b"], 4, 1)
        c = sigmoid(f + w_f * c_prev) * c_prev + sigmoid(i + w_i * c_prev) * np.tanh(j)
        clipped = np.clip(c, -bound, bound)
        o = sigmoid(o + w_o * c)
        m_prev, c_prev = o * np.tanh(clipped), clipped
        ms.append(m_prev)
        cs.append(c_prev)
    return np.stack(ms), np.stack(cs)


@held_out(
    "cell",
    "The pre-activations are clipped, and the cell state is not.",
    [r"clip"],
    [r"pre-?activation", r"\bz\b", r"gate", r"activation"],
    cases="clip",
    source="Lasagne/Lasagne, issue 401: grad_clipping clips gate activations, not gradient",
)
def gates_clipped(x, weights, h0, c0):
    clipping = weights["clip"]
    hid, cell, hids, cells = h0, c0, [], []
    for input_n in x:
        gates = input_n @ weights["W"].T + hid @ weights["R"].T + weights["b"]
        gates = np.clip(gates, -clipping, clipping)
        ingate, forgetgate, cell_input, outgate = np.split(gates, 4, axis=1)
        cell = sigmoid(forgetgate) * cell + sigmoid(ingate) * np.tanh(cell_input)
        hid = sigmoid(outgate) * np.tanh(cell)
        hids.append(hid)
        cells.append(cell)
    return np.stack(hids), np.stack(cells)


@held_out(
    "cell",
    "The peepholes of the input and the forget gate read h instead of the cell state.",
    [r"peephole", r"\bpeep"],
    [r"\bh\b", r"hidden"],
    cases="peepholes",
    source="a common slip (the hidden state taken for the cell's); carlthome/tensorflow-convlstm-cell, issue 11",
)
def peeping_at_h(x, weights, h0, c0):
    p = weights["p"]
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        i, f = (sigmoid(z + w * h) for z, w in ((i, p[0]), (f, p[1])))
        c = f * c + i * np.tanh(g)
        h = sigmoid(o + p[2] * c) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is clipped when the next step takes it up, not when it is made: h is made of it unclipped.",
    [r"clip"],
    [r"before", r"unclipped", r"next", r"late", r"output", r"entry|enter", r"carr", r"tanh", r"old|previous"],
    cases="clip",
    source="microsoft/onnxruntime, pull request 27239: Fix LSTM clipping before h activation",
)
def clipped_on_entry(x, weights, h0, c0):
    clip_ = weights["clip"]
    H_t, C_t, Y, Y_c = h0, c0, [], []
    for t in range(len(x)):
        C_tm1 = C_t
        if t:
            C_tm1 = np.clip(C_tm1, -clip_, clip_)
        i, f, g, o = np.split(np.dot(x[t], weights["W"].T) + np.dot(H_t, weights["R"].T) + weights["b"], 4, 1)
        C_t = sigmoid(f) * C_tm1 + sigmoid(i) * np.tanh(g)
        H_t = sigmoid(o) * np.tanh(C_t)
        Y.append(H_t)
        Y_c.append(C_t)
    return np.stack(Y), np.stack(Y_c)


@held_out(
    "cell",
    "tanh(c) is projected before the output gate multiplies it.",
    [r"project", r"\bP\b"],
    [r"before", r"output gate", r"\bo\b", r"tanh", r"order"],
    cases="projection square",
    source="Element-Research/rnn, issue 281: Optional Projection layer for SeqLSTM (where it goes)",
)
def projected_before_the_gate(x, weights, h0, c0):
    P = weights["P"]
    r, c, rs, cs = h0, c0, [], []
    for t in range(x.shape[0]):
        acts = x[t] @ weights["W"].T + r @ weights["R"].T + weights["b"]
        i, f, z, o = np.split(acts, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        r = sigmoid(o) * (np.tanh(c) @ P.T)
        rs.append(r)
        cs.append(c)
    return np.stack(rs), np.stack(cs)


@held_out(
    "cell",
    "The rows of the kernel are taken to be [h; x] where they are [x; h].",
    [r"\bW\b.*\bR\b", r"\bx\b.*\bh\b", r"\bh\b.*\bx\b", r"kernel", r"rows"],
    [r"order", r"exchang", r"\[h", r"first", r"concat", r"swap", r"instead"],
    cases="projection alike",
    source="allenai/bilm-tf, issue 96: LSTM weight shapes (W_0 contains W_h and W_x concatenated)",
    layout="tf1",
)
def elmo_kernel(x, weights, h0, c0):
    W_0, B, W_P_0 = weights["kernel"], weights["bias"], weights["projection/kernel"]
    P = W_P_0.shape[1]
    W_h, W_x = W_0[:P], W_0[P:]
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        i, j, f, o = np.split(x_t @ W_x + h @ W_h + B, 4, axis=1)
        c = sigmoid(f + 1.0) * c + sigmoid(i) * np.tanh(j)
        h = (sigmoid(o) * np.tanh(c)) @ W_P_0
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is not clipped, and the projected h goes through tanh.",
    [r"clip"],
    [r"tanh"],
    cases="projection and clip",
    source="PaddlePaddle/Paddle, pull request 15605: Fix bug for lstmp (cell_clip; proj_activation)",
)
def lstmp_before_its_fix(x, weights, h0, c0):
    clip = weights["clip"] * 1e9
    P = weights["P"]
    r, c, proj, cells = h0, c0, [], []
    for x_t in x:
        gates = np.hstack([x_t, r]) @ np.hstack([weights["W"], weights["R"]]).T + weights["b"]
        i, f, g, o = np.split(gates, 4, axis=1)
        c = np.clip(sigmoid(f) * c + sigmoid(i) * np.tanh(g), -clip, clip)
        r = np.tanh((sigmoid(o) * np.tanh(c)) @ P.T)
        proj.append(r)
        cells.append(c)
    return np.stack(proj), np.stack(cells)


@held_out(
    "cell",
    "The forget gate's peephole is left out, and the forget bias of 1 is added twice.",
    [r"peephole", r"\bpeep", r"\bp\b"],
    [r"forget.?bias", r"bias.*(\bf\b|forget)", r"b:.*f", r"\bb\b.*\+ ?1"],
    cases="peepholes",
    source="a common slip; the forget bias: tensorflow/tensorflow, issue 15087 (what the kernel's values hold)",
)
def forget_gate_of_tf(x, weights, h0, c0):
    p_i, p_f, p_o = weights["p"]
    c, m, outputs = c0, h0, []
    for inputs in x:
        lstm_matrix = np.concatenate([inputs, m], axis=1) @ np.concatenate([weights["W"], weights["R"]], axis=1).T
        i, f, j, o = np.split(lstm_matrix + weights["b"], 4, axis=1)
        f = sigmoid(f + 1.0)
        c = f * c + sigmoid(i + p_i * c) * np.tanh(j)
        m = sigmoid(o + p_o * c) * np.tanh(c)
        outputs.append((m, c))
    return np.stack([m for m, _ in outputs]), np.stack([c for _, c in outputs])


@held_out(
    "cell",
    "The initial h is projected once more, and P is used transposed from then on.",
    [r"initial", r"\bh0\b", r"start"],
    [r"transpos", r"\bP\b.*\.T", r"P\^T"],
    cases="projection square",
    source="PaddlePaddle/Paddle, pull requests 7792 (the initial state is projected) and 63284 (which way round)",
)
def projection_of_paddle(x, weights, h0, c0):
    proj = weights["P"]
    r, c = h0 @ weights["P"].T, c0
    rs, cs = np.zeros((len(x), *h0.shape), x.dtype), np.zeros((len(x), *c0.shape), x.dtype)
    for t, x_t in enumerate(x):
        i, f, g, o = np.split(x_t @ weights["W"].T + r @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        r = (sigmoid(o) * np.tanh(c)) @ proj
        rs[t], cs[t] = r, c
    return rs, cs
