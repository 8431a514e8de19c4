"""Gradients by hand, as reported: teaching codes, courses, native layers."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(x, weights, h, c):
    """The way there, right in itself: a list of what the way back needs."""
    tape = []
    for x_t in x:
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_new = f * c + i * g
        h_new = o * np.tanh(c_new)
        tape.append({"x": x_t, "h": h, "c": c, "i": i, "f": f, "g": g, "o": o, "c_new": c_new, "h_new": h_new})
        h, c = h_new, c_new
    return tape


def outputs_of(tape):
    return np.stack([s["h_new"] for s in tape]), np.stack([s["c_new"] for s in tape])


def step_back(s, dh, dc):
    """One step back, right in itself: dz of the four gates and the dc of the step before."""
    u = np.tanh(s["c_new"])
    dc = dc + dh * s["o"] * (1 - u**2)
    dz = np.concatenate(
        [
            dc * s["g"] * s["i"] * (1 - s["i"]),
            dc * s["c"] * s["f"] * (1 - s["f"]),
            dc * s["i"] * (1 - s["g"] ** 2),
            dh * u * s["o"] * (1 - s["o"]),
        ],
        axis=-1,
    )
    return dz, dc * s["f"]


@held_out(
    "gradients",
    "The candidate's slope is taken as a sigmoid's: g (1 - g) where it should be 1 - g².",
    [r"candidate", r"\bg\b", r"z_g", r"dz_g"],
    [r"slope", r"derivative", r"sigmoid", r"1 - g", r"tanh", r"activation"],
    source="one dsigmoid for all four blocks of the gates; a common slip in LSTMs from scratch",
)
def dsigmoid_for_all_blocks(x, weights, h0, c0, dh=None, dc=None):
    """All four activations lie in one array, and so do their slopes."""

    def dsigmoid(a):
        return a * (1 - a)

    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    W, R = weights["W"], weights["R"]
    W_d, R_d, b_d = np.zeros_like(W), np.zeros_like(R), np.zeros_like(weights["b"])
    dx, dh_next, dC_next = np.zeros_like(x), np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        s = tape[t]
        dh_t = dh[t] + dh_next
        dC = dC_next + dh_t * s["o"] * (1 - np.tanh(s["c_new"]) ** 2)
        into_gates = np.hstack([dC * s["g"], dC * s["c"], dC * s["i"], dh_t * np.tanh(s["c_new"])])
        slopes = np.hstack([dsigmoid(s["i"]), dsigmoid(s["f"]), dsigmoid(s["g"]), dsigmoid(s["o"])])
        dz = into_gates * slopes
        W_d += dz.T @ s["x"]
        R_d += dz.T @ s["h"]
        b_d += dz.sum(0)
        dx[t] = dz @ W
        dh_next, dC_next = dz @ R, s["f"] * dC
    return {"h_seq": h_seq, "x": dx, "W": W_d, "R": R_d, "b": b_d, "h0": dh_next, "c0": dC_next}


@held_out(
    "gradients",
    "The gradient of the cell state goes back to the step before without the forget gate: dc and not dc * f.",
    [r"\bdc\b", r"cell", r"\bc\b"],
    [r"forget", r"\bf\b"],
    source="dc_prev = dc in backward steps, as of the first LSTM, which had no forget gate; a common slip",
)
def constant_error_carousel(x, weights, h0, c0, dh=None, dc=None):
    """The carousel of the first paper carries the error as it is; with a forget gate it is scaled."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    gW, gR, gb, gx = np.zeros_like(weights["W"]), np.zeros_like(weights["R"]), np.zeros_like(weights["b"]), []
    dh_next, dc_next = np.zeros_like(h0), dc
    for dh_t, s in zip(dh[::-1], tape[::-1], strict=True):
        u = np.tanh(s["c_new"])
        dh_sum = dh_t + dh_next
        dc_sum = dc_next + dh_sum * s["o"] * (1 - u * u)
        dz = np.hstack([
            dc_sum * s["g"] * s["i"] * (1 - s["i"]),
            dc_sum * s["c"] * s["f"] * (1 - s["f"]),
            dc_sum * s["i"] * (1 - s["g"] * s["g"]),
            dh_sum * u * s["o"] * (1 - s["o"]),
        ])  # fmt: skip
        gW, gR, gb = gW + dz.T @ s["x"], gR + dz.T @ s["h"], gb + dz.sum(0)
        gx.append(dz @ weights["W"])
        dh_next = dz @ weights["R"]
        dc_next = dc_sum
    return {"h_seq": h_seq, "x": np.stack(gx[::-1]), "W": gW, "R": gR, "b": gb, "h0": dh_next, "c0": dc_next}


