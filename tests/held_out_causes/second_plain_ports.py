# ruff: noqa: F841, RUF059 (code as people write it)
"""One plain layer, second set: what somebody wrote in a framework, a kernel or a course, here in NumPy."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "plain",
    "The whole bias is added twice: once in the product with x, and again in the step.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"twice", r"doubl", r"\b2\b", r"once more", r"again"],
    source="https://github.com/lisa-lab/DeepLearningTutorials/issues/81",
)
def bias_in_both_places(x, weights, h0, c0, lengths=None):
    """Theano's tutorial: ``state_below`` holds the bias, and ``_step`` adds it."""
    U, b = weights["R"].T, weights["b"]
    dim = h0.shape[1]

    def _slice(a, n):
        return a[:, n * dim : (n + 1) * dim]

    def _step(m_, x_, h_, c_):
        preact = h_ @ U
        preact = preact + x_
        preact = preact + b
        i, f, g, o = (_slice(preact, n) for n in range(4))
        c = sigmoid(f) * c_ + sigmoid(i) * np.tanh(g)
        c = m_[:, None] * c + (1 - m_)[:, None] * c_
        h = sigmoid(o) * np.tanh(c)
        return m_[:, None] * h + (1 - m_)[:, None] * h_, c

    state_below = x @ weights["W"].T + b
    mask = np.ones(x.shape[:2], x.dtype)
    if lengths is not None:
        mask = (np.arange(len(x))[:, None] < np.asarray(lengths)[None]).astype(x.dtype)
    h, c, proj, cells = h0, c0, [], []
    for m_, x_ in zip(mask, state_below, strict=True):
        h, c = _step(m_, x_, h, c)
        proj.append(h * m_[:, None])
        cells.append(c)
    return np.stack(proj), np.stack(cells)


@held_out(
    "plain",
    "The cell state is cleared at the start: c0 is not used (h0 is).",
    [r"\bc0\b", r"\bc\b", r"cell state"],
    [r"zero", r"\b0\b", r"not used", r"ignor", r"left out", r"without"],
    source="https://github.com/ARM-software/CMSIS-NN/pull/219",
)
def cell_state_wiped(x, weights, h0, c0):
    """An embedded kernel that was made for stateless calls."""
    T, B, _ = x.shape
    H = h0.shape[1]
    hidden_state, cell_state = h0.copy(), c0.copy()
    cell_state.fill(0)
    data_out = np.empty((T, B, H), x.dtype)
    cells_out = np.empty((T, B, H), x.dtype)
    for t in range(T):
        acc = np.einsum("bi,gi->bg", x[t], weights["W"]) + np.einsum("bh,gh->bg", hidden_state, weights["R"])
        acc = (acc + weights["b"]).reshape(B, 4, H)
        input_gate, forget_gate, output_gate = sigmoid(acc[:, 0]), sigmoid(acc[:, 1]), sigmoid(acc[:, 3])
        cell_state *= forget_gate
        cell_state += input_gate * np.tanh(acc[:, 2])
        hidden_state = output_gate * np.tanh(cell_state)
        data_out[t], cells_out[t] = hidden_state, cell_state
    return data_out, cells_out


@held_out(
    "plain",
    "Only the first four units are computed (the block's size): units past it stay 0 in h and in c.",
    [r"unit"],
    [r"\b4\b", r"zero", r"\b0\b", r"not computed", r"left out", r"last", r"past", r"block", r"first"],
    source="https://github.com/flagos-ai/FlagGems/issues/5014",
)
def hidden_size_past_the_block(x, weights, h0, c0):
    """A fused cell with one program for each sequence: nothing iterates over blocks of units."""
    BLOCK_SIZE = 4
    T, B, _ = x.shape
    H = h0.shape[1]
    offsets = np.arange(BLOCK_SIZE)
    mask = offsets[offsets < H]
    W, R, b = (weights[name].reshape(4, H, -1) for name in ("W", "R", "b"))
    hy_all, cy_all = np.zeros((T, B, H), x.dtype), np.zeros((T, B, H), x.dtype)
    for pid in range(B):
        hx, cx = h0[pid], c0[pid]
        for t in range(T):
            g4 = [W[k] @ x[t, pid] + R[k] @ hx + b[k, :, 0] for k in range(4)]
            ingate, forgetgate, outgate = sigmoid(g4[0][mask]), sigmoid(g4[1][mask]), sigmoid(g4[3][mask])
            cellgate = np.tanh(g4[2][mask])
            hy, cy = np.zeros_like(hx), np.zeros_like(cx)
            cy[mask] = forgetgate * cx[mask] + ingate * cellgate
            hy[mask] = outgate * np.tanh(cy[mask])
            hx, cx = hy, cy
            hy_all[t, pid], cy_all[t, pid] = hy, cy
    return hy_all, cy_all


