"""Forward and back through one layer, as reported: exercises and layers with a way back by hand."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def lstm_forward(x, weights, h0, c0):
    """h_seq, and what the way back needs of each step: x, h and c before it, the gates, c and its tanh."""
    caches, h_seq, h, c = [], [], h0, c0
    for xt in x:
        a = xt @ weights["W"].T + h @ weights["R"].T + weights["b"]
        ai, af, ag, ao = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(ai), sigmoid(af), np.tanh(ag), sigmoid(ao)
        next_c = f * c + i * g
        tanh_c = np.tanh(next_c)
        caches.append((xt, h, c, i, f, g, o, next_c, tanh_c))
        h, c = o * tanh_c, next_c
        h_seq.append(h)
    return np.stack(h_seq), caches


def start(x, weights):
    grads = {name: np.zeros_like(weights[name]) for name in ("W", "R", "b")}
    return {**grads, "x": np.zeros_like(x)}


@held_out(
    "gradients",
    "Going back to the cell state before, dc is multiplied by the input gate, not by the forget gate.",
    [r"\bi\b", r"input gate"],
    [r"\bf\b", r"forget"],
    source="a common slip of way-backs whose lines were copied",
)
def input_gate_carries_dc(x, weights, h0, c0, dh, dc):
    h_seq, caches = lstm_forward(x, weights, h0, c0)
    grads = start(x, weights)
    dprev_h, dprev_c = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        xt, prev_h, prev_c, i, f, g, o, _, tanh_c = caches[t]
        dnext_h = dh[t] + dprev_h
        dnext_c = dprev_c + dnext_h * o * (1 - tanh_c**2)
        da = np.hstack(
            [
                dnext_c * g * i * (1 - i),
                dnext_c * prev_c * f * (1 - f),
                dnext_c * i * (1 - g**2),
                dnext_h * tanh_c * o * (1 - o),
            ]
        )
        grads["W"] += da.T @ xt
        grads["R"] += da.T @ prev_h
        grads["b"] += da.sum(axis=0)
        grads["x"][t] = da @ weights["W"]
        dprev_h = da @ weights["R"]
        dprev_c = dnext_c * i
    return {**grads, "h_seq": h_seq, "h0": dprev_h, "c0": dprev_c}


@held_out(
    "gradients",
    "db is the first timestep's alone: each step assigns it instead of adding to it.",
    [r"\bdb\b", r"bias", r"\bb\b", r"db:"],
    [r"first", r"\bone\b", r"sum", r"add", r"accum", r"timestep", r"single", r"last"],
    source="= in the place of += for the bias only: a common slip in exercises",
)
def bias_gradient_assigned(x, weights, h0, c0, dh, dc):
    W, R = weights["W"], weights["R"]
    h_seq, caches = lstm_forward(x, weights, h0, c0)
    dW, dR, db, dx = np.zeros_like(W), np.zeros_like(R), np.zeros_like(weights["b"]), np.zeros_like(x)
    dh_next, dc_next = np.zeros_like(h0), dc.copy()
    for t in range(len(x) - 1, -1, -1):
        xt, hp, cp, i, f, g, o, _, tc = caches[t]
        dht = dh[t] + dh_next
        do = dht * tc
        dct = dht * o * (1 - tc * tc) + dc_next
        di, dg, df = dct * g, dct * i, dct * cp
        dz = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)], axis=1)
        dW += dz.T.dot(xt)
        dR += dz.T.dot(hp)
        db = dz.sum(axis=0)
        dx[t] = dz.dot(W)
        dh_next, dc_next = dz.dot(R), dct * f
    return {"h_seq": h_seq, "W": dW, "R": dR, "b": db, "x": dx, "h0": dh_next, "c0": dc_next}


def gate_blocks(weights):
    """Wi, Wf, Wg, Wo over [x; h] and the biases, as exercises have them."""
    joined = np.concatenate([weights["W"], weights["R"]], axis=1)
    return dict(zip("ifgo", np.split(joined, 4), strict=True))


def lstm_step_backward(dnext_h, dnext_c, cache):
    """The gates' gradients of one step, and dc of the one before; right in itself."""
    _, _, prev_c, i, f, g, o, _, tanh_c = cache
    dct = dnext_c + dnext_h * o * (1 - tanh_c**2)
    dgates = {
        "i": dct * g * i * (1 - i),
        "f": dct * prev_c * f * (1 - f),
        "g": dct * i * (1 - g**2),
        "o": dnext_h * tanh_c * o * (1 - o),
    }
    return dgates, dct * f