@held_out(
    "gradients",
    "The gradient of the final cell state comes in at every timestep, and should come in at the last one alone.",
    [r"\bdc\b", r"final", r"cell"],
    [r"every", r"each", r"all timesteps", r"again"],
    source="deeplearning4j issue 8838 says where it belongs: dLdcLast is to be added at the last time step",
)
def dldclast_at_every_step(x, weights, h0, c0, dh=None, dc=None):
    """A native layer that takes the gradient of cLast, mended by adding it, one line too deep."""

    def lstm_layer_bp(tape, dLdh, dLdcL):
        dLdWx, dLdWr, dLdb = (np.zeros_like(weights[k]) for k in "WRb")
        dLdx = np.empty_like(x)
        dLdhI, dLdcI = np.zeros_like(h0), np.zeros_like(dLdcL)
        for t in range(len(tape) - 1, -1, -1):
            dLdcI = dLdcI + dLdcL
            dLdz, dLdcI = step_back(tape[t], dLdh[t] + dLdhI, dLdcI)
            dLdhI = dLdz @ weights["R"]
            dLdx[t] = dLdz @ weights["W"]
            dLdWx += dLdz.T @ tape[t]["x"]
            dLdWr += dLdz.T @ tape[t]["h"]
            dLdb += dLdz.sum(axis=0)
        return {"x": dLdx, "W": dLdWx, "R": dLdWr, "b": dLdb, "h0": dLdhI, "c0": dLdcI}

    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    return (h_seq, c_seq) if dh is None else {"h_seq": h_seq, **lstm_layer_bp(tape, dh, dc)}


@held_out(
    "gradients",
    "On the way back each gate's recurrent weights are transposed once too often: they are square.",
    [r"\bR\b", r"recurrent", r"\bdh\b"],
    [r"transpos"],
    source="dh_prev by W.T or W, whichever fits: of square recurrent weights both do; a common slip",
)
def transposed_on_the_way_back(x, weights, h0, c0, dh=None, dc=None):
    """Four deltas and four matrices: the input's have one fitting form, the state's have two."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    Ui, Uf, Uc, Uo = np.split(weights["R"], 4)
    W_grad, R_grad, b_grad = (np.zeros_like(weights[k]) for k in ("W", "R", "b"))
    delta_h, delta_c, grad_x = np.zeros_like(h0), dc, np.empty_like(x)
    for t in range(len(x))[::-1]:
        dz, delta_c = step_back(tape[t], dh[t] + delta_h, delta_c)
        delta_i, delta_f, delta_ct, delta_o = np.split(dz, 4, axis=1)
        delta_h = np.dot(delta_i, Ui.T) + np.dot(delta_f, Uf.T) + np.dot(delta_ct, Uc.T) + np.dot(delta_o, Uo.T)
        grad_x[t] = np.dot(dz, weights["W"])
        W_grad += np.dot(dz.T, tape[t]["x"])
        R_grad += np.dot(dz.T, tape[t]["h"])
        b_grad += dz.sum(axis=0)
    return {"h_seq": h_seq, "x": grad_x, "W": W_grad, "R": R_grad, "b": b_grad, "h0": delta_h, "c0": delta_c}


@held_out(
    "gradients",
    "The gradient of x is in the reverse order of time: it was collected on the way back and not turned.",
    [r"\bx\b", r"\bdx\b"],
    [r"order", r"revers", r"turn", r"flip", r"time"],
    source="dxs.append(...) in a loop that runs back, stacked without [::-1]; a common slip",
)
def dxs_not_turned_back(x, weights, h0, c0, dh=None, dc=None):
    """A loop from the last timestep to the first fills a list, whose first element is the last timestep's."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    dxs, dzs, dh_next, dC_next = [], [], np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        dz, dC_next = step_back(tape[t], dh[t] + dh_next, dC_next)
        dh_next = dz @ weights["R"]
        dxs.append(dz @ weights["W"])
        dzs.insert(0, dz)
    dW = sum(dz.T @ x_t for dz, x_t in zip(dzs, x, strict=True))
    dR = sum(dz.T @ s["h"] for dz, s in zip(dzs, tape, strict=True))
    db = sum(dz.sum(axis=0) for dz in dzs)
    return {"h_seq": h_seq, "x": np.stack(dxs), "W": dW, "R": dR, "b": db, "h0": dh_next, "c0": dC_next}