@held_out(
    "plain",
    "The candidate goes through the sigmoid, as the gates do, instead of tanh.",
    [r"candidate", r"\bg\b", r"\bg:"],
    [r"sigmoid", r"logistic"],
    source="a common slip: one activation for the whole fused product",
)
def one_activation_for_all(x, weights, h0, c0):
    h, c = h0, c0
    H, hs, cs = h0.shape[1], [], []
    for x_t in x:
        z = sigmoid(np.concatenate([x_t, h], axis=1) @ np.hstack([weights["W"], weights["R"]]).T + weights["b"])
        i, f, g, o = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "h is written unit by unit while it is read: later units of a step see the new h of earlier ones.",
    [r"in place", r"overwr", r"unit", r"same step", r"already"],
    source="a common slip of ports to C: one buffer for h of before and after the step",
)
def one_buffer_for_h(x, weights, h0, c0):
    T, B, I = x.shape
    H = h0.shape[1]
    W, R, b = weights["W"], weights["R"], weights["b"]
    h_seq = np.empty((T, B, H), x.dtype)
    c_seq = np.empty((T, B, H), x.dtype)
    for n in range(B):
        h = h0[n].copy()
        c = c0[n].copy()
        for t in range(T):
            h_prev = h
            for u in range(H):
                a = [b[k * H + u] + W[k * H + u] @ x[t, n] + R[k * H + u] @ h_prev for k in range(4)]
                c[u] = sigmoid(a[1]) * c[u] + sigmoid(a[0]) * np.tanh(a[2])
                h[u] = sigmoid(a[3]) * np.tanh(c[u])
            h_seq[t, n], c_seq[t, n] = h, c
    return h_seq, c_seq


@held_out(
    "plain",
    "The forget gate multiplies the sum of the old state and the new candidate: c = f (c + i g).",
    [r"forget", r"\bf\b"],
    [r"candidate", r"\bg\b", r"\bsum\b", r"i ?\N{MIDDLE DOT}? ?g", r"input", r"after"],
    source="a common slip: the two lines that update c in the wrong order",
)
def forgets_what_it_learned(x, weights, h0, c0, lengths=None):
    state = {"h": h0, "c": c0}
    names = ["input", "forget", "candidate", "output"]
    Wx = dict(zip(names, np.split(weights["W"], 4), strict=True))
    Wh = dict(zip(names, np.split(weights["R"], 4), strict=True))
    bias = dict(zip(names, np.split(weights["b"], 4), strict=True))
    out_h, out_c = [], []
    for t in range(x.shape[0]):
        a = {k: x[t] @ Wx[k].T + state["h"] @ Wh[k].T + bias[k] for k in names}
        cell = state["c"]
        cell = cell + sigmoid(a["input"]) * np.tanh(a["candidate"])
        cell = cell * sigmoid(a["forget"])
        hidden = sigmoid(a["output"]) * np.tanh(cell)
        alive = np.ones((len(h0), 1), bool) if lengths is None else np.reshape(lengths, (-1, 1)) > t
        state = {"h": np.where(alive, hidden, state["h"]), "c": np.where(alive, cell, state["c"])}
        out_h.append(hidden * alive)
        out_c.append(state["c"])
    return np.stack(out_h).astype(x.dtype), np.stack(out_c)