@held_out(
    "gradients",
    "dx leaves out the forget gate's part.",
    [r"\bdx\b", r"\bx\b", r"input"],
    [r"\bf\b", r"forget"],
    source="a common slip in exercises: one of four terms is missing",
)
def dxt_of_three_gates(x, weights, h0, c0, dh, dc):
    n_x = x.shape[2]
    blocks = gate_blocks(weights)
    h_seq, caches = lstm_forward(x, weights, h0, c0)
    grads = start(x, weights)
    da_prevt, dc_prevt = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        d, dc_prevt = lstm_step_backward(dh[t] + da_prevt, dc_prevt, caches[t])
        stacked = np.concatenate([d[k] for k in "ifgo"], axis=1)
        grads["W"] += stacked.T @ x[t]
        grads["R"] += stacked.T @ caches[t][1]
        grads["b"] += stacked.sum(0)
        grads["x"][t] = d["i"] @ blocks["i"][:, :n_x] + d["g"] @ blocks["g"][:, :n_x] + d["o"] @ blocks["o"][:, :n_x]
        da_prevt = sum(d[k] @ blocks[k][:, n_x:] for k in "ifgo")
    return {**grads, "h_seq": h_seq, "h0": da_prevt, "c0": dc_prevt}


@held_out(
    "gradients",
    "What goes back into h of the step before leaves out the candidate's part.",
    [r"\bh\b", r"dh", r"hidden", r"recurrent", r"\bR\b"],
    [r"\bg\b", r"candidate"],
    source="a common slip in exercises: da_prev with three of four terms",
)
def da_prev_of_three_gates(x, weights, h0, c0, dh, dc):
    n_x = x.shape[2]
    w = gate_blocks(weights)
    h_seq, caches = lstm_forward(x, weights, h0, c0)
    grads = start(x, weights)
    da_prev, dc_prev = np.zeros_like(h0), dc
    for t in range(len(x))[::-1]:
        d, dc_prev = lstm_step_backward(dh[t] + da_prev, dc_prev, caches[t])
        dzt = np.concatenate([d["i"], d["f"], d["g"], d["o"]], axis=1)
        grads["W"] += np.dot(dzt.T, x[t])
        grads["R"] += np.dot(dzt.T, caches[t][1])
        grads["b"] += np.sum(dzt, axis=0)
        grads["x"][t] = np.dot(dzt, weights["W"])
        da_prev = np.dot(d["f"], w["f"][:, n_x:]) + np.dot(d["i"], w["i"][:, n_x:]) + np.dot(d["o"], w["o"][:, n_x:])
    return {**grads, "h_seq": h_seq, "h0": da_prev, "c0": dc_prev}


def back_with(step, x, weights, h0, c0, dh, dc):
    """The way back with a step of its own: dz (B, 4H) and dc of the step before."""
    h_seq, caches = lstm_forward(x, weights, h0, c0)
    grads = start(x, weights)
    dh_next, dc_next = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        dz, dc_next = step(dh[t] + dh_next, dc_next, *caches[t])
        grads["W"] += dz.T @ x[t]
        grads["R"] += dz.T @ caches[t][1]
        grads["b"] += dz.sum(0)
        grads["x"][t] = dz @ weights["W"]
        dh_next = dz @ weights["R"]
    return {**grads, "h_seq": h_seq, "h0": dh_next, "c0": dc_next}


@held_out(
    "gradients",
    "The forget gate's gradient is made with the candidate in the place of the cell state before: df = dc g f (1 - f).",
    [r"\bf\b", r"forget"],
    [r"\bg\b", r"candidate", r"c_prev", r"cell state", r"\bc\b"],
    source="a line copied from the input gate's; a common slip",
)
def forget_line_copied(x, weights, h0, c0, dh, dc):
    def step(dht, dct, xt, hp, cp, i, f, g, o, c, tc):  # noqa: ARG001
        dct = dct + dht * o * (1 - tc**2)
        di = dct * g * i * (1 - i)
        df = dct * g * f * (1 - f)
        dg = dct * i * (1 - g**2)
        do = dht * tc * o * (1 - o)
        return np.hstack([di, df, dg, do]), dct * f

    return back_with(step, x, weights, h0, c0, dh, dc)