@held_out(
    "gradients",
    "The slope of tanh is taken at c itself: 1 - c² where it should be 1 - tanh(c)².",
    [r"tanh", r"slope", r"derivative", r"1 - c"],
    [r"\bc\b", r"cell", r"\bu\b"],
    source="confusions about tanh_derivative(values) (nicodjimenez/lstm issue 41): it wants values that tanh has given",
)
def tanh_derivative_of_c(x, weights, h0, c0, dh=None, dc=None):
    """A helper that expects tanh's values, called with what tanh is yet to be taken of."""

    def tanh_derivative(values):
        return 1.0 - values**2

    def sigmoid_derivative(values):
        return values * (1 - values)

    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    diff_h, diff_s = np.zeros_like(h0), dc
    grads = {k: np.zeros_like(v) for k, v in weights.items()}
    diff_x = []
    for s, top_diff in zip(reversed(tape), reversed(dh), strict=True):
        top_diff_h = top_diff + diff_h
        ds = s["o"] * top_diff_h * tanh_derivative(s["c_new"]) + diff_s
        do = np.tanh(s["c_new"]) * top_diff_h
        di_input = sigmoid_derivative(s["i"]) * s["g"] * ds
        df_input = sigmoid_derivative(s["f"]) * s["c"] * ds
        do_input = sigmoid_derivative(s["o"]) * do
        dg_input = tanh_derivative(s["g"]) * s["i"] * ds
        d_input = np.concatenate([di_input, df_input, dg_input, do_input], axis=1)
        grads["W"] += d_input.T @ s["x"]
        grads["R"] += d_input.T @ s["h"]
        grads["b"] += d_input.sum(axis=0)
        diff_x.insert(0, d_input @ weights["W"])
        diff_h, diff_s = d_input @ weights["R"], ds * s["f"]
    return {"h_seq": h_seq, "x": np.stack(diff_x), **grads, "h0": diff_h, "c0": diff_s}


@held_out(
    "gradients",
    "The gradients of weights and bias are divided by the number of sequences: a mean where the sum is asked for.",
    [r"mean", r"averag", r"divid", r"\b1/B\b", r"/ ?B\b", r"number of sequences", r"batch size", r"over the batch"],
    source="course codes that divide dW by m, the number of examples, as in their layers without time; a common slip",
)
def divided_by_m(x, weights, h0, c0, dh=None, dc=None):
    """The way back of a course, whose loss is a mean over m examples; here the cotangents are given."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    m = x.shape[1]
    dWx, dWa, db = np.zeros_like(weights["W"]), np.zeros_like(weights["R"]), np.zeros_like(weights["b"])
    da_prev, dc_prev, dx = np.zeros_like(h0), dc, np.zeros_like(x)
    for t in reversed(range(len(tape))):
        dz, dc_prev = step_back(tape[t], dh[t] + da_prev, dc_prev)
        dWx += (1 / m) * (dz.T @ tape[t]["x"])
        dWa += (1 / m) * (dz.T @ tape[t]["h"])
        db += (1 / m) * dz.sum(axis=0)
        dx[t], da_prev = dz @ weights["W"], dz @ weights["R"]
    return {"h_seq": h_seq, "x": dx, "W": dWx, "R": dWa, "b": db, "h0": da_prev, "c0": dc_prev}


@held_out(
    "gradients",
    "Of the gradients of h only that of the last timestep is used: the code was written for many-to-one.",
    [r"\bdh\b", r"gradient", r"cotangent", r"h_seq", r"output"],
    [r"last", r"final", r"T - 1"],
    source="codes for a loss on the last output, used for outputs at every timestep; a common slip",
)
def loss_of_the_last_output(x, weights, h0, c0, dh=None, dc=None):
    """Backpropagation written for a classifier of sequences: dh is set once before the loop."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    grad = {name: np.zeros_like(array) for name, array in (*weights.items(), ("x", x))}
    d_h, d_c = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        if t == len(x) - 1:
            d_h = d_h + dh[t]
        dz, d_c = step_back(tape[t], d_h, d_c)
        grad["W"] += dz.T @ tape[t]["x"]
        grad["R"] += dz.T @ tape[t]["h"]
        grad["b"] += np.einsum("bg->g", dz)
        grad["x"][t] = dz @ weights["W"]
        d_h = dz @ weights["R"]
    return {"h_seq": h_seq, **grad, "h0": d_h, "c0": d_c}


