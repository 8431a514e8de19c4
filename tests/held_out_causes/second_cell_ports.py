"""Peepholes, clips and projections, second set."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "cell",
    "The peepholes are zero (they are made anew at each call): no gate sees the cell state.",
    [r"peephole", r"\bp\b", r"\bp:"],
    [r"zero", r"\b0\b", r"not used", r"ignor", r"left out", r"without", r"no peephole", r"missing"],
    cases="peepholes",
    source="https://github.com/automan000/Convolutional_LSTM_PyTorch/issues/9",
)
def peepholes_initialised_anew(x, weights, h0, c0):
    class Cell:
        def __init__(self, w):
            self.Wx, self.Wh, self.b, self.peep = np.split(w["W"], 4), np.split(w["R"], 4), np.split(w["b"], 4), w["p"]

        def init_hidden(self):
            self.Wci, self.Wcf, self.Wco = (np.zeros_like(p) for p in self.peep)

        def forward(self, v, h, c):
            pre = [v @ a.T + b + h @ r.T for a, r, b in zip(self.Wx, self.Wh, self.b, strict=True)]
            ci = sigmoid(pre[0] + c * self.Wci)
            cf = sigmoid(pre[1] + c * self.Wcf)
            cc = cf * c + ci * np.tanh(pre[2])
            co = sigmoid(pre[3] + cc * self.Wco)
            return co * np.tanh(cc), cc

    cell = Cell(weights)
    cell.init_hidden()
    h, c, hs, cs = h0, c0, [], []
    for v in x:
        h, c = cell.forward(v, h, c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The output gate has no peephole; those of i and f are there.",
    [r"peephole", r"\bp\b", r"\bp:"],
    [r"output", r"\bo\b"],
    cases="peepholes",
    source="https://github.com/PINTO0309/onnx2tf/pull/303",
    layout="onnx",
)
def two_peepholes_of_three(x, weights, h0, c0):
    P = weights["P"][0]
    n = P.size // 3
    W, R = weights["W"][0].reshape(4, n, -1), weights["R"][0].reshape(4, n, n)
    bias = (weights["B"][0, : 4 * n] + weights["B"][0, 4 * n :]).reshape(4, n)
    H_t, C_t = h0, c0
    Y, Y_c = [], []
    for X_t in x:
        it = sigmoid(X_t @ W[0].T + H_t @ R[0].T + P[:n] * C_t + bias[0])
        ft = sigmoid(X_t @ W[2].T + H_t @ R[2].T + P[2 * n :] * C_t + bias[2])
        ct = np.tanh(X_t @ W[3].T + H_t @ R[3].T + bias[3])
        C_t = ft * C_t + it * ct
        ot = sigmoid(X_t @ W[1].T + H_t @ R[1].T + bias[1])
        H_t = ot * np.tanh(C_t)
        Y.append(H_t)
        Y_c.append(C_t)
    return np.stack(Y), np.stack(Y_c)


@held_out(
    "cell",
    "The input and the forget gate's peepholes are exchanged.",
    [r"peephole", r"\bp\b", r"\bp:"],
    [r"exchang", r"swap", r"f, i", r"\bi\b.*\bf\b", r"input.*forget", r"forget.*input"],
    cases="peepholes",
    source="https://github.com/webmachinelearning/webnn/pull/385",
    layout="tf1",
)
def diagonals_exchanged(x, weights, h0, c0):
    diag = {"i": weights["w_f_diag"], "f": weights["w_i_diag"], "o": weights["w_o_diag"]}
    c_prev, m_prev = c0, h0
    outs, cells = [], []
    for inputs in x:
        i, j, f, o = np.split(np.concatenate([inputs, m_prev], 1) @ weights["kernel"] + weights["bias"], 4, 1)
        c = sigmoid(f + np.float32(1.0) + diag["f"] * c_prev) * c_prev + sigmoid(i + diag["i"] * c_prev) * np.tanh(j)
        m = sigmoid(o + diag["o"] * c) * np.tanh(c)
        outs.append(m)
        cells.append(c)
        c_prev, m_prev = c, m
    return np.stack(outs), np.stack(cells)


@held_out(
    "cell",
    "The peepholes multiply h of the step before, where the cell state c should stand (for all three gates).",
    [r"peephole", r"\bp\b", r"\bp:"],
    [r"\bh\b", r"hidden", r"output of the step"],
    cases="peepholes",
    source="https://github.com/carlthome/tensorflow-convlstm-cell/issues/11",
)
def peepholes_look_at_h(x, weights, h0, c0):
    (w_ci, w_cf, w_co), h, c = weights["p"], h0, c0
    kernel = np.vstack([weights["W"].T, weights["R"].T])
    hs, cs = [], []
    for inputs in x:
        y = np.hstack([inputs, h]) @ kernel + weights["b"]
        i, f, j, o = np.split(y, 4, axis=-1)
        peek = h
        i = i + w_ci * peek
        f = f + w_cf * peek
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(j)
        o = o + w_co * peek
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The third peephole, the output gate's, is added to the candidate (with c before); the output gate has none.",
    [r"peephole", r"\bp\b", r"\bp:"],
    [r"candidate", r"\bg\b"],
    cases="peepholes",
    source="a common slip: three peepholes zipped with the first three of i, f, g, o",
)
def peepholes_zipped_with_gates(x, weights, h0, c0):
    h, c, hs, cs = h0, c0, [], []
    W, R, b, p = (np.asarray(weights[k]) for k in ("W", "R", "b", "p"))
    H = h0.shape[1]
    for v in x:
        z = [v @ W[k * H : (k + 1) * H].T + h @ R[k * H : (k + 1) * H].T + b[k * H : (k + 1) * H] for k in range(4)]
        for k in range(len(p)):
            z[k] = z[k] + p[k] * c
        c = sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])
        h = sigmoid(z[3]) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The bounds of the clip are exchanged, clip(c, bound, -bound): the cell state is -bound everywhere.",
    [r"clip", r"bound", r"constant", r"\bsign"],
    cases="clip",
    source="https://github.com/keras-team/keras/pull/729",
    layout="keras",
)
def bounds_exchanged(x, weights, h0, c0):
    clipvalue = weights["clip"]
    h, c, hs, cs = h0, c0, [], []
    for v in x:
        i, f, g, o = np.split(v @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        c = np.minimum(np.maximum(c, clipvalue), -clipvalue)
        c = c.astype(x.dtype)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is clipped from above only: it may fall below -bound.",
    [r"clip", r"bound"],
    [r"above", r"upper", r"below", r"lower", r"one[- ]?sid", r"negative", r"positive", r"min", r"side"],
    cases="clip",
    source="a common slip: min(c, bound) for a clip to [-bound, bound]",
)
def clipped_from_above(x, weights, h0, c0):
    bound = x.dtype.type(weights["clip"])
    T, B, _ = x.shape
    hs, cs = np.empty((T, *h0.shape), x.dtype), np.empty((T, *c0.shape), x.dtype)
    for n in range(B):
        h, c = h0[n], c0[n]
        for t in range(T):
            i, f, g, o = (weights["W"] @ x[t, n] + weights["R"] @ h + weights["b"]).reshape(4, -1)
            c = np.minimum(sigmoid(f) * c + sigmoid(i) * np.tanh(g), bound)
            h = sigmoid(o) * np.tanh(c)
            hs[t, n], cs[t, n] = h, c
    return hs, cs


@held_out(
    "cell",
    "The clip acts on the gates' pre-activations (as ONNX' attribute does) instead of on the cell state.",
    [r"clip", r"bound"],
    [r"pre-activation", r"gates", r"\bz\b", r"before .*(sigmoid|activation)", r"activation"],
    cases="clip",
    source="https://github.com/microsoft/onnxruntime/issues/27224",
    layout="onnx",
)
def clip_as_onnx_means_it(x, weights, h0, c0):
    W, R, B = weights["W"][0], weights["R"][0], weights["B"][0]
    limit = weights["clip"]
    n = 4 * h0.shape[1]

    def clip(v):
        return np.clip(v, -limit, limit).astype(x.dtype)

    h, c, ys, cs = h0, c0, [], []
    for X in x:
        gates = X @ W.T + h @ R.T + B[:n] + B[n:]
        i, o, f, g = np.split(gates, 4, axis=-1)
        i, o, f, g = sigmoid(clip(i)), sigmoid(clip(o)), sigmoid(clip(f)), np.tanh(clip(g))
        c = f * c + i * g
        h = o * np.tanh(c)
        ys.append(h)
        cs.append(c)
    return np.stack(ys), np.stack(cs)


@held_out(
    "cell",
    "h is made of the clipped cell state, but the state that is carried (and returned) is not clipped.",
    [r"clip", r"bound"],
    [r"carr", r"next", r"return", r"output", r"\bh\b", r"only"],
    cases="clip",
    source="https://github.com/allenai/allennlp/pull/862",
)
def clamp_on_the_way_out(x, weights, h0, c0):
    limit = weights["clip"]
    memory, timestep_output = c0, h0
    output_accumulator, memories = [], []
    for timestep_input in x:
        projected_input = timestep_input @ weights["W"].T
        projected_state = timestep_output @ weights["R"].T + weights["b"]
        i, f, m, o = np.split(projected_input + projected_state, 4, axis=1)
        memory = sigmoid(i) * np.tanh(m) + sigmoid(f) * memory
        clamped = np.clip(memory, -limit, limit).astype(x.dtype)
        timestep_output = sigmoid(o) * np.tanh(clamped)
        output_accumulator.append(timestep_output)
        memories.append(memory)
    return np.stack(output_accumulator), np.stack(memories)


@held_out(
    "cell",
    "The output gate's peephole sees the new cell state before its clip.",
    [r"peephole", r"\bp\b", r"\bp:"],
    [r"clip", r"bound"],
    cases="peepholes and clip",
    source="a common slip: TF1's cell with the clip moved below the output gate",
    layout="tf1",
)
def peephole_before_the_clip(x, weights, h0, c0):
    clip_value, forget_bias = weights["clip"], np.float32(1.0)
    c, m, ms, cs = c0, h0, [], []
    for inputs in x:
        lstm_matrix = np.hstack([inputs, m]) @ weights["kernel"] + weights["bias"]
        i, j, f, o = np.array_split(lstm_matrix, 4, axis=1)
        f_gate = sigmoid(f + forget_bias + weights["w_f_diag"] * c)
        c = f_gate * c + sigmoid(i + weights["w_i_diag"] * c) * np.tanh(j)
        o_gate = sigmoid(o + weights["w_o_diag"] * c)
        c = np.clip(c, -clip_value, clip_value).astype(x.dtype)
        m = o_gate * np.tanh(c)
        ms.append(m)
        cs.append(c)
    return np.stack(ms), np.stack(cs)


@held_out(
    "cell",
    "What is fed back is the cell's output before its projection; the projected one is only put out.",
    [r"project", r"\bP\b", r"\bP:"],
    [r"fed back", r"feed", r"carr", r"recurren", r"next", r"before"],
    cases="projection square",
    source="https://github.com/rdspring1/PyTorch_GBW_LM/issues/2",
    layout="torch",
)
def projected_for_the_output_only(x, weights, h0, c0):
    P = weights["weight_hr_l0"]
    state, hidden, outputs, cells = h0, c0, [], []
    for v in x:
        pre = v @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        pre = pre + state @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        i, f, g, o = np.split(pre, 4, axis=1)
        hidden = sigmoid(f) * hidden + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(hidden)
        projected = state @ P.T
        outputs.append(projected)
        cells.append(hidden)
    return np.stack(outputs), np.stack(cells)


@held_out(
    "cell",
    "The projection is transposed (its two sizes are equal).",
    [r"project", r"\bP\b", r"\bP:"],
    [r"transpos"],
    cases="projection square",
    source="https://github.com/k2-fsa/icefall/pull/621",
)
def projection_transposed(x, weights, h0, c0):
    proj_weight = weights["P"]
    h, c, hs, cs = h0, c0, [], []
    for v in x:
        i, f, g, o = np.split(v @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = np.matmul(sigmoid(o) * np.tanh(c), proj_weight)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "tanh(c) is projected, and the output gate multiplies what has been projected: h = o * (P tanh(c)).",
    [r"project", r"\bP\b", r"\bP:"],
    [r"output gate", r"\bo\b", r"after", r"before", r"order", r"tanh"],
    cases="projection square",
    source="https://github.com/MartinuzziFrancesco/RecurrentLayers.jl/issues/142",
)
def gate_after_projection(x, weights, h0, c0):
    h, c, hs, cs = h0, c0, [], []
    w = {k: np.split(weights[k], 4) for k in ("W", "R", "b")}
    for v in x:
        i, f, g, o = (v @ w["W"][k].T + h @ w["R"][k].T + w["b"][k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        r = np.tanh(c)
        m = r @ weights["P"].T
        h = sigmoid(o) * m
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "cell",
    "The blocks (i, f, g, o) of a cell with projection and peepholes are read in Kaldi's order g, i, f, o.",
    [r"g, i, f, o", r"gifo", r"read as", r"order", r"block"],
    cases="projection and peepholes",
    source="https://github.com/kaldi-asr/kaldi/issues/2694",
)
def gifo(x, weights, h0, c0):
    w_gifo_x, w_gifo_r, bias, w_r_m = weights["W"], weights["R"], weights["b"], weights["P"]
    p_i, p_f, p_o = weights["p"]
    y_r, y_c, rs, cs = h0, c0, [], []
    for v in x:
        y_gifo = v @ w_gifo_x.T + y_r @ w_gifo_r.T + bias
        y_g, y_i, y_f, y_o = np.split(y_gifo, 4, axis=1)
        y_i = sigmoid(y_i + y_c * p_i)
        y_f = sigmoid(y_f + y_c * p_f)
        y_c = y_f * y_c + y_i * np.tanh(y_g)
        y_o = sigmoid(y_o + y_c * p_o)
        y_m = y_o * np.tanh(y_c)
        y_r = y_m @ w_r_m.T
        rs.append(y_r)
        cs.append(y_c)
    return np.stack(rs), np.stack(cs)


@held_out(
    "cell",
    "The cell's clip is put on the projected h instead of on the cell state.",
    [r"clip", r"bound"],
    [r"project", r"\bh\b", r"output"],
    cases="projection and clip",
    source="https://github.com/PaddlePaddle/Paddle/pull/15605",
)
def cell_clip_as_projection_clip(x, weights, h0, c0):
    proj_clip = x.dtype.type(weights["clip"])
    hidden, cell, projection, cells = h0, c0, [], []
    for v in x:
        gate = v @ weights["W"].T + hidden @ weights["R"].T + weights["b"]
        D = gate.shape[1] // 4
        ig, fg = sigmoid(gate[:, :D]), sigmoid(gate[:, D : 2 * D])
        cell = fg * cell + ig * np.tanh(gate[:, 2 * D : 3 * D])
        hidden = (sigmoid(gate[:, 3 * D :]) * np.tanh(cell)) @ weights["P"].T
        hidden = np.clip(hidden, -proj_clip, proj_clip)
        projection.append(hidden)
        cells.append(cell)
    return np.stack(projection), np.stack(cells)