@held_out(
    "gradients",
    "The slope of the cell state's tanh is 1 - c^2, of the bare c, instead of 1 - tanh(c)^2.",
    [r"slope", r"tanh", r"derivative", r"1 ?[-\N{MINUS SIGN}] ?c"],
    [r"\bc\b", r"cell", r"c\^?2", r"bare", r"tanh\(c\)"],
    source="dtanh(y) = 1 - y^2 given what has not been through tanh; a common slip",
)
def slope_of_raw_cell(x, weights, h0, c0, dh, dc):
    def dtanh(y):
        return 1 - y * y

    def dsigmoid(y):
        return y * (1 - y)

    def step(dht, dct, xt, hp, cp, i, f, g, o, c, tc):  # noqa: ARG001
        d_c = dht * o * dtanh(c) + dct
        deltas = (d_c * g * dsigmoid(i), d_c * cp * dsigmoid(f), d_c * i * dtanh(g), dht * tc * dsigmoid(o))
        return np.concatenate(deltas, axis=1), d_c * f

    return back_with(step, x, weights, h0, c0, dh, dc)


@held_out(
    "gradients",
    "The candidate's slope is that of a sigmoid, g (1 - g), instead of 1 - g^2.",
    [r"\bg\b", r"candidate"],
    [r"slope", r"sigmoid", r"derivative", r"curve", r"1 ?[-\N{MINUS SIGN}] ?g"],
    source="one derivative for all four blocks at once; a common slip of vectorised code",
)
def one_slope_for_four_blocks(x, weights, h0, c0, dh, dc):
    def step(dht, dct, xt, hp, cp, i, f, g, o, c, tc):  # noqa: ARG001
        dct = dct + dht * o * (1 - tc**2)
        act = np.concatenate([i, f, g, o], axis=1)
        dact = np.concatenate([dct * g, dct * cp, dct * i, dht * tc], axis=1)
        return dact * act * (1 - act), dct * f

    return back_with(step, x, weights, h0, c0, dh, dc)


@held_out(
    "gradients",
    "The gradients of the weights are divided by the number of timesteps.",
    [r"1/T", r"mean", r"averag", r"divid", r"timestep", r"number of", r"/ ?T\b"],
    source="a loss that is a mean over time in one place and a sum in the other; a common slip",
)
def gradients_per_timestep(x, weights, h0, c0, dh, dc):
    seq_len = len(x)
    h_seq, caches = lstm_forward(x, weights, h0, c0)
    grads = start(x, weights)
    dh_t, dc_t = np.zeros_like(h0), dc
    for t in reversed(range(seq_len)):
        d, dc_t = lstm_step_backward(dh[t] + dh_t, dc_t, caches[t])
        dz = np.hstack(list(d.values()))
        grads["W"] += dz.T @ caches[t][0]
        grads["R"] += dz.T @ caches[t][1]
        grads["b"] += dz.sum(0)
        grads["x"][t] = dz @ weights["W"]
        dh_t = dz @ weights["R"]
    for param in ("W", "R", "b"):
        grads[param] /= seq_len
    return {**grads, "h_seq": h_seq, "h0": dh_t, "c0": dc_t}


@held_out(
    "gradients",
    "The output gate's gradient is made with the cell state of the step before: do = dh tanh(c_prev).",
    [r"\bo\b", r"output gate"],
    [r"\bc\b", r"cell state", r"before", r"c_prev", r"previous", r"c_in", r"\bold\b"],
    source="an index one too low on the way back; a common slip",
)
def output_gate_reads_old_cell(x, weights, h0, c0, dh, dc):
    def step(dht, dct, xt, hp, cp, i, f, g, o, c, tc):  # noqa: ARG001
        do = dht * np.tanh(cp) * o * (1 - o)
        dct = dct + dht * o * (1 - np.tanh(c) ** 2)
        dg = dct * i * (1 - g**2)
        di = dct * g * i * (1 - i)
        df = dct * cp * f * (1 - f)
        return np.hstack([di, df, dg, do]), f * dct

    return back_with(step, x, weights, h0, c0, dh, dc)


@held_out(
    "gradients",
    "The output gate's slope o (1 - o) is missing, and the gradient of c0 is returned as zeros.",
    [r"\bo\b", r"output gate"],
    [r"\bc0\b", r"initial", r"dc0"],
    source="two common slips together; issues on numpy LSTMs that fail their gradient check show the first",
)
def small_framework_layer(x, weights, h0, c0, dh, dc):
    def step(dht, dct, xt, hp, cp, i, f, g, o, c, tc):  # noqa: ARG001
        dct = dct + dht * o * (1 - tc**2)
        do = dht * tc
        di, df, dg = dct * g * (i - i**2), dct * cp * (f - f**2), dct * i * (1 - g**2)
        return np.concatenate((di, df, dg, do), 1), dct * f

    grads = back_with(step, x, weights, h0, c0, dh, dc)
    grads["c0"] = np.zeros_like(c0)
    return grads
