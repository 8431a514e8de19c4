"""Forward and back through one layer, second set: the way back by hand, as courses and small libraries write it."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def forward(x, weights, h0, c0):
    """Right: for each step (x, h before, c before, i, f, g, o, c, tanh c), and all h."""
    W, R, b = weights["W"], weights["R"], weights["b"]
    h, c, caches, hs = h0, c0, [], []
    for v in x:
        i, f, g, o = np.split(v @ W.T + h @ R.T + b, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_next = f * c + i * g
        tc = np.tanh(c_next)
        caches.append((v, h, c, i, f, g, o, c_next, tc))
        h, c = o * tc, c_next
        hs.append(h)
    return caches, np.stack(hs)


@held_out(
    "gradients",
    "The gradient of h goes into c as it is: its factor o (1 - tanh(c)^2) is missing.",
    [r"\bc\b", r"cell", r"tanh"],
    [r"slope", r"derivative", r"factor", r"\bo\b", r"output gate", r"tanh", r"left out", r"missing"],
    source="https://github.com/lhnguyen102/cuTAGI/issues/77",
)
def error_of_h_taken_for_that_of_c(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    W, R = weights["W"], weights["R"]
    dW, dR, db, dx = np.zeros_like(W), np.zeros_like(R), np.zeros_like(weights["b"]), np.zeros_like(x)
    delta_m_out, delta_c = np.zeros_like(h0), dc
    for t in range(len(x) - 1, -1, -1):
        v, h_prev, c_prev, i, f, g, o, _, tc = caches[t]
        delta_m = dh[t] + delta_m_out
        delta_c = delta_c + delta_m
        delta = np.hstack(
            [
                delta_c * g * i * (1 - i),
                delta_c * c_prev * f * (1 - f),
                delta_c * i * (1 - g * g),
                delta_m * tc * o * (1 - o),
            ]
        )
        dW += delta.T @ v
        dR += delta.T @ h_prev
        db += delta.sum(axis=0)
        dx[t] = delta @ W
        delta_m_out = delta @ R
        delta_c = delta_c * f
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": db, "h0": delta_m_out, "c0": delta_c}


@held_out(
    "gradients",
    "The gradient of the input gate is made with i where g should stand: dc * i * i (1 - i).",
    [r"\bi\b", r"input gate", r"\bdi\b"],
    [r"\bg\b", r"candidate", r"partner", r"factor", r"instead", r"place"],
    source="https://github.com/wvabrinskas/Neuron/pull/181",
)
def input_gate_times_itself(x, weights, h0, c0, dh, dc):
    """Per-gate dicts, as a framework's layer has its cached activations."""
    names = ("input", "forget", "gate", "output")
    W = dict(zip(names, np.split(weights["W"], 4), strict=True))
    R = dict(zip(names, np.split(weights["R"], 4), strict=True))
    caches, h_seq = forward(x, weights, h0, c0)
    wgrad = {n: [np.zeros_like(W[n]), np.zeros_like(R[n]), np.zeros(len(W[n]), x.dtype)] for n in names}
    dx = np.empty_like(x)
    next_h, cell_error = np.zeros_like(h0), dc
    for t, (v, h_prev, c_prev, ia, fa, ga, oa, _, tc) in reversed(list(enumerate(caches))):
        out_error = dh[t] + next_h
        cell_error = cell_error + out_error * oa * (1 - tc**2)
        err = {
            "output": out_error * tc * oa * (1 - oa),
            "gate": cell_error * ia * (1 - ga**2),
            "input": cell_error * ia * ia * (1 - ia),
            "forget": cell_error * c_prev * fa * (1 - fa),
        }
        for n in names:
            wgrad[n][0] += err[n].T @ v
            wgrad[n][1] += err[n].T @ h_prev
            wgrad[n][2] += err[n].sum(0)
        dx[t] = sum(err[n] @ W[n] for n in names)
        next_h = sum(err[n] @ R[n] for n in names)
        cell_error = cell_error * fa
    dW, dR, db = (np.concatenate([wgrad[n][k] for n in names]) for k in range(3))
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": db, "h0": next_h, "c0": cell_error}