@held_out(
    "plain",
    "Past a sequence's end the cell state is 0 (it is multiplied with the mask) instead of what it was.",
    [r"past", r"padding", r"length", r"\bend\b", r"mask"],
    [r"zero", r"\b0\b", r"kept", r"state", r"\bc\b"],
    source="a common slip: ``mask * new`` without ``(1 - mask) * old``",
)
def mask_without_its_other_half(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    h, c, out, cells = h0, c0, [], []
    for t in range(T):
        m = np.ones((B, 1), x.dtype)
        if lengths is not None:
            m = (t < np.asarray(lengths)).astype(x.dtype).reshape(B, 1)
        pre = x[t] @ weights["W"].T + h @ weights["R"].T + weights["b"]
        i, f, g, o = np.split(pre, 4, axis=1)
        c_ = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_ = sigmoid(o) * np.tanh(c_)
        h = m * h_
        c = m * c_
        out.append(h)
        cells.append(c)
    return np.stack(out), np.stack(cells)


@held_out(
    "plain",
    "The sequence is read from its end to its start, and the outputs stay in that order.",
    [r"revers", r"backward", r"from (its|the) (end|last)", r"turn", r"direction", r"flip"],
    source="https://github.com/tensorflow/tensor2tensor/pull/859",
)
def source_reversed(x, weights, h0, c0):
    """An encoder of sequence to sequence, which reverses its source as the first paper did."""
    inputs = np.flip(x, axis=0)
    w = np.vstack([weights["W"].T, weights["R"].T])
    state = (c0, h0)
    outputs, cells = [], []
    for step in inputs:
        c, h = state
        i, f, j, o = np.split(np.hstack([step, h]) @ w + weights["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(j)
        h = sigmoid(o) * np.tanh(c)
        state = (c, h)
        outputs.append(h)
        cells.append(c)
    return np.stack(outputs), np.stack(cells)


@held_out(
    "plain",
    "The input gate is 1 - f: it is coupled to the forget gate, and its own weights are not used.",
    [r"1 ?[-\N{MINUS SIGN}] ?f", r"coupl", r"complement"],
    source="https://github.com/tensorflow/tensorflow/pull/9839",
)
def coupled_the_other_way(x, weights, h0, c0):
    n = h0.shape[1]
    kernel_f, kernel_j, kernel_o = (
        np.hstack([weights["W"][k * n : (k + 1) * n], weights["R"][k * n : (k + 1) * n]]).T for k in (1, 2, 3)
    )
    kernel_i = np.hstack([weights["W"][:n], weights["R"][:n]]).T
    b_i, b_f, b_j, b_o = weights["b"].reshape(4, n)
    m, c, ms, cs = h0, c0, [], []
    for x_t in x:
        xm = np.hstack([x_t, m])
        f = sigmoid(xm @ kernel_f + b_f)
        c = f * c + (1 - f) * np.tanh(xm @ kernel_j + b_j)
        m = sigmoid(xm @ kernel_o + b_o) * np.tanh(c)
        ms.append(m)
        cs.append(c)
    return np.stack(ms), np.stack(cs)


@held_out(
    "plain",
    "The sigmoid of the gates is (1 + tanh(z)) / 2: the halved argument is missing, and its slope is doubled.",
    [r"sigmoid", r"slope", r"curve", r"activation", r"gates?\b.*(2|twice|doubl)"],
    source="a common slip: the sigmoid by way of tanh",
)
def sigmoid_through_tanh(x, weights, h0, c0, lengths=None):
    def logistic(z):
        return 0.5 * np.tanh(z) + 0.5

    T, B, _ = x.shape
    ends = np.full(B, T) if lengths is None else np.asarray(lengths)
    h, c = h0.copy(), c0.copy()
    H_out, C_out = np.zeros((T, *h.shape), x.dtype), np.zeros((T, *c.shape), x.dtype)
    for t in range(T):
        rows = np.flatnonzero(t < ends)
        z = x[t, rows] @ weights["W"].T + h[rows] @ weights["R"].T + weights["b"]
        i, f, g, o = z.reshape(len(rows), 4, -1).swapaxes(0, 1)
        c[rows] = logistic(f) * c[rows] + logistic(i) * np.tanh(g)
        h[rows] = logistic(o) * np.tanh(c[rows])
        H_out[t, rows] = h[rows]
        C_out[t] = c
    return H_out, C_out


@held_out(
    "plain",
    "c itself goes through tanh: what is carried to the next step (and returned) is tanh(f c + i g).",
    [r"tanh", r"activation", r"curve"],
    [r"carr", r"\bc\b", r"cell state", r"state"],
    source="a common slip: c = tanh(c) in place before the output gate",
)
def squashed_state_carried(x, weights, h0, c0):
    hidden, memory = h0, c0
    hs, ms = [], []
    for x_t in x:
        z = (weights["W"] @ x_t.T + weights["R"] @ hidden.T + weights["b"][:, None]).T
        i, f, g, o = np.split(z, 4, axis=1)
        memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
        memory = np.tanh(memory)
        hidden = sigmoid(o) * memory
        hs.append(hidden)
        ms.append(memory)
    return np.stack(hs), np.stack(ms)


@held_out(
    "plain",
    "The state is reset to zero at every fourth timestep (windows of four steps are taken for sequences of their own).",
    [r"reset", r"zero", r"\b0\b", r"initial", r"start"],
    [r"step", r"every", r"\b4\b", r"period"],
    source="https://github.com/keras-team/keras/issues/7212",
)
def windows_without_state(x, weights, h0, c0):
    """A long sequence cut into windows, each run from the zero state since ``stateful`` was not set."""
    window = 4
    hs, cs = [], []
    h, c = h0, c0
    for start in range(0, len(x), window):
        if start > 0:
            h, c = np.zeros_like(h), np.zeros_like(c)
        for x_t in x[start : start + window]:
            i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            hs.append(h)
            cs.append(c)
    return np.stack(hs), np.stack(cs)
