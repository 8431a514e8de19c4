# ruff: noqa: C408 (code as people write it)
"""Forward and back through one layer, as reported: the way back by hand, each in its author's style."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigm(z):
    return 1.0 / (1.0 + np.exp(-z))


def run_forward(x, W, R, b, h0, c0):
    """Gates (T, B, 4H) after their activations; h and c (T + 1, B, H) begin with the initial state."""
    T, H = len(x), h0.shape[1]
    gates = np.empty((T, len(h0), 4 * H), x.dtype)
    h, c = np.empty((T + 1, *h0.shape), x.dtype), np.empty((T + 1, *c0.shape), x.dtype)
    h[0], c[0] = h0, c0
    for t in range(T):
        z = x[t] @ W.T + h[t] @ R.T + b
        gates[t] = sigm(z)
        gates[t, :, 2 * H : 3 * H] = np.tanh(z[:, 2 * H : 3 * H])
        i, f, g, o = np.split(gates[t], 4, axis=1)
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * np.tanh(c[t + 1])
    return gates, h, c


# Cells of courses: one column for each sequence, one matrix for each gate, [h; x] below each other.


def cell_forward(xt, a_prev, c_prev, p):
    concat = np.concatenate([a_prev, xt])
    ft, it = sigm(p["Wf"] @ concat + p["bf"]), sigm(p["Wi"] @ concat + p["bi"])
    cct, ot = np.tanh(p["Wc"] @ concat + p["bc"]), sigm(p["Wo"] @ concat + p["bo"])
    c_next = ft * c_prev + it * cct
    a_next = ot * np.tanh(c_next)
    return a_next, c_next, (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, concat)


def course_parameters(weights):
    p = {}
    for k, name in enumerate(("i", "f", "c", "o")):
        W, R, b = (np.split(weights[key], 4)[k] for key in ("W", "R", "b"))
        p["W" + name], p["b" + name] = np.concatenate([R, W], axis=1), b[:, None]
    return p


def course_forward(x, p, h0, c0):
    a, c, caches = h0.T, c0.T, []
    for xt in x:
        a, c, cache = cell_forward(xt.T, a, c, p)
        caches.append(cache)
    return caches


def course_result(caches, dx, da0, dc0, grads, n_a):
    order = ("i", "f", "c", "o")
    return {
        "h_seq": np.stack([cache[0].T for cache in caches]),
        "x": np.stack([d.T for d in dx]),
        "W": np.concatenate([grads["W" + k][:, n_a:] for k in order]),
        "R": np.concatenate([grads["W" + k][:, :n_a] for k in order]),
        "b": np.concatenate([grads["b" + k][:, 0] for k in order]),
        "h0": da0.T,
        "c0": dc0.T,
    }


@held_out(
    "gradients",
    "The candidate's slope (1 - g^2) is multiplied with the part that comes through h only, not with dc's.",
    [r"\bg\b", r"candidate"],
    [r"slope", r"derivative", r"1 ?- ?g", r"\bc\b", r"tanh", r"dc"],
    source="community.deeplearning.ai, thread 22398: DLS 5 Week 1: Exercise 7 - lstm_cell_backward",
)
def exercise_seven(x, weights, h0, c0, dh, dc):
    p, n_a = course_parameters(weights), h0.shape[1]
    caches = course_forward(x, p, h0, c0)
    grads = {k: np.zeros_like(v) for k, v in p.items()}
    dx, da_next, dc_next = [], np.zeros_like(h0.T), dc.T
    for t in reversed(range(len(x))):
        _, c_next, _, c_prev, ft, it, cct, ot, concat = caches[t]
        da = dh[t].T + da_next
        dot = da * np.tanh(c_next) * ot * (1 - ot)
        through = ot * (1 - np.square(np.tanh(c_next))) * da
        dcct = dc_next * it + through * it * (1 - np.square(cct))
        dit = (dc_next * cct + through * cct) * it * (1 - it)
        dft = (dc_next * c_prev + through * c_prev) * ft * (1 - ft)
        dconcat = 0
        for k, d in zip("fico", (dft, dit, dcct, dot), strict=True):
            grads["W" + k] += d @ concat.T
            grads["b" + k] += np.sum(d, axis=1, keepdims=True)
            dconcat = dconcat + p["W" + k].T @ d
        da_next, dc_next = dconcat[:n_a], dc_next * ft + through * ft
        dx.insert(0, dconcat[n_a:])
    return course_result(caches, dx, da_next, dc_next, grads, n_a)


@held_out(
    "gradients",
    "The gradient of h0 is returned as it was made: zeros.",
    [r"\bh0\b", r"dh0", r"initial"],
    [r"zero", r"\b0\b", r"not (computed|returned|passed)", r"no gradient", r"left out"],
    source="community.deeplearning.ai, thread 28690: C5W1 Exercise 8 lstm_backward (da0)",
)
def exercise_eight(x, weights, h0, c0, dh, dc):
    p, n_a = course_parameters(weights), h0.shape[1]
    caches = course_forward(x, p, h0, c0)
    T_x = len(x)
    dx, da0 = [None] * T_x, np.zeros_like(h0.T)
    grads = {k: np.zeros_like(v) for k, v in p.items()}
    da_prevt, dc_prevt = np.zeros_like(h0.T), dc.T
    for t in reversed(range(T_x)):
        _, c_next, _, c_prev, ft, it, cct, ot, concat = caches[t]
        da = dh[t].T + da_prevt
        dct = dc_prevt + da * ot * (1 - np.tanh(c_next) ** 2)
        gate = {
            "o": da * np.tanh(c_next) * ot * (1 - ot),
            "c": dct * it * (1 - cct**2),
            "i": dct * cct * it * (1 - it),
            "f": dct * c_prev * ft * (1 - ft),
        }
        for k, d in gate.items():
            grads["W" + k] += d @ concat.T
            grads["b" + k] += d.sum(axis=1, keepdims=True)
        back = sum(p["W" + k].T @ d for k, d in gate.items())
        da_prevt, dx[t], dc_prevt = back[:n_a], back[n_a:], dct * ft
    return course_result(caches, dx, da0, dc_prevt, grads, n_a)


# One matrix of all weights, with the bias in its first row.


def fused(weights):
    return np.concatenate([weights["b"][None], weights["W"].T, weights["R"].T])


def fused_forward(X, WLSTM, h0, c0):
    n, b, input_size = X.shape
    d = h0.shape[1]
    Hin = np.zeros((n, b, WLSTM.shape[0]), X.dtype)
    IFOGf, Ct = np.zeros((n, b, 4 * d), X.dtype), np.zeros((n, b, d), X.dtype)
    C, Hout = np.zeros((n, b, d), X.dtype), np.zeros((n, b, d), X.dtype)
    for t in range(n):
        Hin[t, :, 0] = 1
        Hin[t, :, 1 : 1 + input_size] = X[t]
        Hin[t, :, 1 + input_size :] = Hout[t - 1] if t else h0
        z = Hin[t].dot(WLSTM)
        IFOGf[t] = sigm(z)
        IFOGf[t, :, 2 * d : 3 * d] = np.tanh(z[:, 2 * d : 3 * d])
        C[t] = IFOGf[t, :, d : 2 * d] * (C[t - 1] if t else c0) + IFOGf[t, :, :d] * IFOGf[t, :, 2 * d : 3 * d]
        Ct[t] = np.tanh(C[t])
        Hout[t] = IFOGf[t, :, 3 * d :] * Ct[t]
    return Hin, IFOGf, C, Ct, Hout


@held_out(
    "gradients",
    "The forget gate's gradient is made with the cell state after the step instead of the one before.",
    [r"\bf\b", r"forget"],
    [r"\bc\b", r"after", r"own", r"c\[t\]", r"cell state", r"before"],
    source="a common slip (an index off by one: C[t] for C[t - 1])",
)
def batched_gist(x, weights, h0, c0, dh, dc):
    WLSTM, d, I = fused(weights), h0.shape[1], x.shape[2]
    Hin, IFOGf, C, Ct, Hout = fused_forward(x, WLSTM, h0, c0)
    dWLSTM, dX, dC, dHout = np.zeros_like(WLSTM), np.zeros_like(x), np.zeros_like(C), dh.copy()
    dC[-1] += dc
    for t in reversed(range(len(x))):
        i, f, g, o = np.split(IFOGf[t], 4, axis=1)
        dC[t] += (1 - Ct[t] ** 2) * (o * dHout[t])
        dIFOGf = np.zeros_like(IFOGf[t])
        dIFOGf[:, 3 * d :] = Ct[t] * dHout[t]
        dIFOGf[:, d : 2 * d] = C[t] * dC[t]
        dIFOGf[:, :d] = g * dC[t]
        dIFOGf[:, 2 * d : 3 * d] = i * dC[t]
        dIFOG = dIFOGf * np.concatenate([i * (1 - i), f * (1 - f), 1 - g**2, o * (1 - o)], 1)
        dWLSTM += Hin[t].T @ dIFOG
        dHin = dIFOG @ WLSTM.T
        dX[t] = dHin[:, 1 : 1 + I]
        if t:
            dC[t - 1] += f * dC[t]
            dHout[t - 1] += dHin[:, 1 + I :]
        else:
            dh0, dc0 = dHin[:, 1 + I :], f * dC[t]
    return dict(h_seq=Hout, x=dX, W=dWLSTM[1 : 1 + I].T, R=dWLSTM[1 + I :].T, b=dWLSTM[0], h0=dh0, c0=dc0)


@held_out(
    "gradients",
    "The gradient of R lacks the first timestep's part: the state before it is taken to be zero.",
    [r"\bdR\b", r"\bR\b", r"recurrent", r"Rh"],
    [r"first", r"h0", r"initial", r"zero", r"timestep"],
    source="a common slip (recurrent gradients from t = 1 on, where the state may start at something)",
)
def recurrent_from_one_on(x, weights, h0, c0, dh, dc):
    W, R, b = weights["W"], weights["R"], weights["b"]
    gates, h, c = run_forward(x, W, R, b, h0, c0)
    deltas, dh_t, dc_t = np.empty_like(gates), np.zeros_like(h0), dc
    for t in range(len(x) - 1, -1, -1):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        tanh_c = np.tanh(c[t + 1])
        dh_t = dh_t + dh[t]
        dc_t = dc_t + dh_t * o * (1 - tanh_c**2)
        di, df = dc_t * g * i * (1 - i), dc_t * c[t] * f * (1 - f)
        deltas[t] = np.hstack([di, df, dc_t * i * (1 - g**2), dh_t * tanh_c * o * (1 - o)])
        dh_t, dc_t = deltas[t] @ R, dc_t * f
    dR = np.einsum("tbz,tbh->zh", deltas[1:], h[1:-1])
    dW = np.einsum("tbz,tbi->zi", deltas, x)
    return dict(h_seq=h[1:], x=deltas @ W, W=dW, R=dR, b=deltas.sum((0, 1)), h0=dh_t, c0=dc_t)


class Node:
    """One timestep that remembers what its way back needs."""

    def __init__(self, p):
        self.W, self.R, self.b = p["W"], p["R"], p["b"]

    def bottom_data_is(self, x, h_prev, s_prev):
        self.x, self.h_prev, self.s_prev = x, h_prev, s_prev
        z = x @ self.W.T + h_prev @ self.R.T + self.b
        i, f, g, o = np.split(z, 4, axis=1)
        self.i, self.f, self.g, self.o = sigm(i), sigm(f), np.tanh(g), sigm(o)
        self.s = self.g * self.i + s_prev * self.f
        self.h = np.tanh(self.s) * self.o
        return self.h, self.s

    def accumulate(self, diffs, dz):
        diffs["W"] += dz.T @ self.x
        diffs["R"] += dz.T @ self.h_prev
        diffs["b"] += dz.sum(0)
        diffs["x"].insert(0, dz @ self.W)
        return dz @ self.R


def nodes_of(x, weights, h, s):
    nodes = []
    for x_t in x:
        nodes.append(Node(weights))
        h, s = nodes[-1].bottom_data_is(x_t, h, s)
    return nodes


def no_diffs(weights):
    return {**{k: np.zeros_like(weights[k]) for k in ("W", "R", "b")}, "x": []}


def of_nodes(nodes, diffs, dh0, dc0):
    return {**diffs, "x": np.stack(diffs["x"]), "h_seq": np.stack([n.h for n in nodes]), "h0": dh0, "c0": dc0}


@held_out(
    "gradients",
    "The output gate's gradient is made with c instead of tanh(c).",
    [r"\bo\b", r"output gate"],
    [r"tanh"],
    source="nicodjimenez/lstm, pull request 30: Add activation function to cells' output",
)
def top_diff_without_tanh(x, weights, h0, c0, dh, dc):
    nodes, diffs = nodes_of(x, weights, h0, c0), no_diffs(weights)
    top_diff_h, top_diff_s = np.zeros_like(h0), dc
    for n, diff in zip(reversed(nodes), dh[::-1], strict=True):
        top_diff_h = top_diff_h + diff
        ds = n.o * (1 - np.tanh(n.s) ** 2) * top_diff_h + top_diff_s
        do = n.s * top_diff_h
        di, dg, df = n.g * ds, n.i * ds, n.s_prev * ds
        inputs = [n.i * (1 - n.i) * di, n.f * (1 - n.f) * df, (1 - n.g**2) * dg, n.o * (1 - n.o) * do]
        top_diff_h, top_diff_s = n.accumulate(diffs, np.hstack(inputs)), ds * n.f
    return of_nodes(nodes, diffs, top_diff_h, top_diff_s)


@held_out(
    "gradients",
    "Going back to the step before, h gets the gates' gradients from before the activations' slopes.",
    [r"slope", r"derivative", r"activation", r"before", r"sigmoid"],
    [r"\bh\b", r"hidden", r"recurrent", r"d-h", r"\bR\b"],
    source="llSourcell/LSTM_Networks, issue 4: Is there something missing in dphs derivation?",
)
def dphs_without_slopes(x, weights, h0, c0, dh, dc):
    nodes, diffs = nodes_of(x, weights, h0, c0), no_diffs(weights)
    dphs, dpcs = np.zeros_like(h0), dc
    for n, error in zip(nodes[::-1], dh[::-1], strict=True):
        e = error + dphs
        do = e * np.tanh(n.s)
        dcs = e * n.o * (1 - np.tanh(n.s) ** 2) + dpcs
        raw = np.hstack([dcs * n.g, dcs * n.s_prev, dcs * n.i, do])
        slopes = np.hstack([n.i * (1 - n.i), n.f * (1 - n.f), 1 - n.g**2, n.o * (1 - n.o)])
        n.accumulate(diffs, raw * slopes)
        dphs, dpcs = raw @ n.R, dcs * n.f
    return of_nodes(nodes, diffs, dphs, dpcs)


@held_out(
    "gradients",
    "The slope of the cell state's tanh is 1 - tanh(tanh(c))^2: tanh is taken once too often.",
    [r"slope", r"derivative", r"tanh"],
    [r"tanh", r"twice", r"\bc\b", r"cell state"],
    source="nicklashansen/rnn_lstm_from_scratch, issue 1: Your LSTM implementation does not pass gradient check",
)
def tanh_of_tanh(x, weights, h0, c0, dh, dc):
    def tanh(v, derivative=False):  # noqa: FBT002
        t_ = np.tanh(v)
        return 1 - t_**2 if derivative else t_

    nodes, diffs = nodes_of(x, weights, h0, c0), no_diffs(weights)
    dh_next, dC_next = np.zeros_like(h0), dc
    for n, d in zip(nodes[::-1], dh[::-1], strict=True):
        dht = d + dh_next
        dC = np.copy(dC_next)
        dC += dht * n.o * tanh(tanh(n.s), derivative=True)
        do = dht * tanh(n.s) * n.o * (1 - n.o)
        dg = dC * n.i * (1 - n.g**2)
        di = dC * n.g * n.i * (1 - n.i)
        df = dC * n.s_prev * n.f * (1 - n.f)
        dh_next = n.accumulate(diffs, np.concatenate([di, df, dg, do], axis=1))
        dC_next = n.f * dC
    return of_nodes(nodes, diffs, dh_next, dC_next)


@held_out(
    "gradients",
    "The gradient of W is the last timestep's alone: it is not summed over time.",
    [r"\bdW\b", r"\bW\b", r"Wx", r"kernel"],
    [r"last", r"sum", r"timestep", r"time", r"one step", r"only"],
    source="hanbt/learn_dl, issue 30 (the gradients of Wfx, Wix, Wox, Wcx are not accumulated over t)",
)
def current_time_only(x, weights, h0, c0, dh, dc):
    W, R, b = weights["W"], weights["R"], weights["b"]
    gates, h, c = run_forward(x, W, R, b, h0, c0)
    delta_h, delta_c, deltas = np.zeros_like(h0), dc, {}
    for k in reversed(range(len(x))):
        ig, fg, ct, og = np.split(gates[k], 4, axis=1)
        delta_h = dh[k] + delta_h
        delta_c = delta_c + delta_h * og * (1 - np.tanh(c[k + 1]) ** 2)
        delta_o = delta_h * np.tanh(c[k + 1]) * og * (1 - og)
        delta_f = delta_c * c[k] * fg * (1 - fg)
        delta_i, delta_ct = delta_c * ct * ig * (1 - ig), delta_c * ig * (1 - ct * ct)
        deltas[k] = np.concatenate([delta_i, delta_f, delta_ct, delta_o], axis=1)
        delta_h, delta_c = deltas[k] @ R, delta_c * fg
    T = len(x)
    Wh_grad = sum(deltas[t].T @ h[t] for t in range(T))
    Wx_grad = deltas[T - 1].T @ x[T - 1]
    b_grad = sum(deltas[t].sum(axis=0) for t in range(T))
    dx = np.stack([deltas[t] @ W for t in range(T)])
    return {"h_seq": h[1:], "x": dx, "W": Wx_grad, "R": Wh_grad, "b": b_grad, "h0": delta_h, "c0": delta_c}