@held_out(
    "gradients",
    "The slope of tanh is taken of what has been through tanh already: 1 - tanh(tanh(z))^2, for candidate and for c.",
    [r"slope", r"derivative", r"tanh", r"curve"],
    source="https://github.com/wvabrinskas/Neuron/pull/181",
)
def derivative_of_activated_values(x, weights, h0, c0, dh, dc):
    class Tanh:
        @staticmethod
        def derivate(v):
            return 1 - np.tanh(v) ** 2

    def dsigmoid(a):
        return a * (1 - a)

    caches, h_seq = forward(x, weights, h0, c0)
    wr = np.hstack([weights["W"], weights["R"]])
    I = x.shape[2]
    dwr, db, dx = np.zeros_like(wr), np.zeros_like(weights["b"]), np.empty_like(x)
    eh, ec = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        v, h_prev, c_prev, i, f, g, o, _, tc = caches[t]
        eh = eh + dh[t]
        ec = ec + eh * o * Tanh.derivate(tc)
        dg = ec * i * Tanh.derivate(g)
        d = np.concatenate([ec * g * dsigmoid(i), ec * c_prev * dsigmoid(f), dg, eh * tc * dsigmoid(o)], axis=1)
        dwr += d.T @ np.hstack([v, h_prev])
        db += d.sum(0)
        both = d @ wr
        dx[t], eh = both[:, :I], both[:, I:]
        ec = ec * f
    return {"h_seq": h_seq, "x": dx, "W": dwr[:, :I], "R": dwr[:, I:], "b": db, "h0": eh, "c0": ec}