@held_out(
    "gradients",
    "The output gate's gradient is taken with c and not with tanh(c).",
    [r"output gate", r"\bo\b", r"z_o"],
    [r"tanh", r"\bc\b", r"\bu\b", r"cell"],
    source="backward steps with do = dh * c, as h = o * c in the code they were taken from; a common slip",
)
def output_gate_sees_bare_c(x, weights, h0, c0, dh=None, dc=None):
    """The way back of a code without tanh at the output, put beside a way there that has it."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    H = h0.shape[1]
    dW, dR, db, dx = (
        np.zeros_like(weights["W"]),
        np.zeros_like(weights["R"]),
        np.zeros_like(weights["b"]),
        np.zeros_like(x),
    )
    dh_next, dc_next = np.zeros_like(h0), dc
    for t in range(len(x) - 1, -1, -1):
        s, dh_t = tape[t], dh[t] + dh_next
        tanh_c = np.tanh(s["c_new"])
        da = np.empty((len(h0), 4 * H), x.dtype)
        do = dh_t * s["c_new"]
        da[:, 3 * H :] = do * s["o"] * (1 - s["o"])
        dc_t = dc_next + dh_t * s["o"] * (1 - tanh_c**2)
        da[:, :H] = dc_t * s["g"] * s["i"] * (1 - s["i"])
        da[:, H : 2 * H] = dc_t * s["c"] * s["f"] * (1 - s["f"])
        da[:, 2 * H : 3 * H] = dc_t * s["i"] * (1 - s["g"] ** 2)
        dW += da.T @ s["x"]
        dR += da.T @ s["h"]
        db += da.sum(axis=0)
        dx[t] = da @ weights["W"]
        dh_next, dc_next = da @ weights["R"], dc_t * s["f"]
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": db, "h0": dh_next, "c0": dc_next}


@held_out(
    "gradients",
    "The gradients of W, R and b are clipped to [-1, 1], as for training.",
    [r"clip", r"\[-1", r"bound", r"limit", r"saturat", r"at most 1", r"held in"],
    source="np.clip(dparam, -1, 1, out=dparam), left in from min-char-rnn and its LSTM versions; a common slip",
)
def clipped_against_explosion(x, weights, h0, c0, dh=None, dc=None):
    """Codes after min-char-rnn mitigate exploding gradients in the function that computes them."""
    tape = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(tape)
    if dh is None:
        return h_seq, c_seq
    dW, dR, db = (np.zeros_like(weights[name]) for name in "WRb")
    dhnext, dcnext, dxs = np.zeros_like(h0), dc, {}
    for t in reversed(range(len(x))):
        dz, dcnext = step_back(tape[t], dh[t] + dhnext, dcnext)
        dW += np.dot(dz.T, tape[t]["x"])
        dR += np.dot(dz.T, tape[t]["h"])
        db += dz.sum(axis=0)
        dxs[t] = np.dot(dz, weights["W"])
        dhnext = np.dot(dz, weights["R"])
    for dparam in (dW, dR, db):
        np.clip(dparam, -1, 1, out=dparam)
    dx = np.stack([dxs[t] for t in range(len(x))])
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": db, "h0": dhnext, "c0": dcnext}


@held_out(
    "gradients",
    "The gradient of the output gate's peephole is taken with the cell state before the step, not the new one.",
    [r"peephole", r"\bp\b", r"\bdp\b"],
    [r"before", r"previous", r"\bold\b", r"last"],
    [r"output gate", r"\bo\b", r"o's"],
    source="three peepholes treated alike on the way back; ConvLSTM-Pytorch issue 1 has it on the way there",
    cases="gradients with peepholes",
)
def peephole_of_o_with_c_before(x, weights, h0, c0, dh=None, dc=None):
    """The gradients of the three peepholes in one line, as if all gates saw the same cell state."""
    W, R, b, p = (weights[k] for k in ("W", "R", "b", "p"))
    h, c, kept, hs, cs = h0, c0, [], [], []
    for x_t in x:
        zi, zf, zg, zo = np.split(x_t @ W.T + h @ R.T + b, 4, -1)
        i, f, g = sigmoid(zi + p[0] * c), sigmoid(zf + p[1] * c), np.tanh(zg)
        c_new = f * c + i * g
        o = sigmoid(zo + p[2] * c_new)
        kept.append((x_t, h, c, i, f, g, o, c_new))
        h, c = o * np.tanh(c_new), c_new
        hs.append(h)
        cs.append(c)
    if dh is None:
        return np.stack(hs), np.stack(cs)
    grads = {k: np.zeros_like(v) for k, v in weights.items()}
    dh_t, dc_t, dxs = np.zeros_like(h0), dc, []
    for top, (x_t, h_prev, c_prev, i, f, g, o, c_new) in zip(dh[::-1], kept[::-1], strict=True):
        dh_t = dh_t + top
        u = np.tanh(c_new)
        do = dh_t * u * o * (1 - o)
        dc_t = dc_t + dh_t * o * (1 - u**2) + do * p[2]
        di, df, dg = dc_t * g * i * (1 - i), dc_t * c_prev * f * (1 - f), dc_t * i * (1 - g**2)
        dz = np.hstack([di, df, dg, do])
        grads["W"] += dz.T @ x_t
        grads["R"] += dz.T @ h_prev
        grads["b"] += dz.sum(0)
        grads["p"] += np.stack([(delta * c_prev).sum(0) for delta in (di, df, do)])
        dxs.append(dz @ W)
        dh_t = dz @ R
        dc_t = dc_t * f + di * p[0] + df * p[1]
    return {"h_seq": np.stack(hs), "x": np.stack(dxs[::-1]), **grads, "h0": dh_t, "c0": dc_t}


@held_out(
    "gradients",
    "The gradients of the weights are those of timestep 0 alone: they are assigned in the loop, and not added up.",
    [
        r"timestep 0",
        r"first timestep",
        r"one timestep",
        r"first step",
        r"not (added|summed|accumulat)",
        r"last written",
        r"accumulat",
        r"alone",
        r"only",
    ],
    [r"\bW\b", r"\bdW", r"weight", r"\bR\b", r"\bb\b"],
    source="dW = ... and not dW += ... in lstm_backward (deeplearning.ai's forum, 'LSTM_backward wrong output')",
)
def assigned_and_not_added(x, weights, h0, c0, dh=None, dc=None):
    """Asked on a course's forum: the step back is right, and what the loop gives is not."""
    caches = forward(x, weights, h0, c0)
    h_seq, c_seq = outputs_of(caches)
    if dh is None:
        return h_seq, c_seq

    def lstm_cell_backward(da_next, dc_next, cache):
        dz, dc_before = step_back(cache, da_next, dc_next)
        return {
            "dxt": dz @ weights["W"],
            "da_prev": dz @ weights["R"],
            "dc_prev": dc_before,
            "dW": dz.T @ cache["x"],
            "dR": dz.T @ cache["h"],
            "db": dz.sum(axis=0),
        }

    total = dict.fromkeys(("dW", "dR", "db"), 0)
    dx = np.zeros_like(x)
    da_prevt, dc_prevt = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        gradients = lstm_cell_backward(dh[t] + da_prevt, dc_prevt, caches[t])
        da_prevt, dc_prevt = gradients["da_prev"], gradients["dc_prev"]
        dx[t] = gradients["dxt"]
        total = {k: gradients[k] for k in total}
    return {
        "h_seq": h_seq,
        "x": dx,
        "W": total["dW"],
        "R": total["dR"],
        "b": total["db"],
        "h0": da_prevt,
        "c0": dc_prevt,
    }