@held_out(
    "gradients",
    "What goes back through R into h of the step before is made of the gates' errors without their slopes.",
    [r"slope", r"derivative", r"activation", r"gates"],
    [r"\bh\b", r"\bR\b", r"recurrent", r"step before", r"previous", r"through"],
    source="https://github.com/llSourcell/LSTM_Networks/issues/4",
)
def errors_go_back_without_slopes(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    U = np.split(weights["R"], 4)
    dW, dR, db = np.zeros_like(weights["W"]), np.zeros_like(weights["R"]), np.zeros_like(weights["b"])
    dx = np.empty_like(x)
    dphs, dpcs = np.zeros_like(h0), dc
    for t in range(len(x) - 1, -1, -1):
        v, h_prev, c_prev, i, f, g, o, _, tc = caches[t]
        error = dh[t] + dphs
        dcs = dpcs + error * o * (1 - tc**2)
        di, df, dg, do = dcs * g, dcs * c_prev, dcs * i, error * tc
        ui, uf, ug, uo = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
        u = np.hstack([ui, uf, ug, uo])
        dW += u.T @ v
        dR += u.T @ h_prev
        db += u.sum(axis=0)
        dx[t] = u @ weights["W"]
        dphs = di @ U[0] + df @ U[1] + dg @ U[2] + do @ U[3]
        dpcs = dcs * f
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": db, "h0": dphs, "c0": dpcs}


@held_out(
    "gradients",
    "The weights' gradients are those of one timestep, the first: each step writes over them instead of adding.",
    [r"\bdW\b", r"weights", r"\bW\b", r"kernel"],
    [r"first", r"timestep 0", r"step 0", r"one (time)?step", r"single", r"overwr", r"summed", r"accumul", r"not added"],
    source="https://github.com/arunmallya/arunmallya.github.io/issues/3",
)
def assigned_instead_of_accumulated(x, weights, h0, c0, dh, dc):
    def step_backward(dnext_h, dnext_c, cache):
        v, prev_h, prev_c, i, f, g, o, _, tc = cache
        dnext_c = dnext_c + o * (1 - tc**2) * dnext_h
        da = np.hstack(
            [
                dnext_c * g * i * (1 - i),
                dnext_c * prev_c * f * (1 - f),
                dnext_c * i * (1 - g**2),
                dnext_h * tc * o * (1 - o),
            ]
        )
        return da @ weights["W"], da @ weights["R"], dnext_c * f, da.T @ v, da.T @ prev_h, da.sum(axis=0)

    caches, h_seq = forward(x, weights, h0, c0)
    dx = np.zeros_like(x)
    dprev_h, dprev_c = np.zeros_like(h0), dc
    for t in reversed(range(x.shape[0])):
        dx[t], dprev_h, dprev_c, dW, dR, db = step_backward(dh[t] + dprev_h, dprev_c, caches[t])
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": db, "h0": dprev_h, "c0": dprev_c}


@held_out(
    "gradients",
    "The gradient of c goes to the step before as it is: its factor f is missing.",
    [r"\bf\b", r"forget"],
    [r"factor", r"without", r"missing", r"left out", r"not multipl", r"carr", r"\bc\b", r"cell"],
    source="https://github.com/nicodjimenez/lstm/issues/2",
)
def carousel_without_forgetting(x, weights, h0, c0, dh, dc):
    """A list of nodes, each with ``top_diff_is`` and ``bottom_diff``."""

    class Node:
        def __init__(self, cache):
            self.x, self.h_prev, self.s_prev, self.i, self.f, self.g, self.o, self.s, self.ts = cache

        def top_diff_is(self, top_diff_h, top_diff_s):
            ds = self.o * (1 - self.ts**2) * top_diff_h + top_diff_s
            di_input = self.i * (1 - self.i) * self.g * ds
            df_input = self.f * (1 - self.f) * self.s_prev * ds
            dg_input = (1 - self.g**2) * self.i * ds
            do_input = self.o * (1 - self.o) * self.ts * top_diff_h
            self.d = np.hstack([di_input, df_input, dg_input, do_input])
            self.bottom_diff_s = ds
            self.bottom_diff_h = self.d @ weights["R"]

    caches, h_seq = forward(x, weights, h0, c0)
    nodes = [Node(cache) for cache in caches]
    diff_h, diff_s = np.zeros_like(h0), dc
    for node, top in zip(nodes[::-1], dh[::-1], strict=True):
        node.top_diff_is(top + diff_h, diff_s)
        diff_h, diff_s = node.bottom_diff_h, node.bottom_diff_s
    return {
        "h_seq": h_seq,
        "x": np.stack([node.d @ weights["W"] for node in nodes]),
        "W": sum(node.d.T @ node.x for node in nodes),
        "R": sum(node.d.T @ node.h_prev for node in nodes),
        "b": sum(node.d.sum(0) for node in nodes),
        "h0": diff_h,
        "c0": diff_s,
    }


@held_out(
    "gradients",
    "The output gate's gradient is made with c, not with tanh(c): do = dh c o (1 - o).",
    [r"\bo\b", r"output gate"],
    [r"tanh", r"\bc\b", r"cell"],
    source="a common slip: the forward equation h = o tanh(c) taken for h = o c on the way back",
)
def output_gate_times_bare_state(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    I = x.shape[2]
    Wx = np.concatenate([weights["W"], weights["R"]], axis=1)
    grad_W, grad_b, grad_x = np.zeros_like(Wx), np.zeros_like(weights["b"]), np.zeros_like(x)
    dh_next, dc_next = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        v, h_prev, c_prev, i, f, c_bar, o, c, _ = caches[t]
        dh_t = dh[t] + dh_next
        do = dh_t * c * o * (1 - o)
        dc_t = dc_next + dh_t * o * (1 - np.tanh(c) ** 2)
        dc_bar = dc_t * i * (1 - c_bar**2)
        di = dc_t * c_bar * i * (1 - i)
        df = dc_t * c_prev * f * (1 - f)
        dzs = np.column_stack([di, df, dc_bar, do])
        grad_W += dzs.T @ np.column_stack([v, h_prev])
        grad_b += dzs.sum(axis=0)
        dz = dzs @ Wx
        grad_x[t], dh_next = dz[:, :I], dz[:, I:]
        dc_next = f * dc_t
    return {
        "h_seq": h_seq,
        "x": grad_x,
        "W": grad_W[:, :I],
        "R": grad_W[:, I:],
        "b": grad_b,
        "h0": dh_next,
        "c0": dc_next,
    }
