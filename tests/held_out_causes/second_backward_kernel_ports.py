# ruff: noqa: ARG001 (code as people write it)
"""Forward and back through one layer, second set: the way back of frameworks and kernels."""

from __future__ import annotations

import numpy as np
from register import held_out
from second_gradient_ports import forward, sigmoid


@held_out(
    "gradients",
    "The gradient dc of the final cell state is not taken in: the way back starts from zero there.",
    [r"\bdc\b", r"final", r"\bc\b", r"cotangent", r"cell state"],
    [r"zero", r"\b0\b", r"ignor", r"not used", r"left out", r"lost", r"missing", r"detach"],
    source="https://github.com/deeplearning4j/deeplearning4j/issues/8838",
)
def last_cell_gradient_left_out(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    T, B, H = h_seq.shape
    dLdz = np.empty((T, B, 4 * H), x.dtype)
    dLdh, dLdc = np.zeros((B, H), x.dtype), np.zeros((B, H), x.dtype)
    for t in range(T - 1, -1, -1):
        _, _, c_prev, i, f, g, o, _, tc = caches[t]
        dLdh = dLdh + dh[t]
        dLdc = dLdc + dLdh * o * (1 - np.square(tc))
        dLdz[t, :, :H] = dLdc * g * i * (1 - i)
        dLdz[t, :, H : 2 * H] = dLdc * c_prev * f * (1 - f)
        dLdz[t, :, 2 * H : 3 * H] = dLdc * i * (1 - np.square(g))
        dLdz[t, :, 3 * H :] = dLdh * tc * o * (1 - o)
        dLdh, dLdc = dLdz[t] @ weights["R"], dLdc * f
    hI = np.concatenate([h0[None], h_seq[:-1]])
    return {
        "h_seq": h_seq,
        "x": dLdz @ weights["W"],
        "W": np.einsum("tbg,tbi->gi", dLdz, x),
        "R": np.einsum("tbg,tbh->gh", dLdz, hI),
        "b": dLdz.sum((0, 1)),
        "h0": dLdh,
        "c0": dLdc,
    }


@held_out(
    "gradients",
    "The bias gets no gradient: db is zero.",
    [r"\bdb\b", r"bias", r"\bb\b", r"db:"],
    [r"zero", r"\b0\b", r"no gradient", r"detach"],
    source="https://github.com/tracel-ai/burn/pull/5235",
)
def bias_that_does_not_learn(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    grads = {"W": np.zeros_like(weights["W"]), "R": np.zeros_like(weights["R"]), "b": np.zeros_like(weights["b"])}
    delta_h, delta_c, dxs = np.zeros_like(h0), dc.copy(), []
    for (v, h_prev, c_prev, i, f, g, o, _, tc), dh_t in zip(caches[::-1], dh[::-1], strict=True):
        delta_h = delta_h + dh_t
        delta_c = delta_c + delta_h * o * (1 - tc * tc)
        gates = np.stack([delta_c * g, delta_c * c_prev, delta_c * i, delta_h * tc], axis=1)
        gates *= np.stack([i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)], axis=1)
        flat = gates.reshape(len(h0), -1)
        grads["W"] += np.tensordot(flat, v, axes=(0, 0))
        grads["R"] += np.tensordot(flat, h_prev, axes=(0, 0))
        dxs.append(flat @ weights["W"])
        delta_h, delta_c = flat @ weights["R"], delta_c * f
    return {"h_seq": h_seq, **grads, "x": np.stack(dxs[::-1]), "h0": delta_h, "c0": delta_c}


@held_out(
    "gradients",
    "The way back takes its slopes of the gates before their activation: z (1 - z), and 1 - z^2 for the candidate.",
    [r"slope", r"derivative", r"activation", r"sigmoid"],
    source="https://github.com/flagos-ai/FlagGems/issues/5014",
)
def workspace_before_activation(x, weights, h0, c0, dh, dc):
    """A fused forward writes its workspace, which the fused backward reads."""
    T, B, _ = x.shape
    H = h0.shape[1]
    workspace = np.empty((T, B, 4, H), x.dtype)
    hs, cs = np.empty((T + 1, B, H), x.dtype), np.empty((T + 1, B, H), x.dtype)
    hs[0], cs[0] = h0, c0
    for t in range(T):
        gates = (x[t] @ weights["W"].T + hs[t] @ weights["R"].T + weights["b"]).reshape(B, 4, H)
        i, f, g, o = sigmoid(gates[:, 0]), sigmoid(gates[:, 1]), np.tanh(gates[:, 2]), sigmoid(gates[:, 3])
        cs[t + 1] = f * cs[t] + i * g
        hs[t + 1] = o * np.tanh(cs[t + 1])
        workspace[t] = gates
    grad_gates = np.empty_like(workspace)
    grad_h, grad_c = np.zeros_like(h0), dc
    for t in range(T - 1, -1, -1):
        i_, f_, g_, o_ = workspace[t].swapaxes(0, 1)
        i, f, g, o = sigmoid(i_), sigmoid(f_), np.tanh(g_), sigmoid(o_)
        gh = dh[t] + grad_h
        tc = np.tanh(cs[t + 1])
        gc = grad_c + gh * o * (1 - tc * tc)
        grad_gates[t, :, 0] = gc * g * i_ * (1 - i_)
        grad_gates[t, :, 1] = gc * cs[t] * f_ * (1 - f_)
        grad_gates[t, :, 2] = gc * i * (1 - g_ * g_)
        grad_gates[t, :, 3] = gh * tc * o_ * (1 - o_)
        grad_h, grad_c = grad_gates[t].reshape(B, -1) @ weights["R"], gc * f
    flat = grad_gates.reshape(T * B, -1)
    return {
        "h_seq": hs[1:],
        "x": (flat @ weights["W"]).reshape(x.shape),
        "W": flat.T @ x.reshape(T * B, -1),
        "R": flat.T @ hs[:-1].reshape(T * B, -1),
        "b": flat.sum(0),
        "h0": grad_h,
        "c0": grad_c,
    }


@held_out(
    "gradients",
    "The gradients of the input and the forget gate's peepholes are made with c after the step, not before it.",
    [r"peephole", r"\bp\b", r"\bdp\b", r"dp:"],
    [r"before", r"after", r"previous", r"new", r"\bc\b"],
    cases="gradients with peepholes",
    source="a common slip, near https://github.com/tensorflow/tensorflow/issues/34171",
)
def peephole_gradients_from_the_new_state(x, weights, h0, c0, dh, dc):
    W, R, b, (pi, pf, po) = weights["W"], weights["R"], weights["b"], weights["p"]
    T, B, H = dh.shape
    h, cs, tape, hs = h0, [c0], [], [h0]
    for v in x:
        zi, zf, zg, zo = np.split(v @ W.T + h @ R.T + b, 4, axis=1)
        i, f, g = sigmoid(zi + pi * cs[-1]), sigmoid(zf + pf * cs[-1]), np.tanh(zg)
        cs.append(f * cs[-1] + i * g)
        o = sigmoid(zo + po * cs[-1])
        h = o * np.tanh(cs[-1])
        tape.append((i, f, g, o))
        hs.append(h)
    wci_grad, wcf_grad, wco_grad = np.zeros(H, x.dtype), np.zeros(H, x.dtype), np.zeros(H, x.dtype)
    dicfo = np.empty((T, B, 4 * H), x.dtype)
    h_grad, cs_grad = np.zeros_like(h0), dc
    for t in reversed(range(T)):
        i, f, g, o = tape[t]
        cs_prev, co = cs[t], np.tanh(cs[t + 1])
        h_grad = h_grad + dh[t]
        do = o * (1 - o) * h_grad * co
        dcs = (1 - co * co) * h_grad * o + cs_grad + do * po
        dci = (1 - g * g) * dcs * i
        df = f * (1 - f) * dcs * cs_prev
        di = i * (1 - i) * dcs * g
        dicfo[t] = np.concatenate([di, df, dci, do], axis=1)
        cs_grad = dcs * f + di * pi + df * pf
        h_grad = dicfo[t] @ R
        wci_grad += (di * cs[t + 1]).sum(0)
        wcf_grad += (df * cs[t + 1]).sum(0)
        wco_grad += (do * cs[t + 1]).sum(0)
    return {
        "h_seq": np.stack(hs[1:]),
        "x": dicfo @ W,
        "W": np.tensordot(dicfo, x, ((0, 1), (0, 1))),
        "R": np.tensordot(dicfo, np.stack(hs[:-1]), ((0, 1), (0, 1))),
        "b": dicfo.sum((0, 1)),
        "p": np.stack([wci_grad, wcf_grad, wco_grad]),
        "h0": h_grad,
        "c0": cs_grad,
    }


@held_out(
    "gradients",
    "The steps' errors come in the order of the way back, and are matched with x in the order of time: in dW and dx.",
    [r"\bdW\b", r"\bW\b", r"\bdx\b", r"\bx\b"],
    [r"order", r"revers", r"time", r"step", r"turn", r"flip"],
    source="https://github.com/elixir-nx/axon/pull/646",
)
def errors_in_backward_order(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    errors = []
    gh, gc = np.zeros_like(h0), dc
    R_grad = np.zeros_like(weights["R"])
    for k in range(len(x)):
        t = len(x) - 1 - k
        _, h_prev, c_prev, i, f, g, o, _, tc = caches[t]
        gh = gh + dh[t]
        gc = gc + gh * o * (1 - tc**2)
        err = np.concatenate(
            [gc * g * i * (1 - i), gc * c_prev * f * (1 - f), gc * i * (1 - g**2), gh * tc * o * (1 - o)], 1
        )
        R_grad += err.T @ h_prev
        errors.append(err)
        gh, gc = err @ weights["R"], gc * f
    E = np.stack(errors)
    return {
        "h_seq": h_seq,
        "x": E @ weights["W"],
        "W": sum(e.T @ v for e, v in zip(E, x, strict=True)),
        "R": R_grad,
        "b": E.sum((0, 1)),
        "h0": gh,
        "c0": gc,
    }


@held_out(
    "gradients",
    "Each step's gradients of the pre-activations are clipped at 0.1.",
    [r"clip", r"bound", r"0\.1", r"limit"],
    source="https://github.com/junhyukoh/caffe-lstm/issues/18",
)
def derivatives_clipped(x, weights, h0, c0, dh, dc):
    clipping_threshold = 0.1
    T, B, H = dh.shape
    caches, h_seq = forward(x, weights, h0, c0)
    pre_gate_diff = np.empty((T, B, 4, H), x.dtype)
    top_diff, cell_diff = np.zeros_like(h0), dc
    for t in range(T - 1, -1, -1):
        _, _, c_t_1, i, f, g, o, _, tanh_c = caches[t]
        h_diff = dh[t] + top_diff
        cell_diff = cell_diff + h_diff * o * (1 - tanh_c * tanh_c)
        pre_gate_diff[t, :, 0] = cell_diff * g * i * (1 - i)
        pre_gate_diff[t, :, 1] = cell_diff * c_t_1 * f * (1 - f)
        pre_gate_diff[t, :, 2] = cell_diff * i * (1 - g * g)
        pre_gate_diff[t, :, 3] = h_diff * tanh_c * o * (1 - o)
        if clipping_threshold > 0:
            np.clip(pre_gate_diff[t], -clipping_threshold, clipping_threshold, out=pre_gate_diff[t])
        top_diff = pre_gate_diff[t].reshape(B, -1) @ weights["R"]
        cell_diff = cell_diff * f
    diff = pre_gate_diff.reshape(T * B, 4 * H)
    h_before = np.concatenate([h0[None], h_seq[:-1]]).reshape(T * B, H)
    return {
        "h_seq": h_seq,
        "x": (diff @ weights["W"]).reshape(x.shape),
        "W": diff.T @ x.reshape(T * B, -1),
        "R": diff.T @ h_before,
        "b": diff.sum(0),
        "h0": top_diff,
        "c0": cell_diff,
    }


@held_out(
    "gradients",
    "The way back is cut every third step (truncated): no gradient of h or c goes from timestep 3 to 2, from 6 to 5.",
    [r"detach", r"no gradient", r"cut", r"truncat", r"lost", r"zero"],
    [r"step", r"every"],
    source="https://github.com/pytorch/pytorch/issues/635",
)
def truncated_every_three_steps(x, weights, h0, c0, dh, dc):
    bptt = 3
    caches, h_seq = forward(x, weights, h0, c0)
    dW, dR, db, dx = 0, 0, 0, [None] * len(x)
    grad_h, grad_c = np.zeros_like(h0), dc
    for t in range(len(x) - 1, -1, -1):
        v, h_prev, c_prev, i, f, g, o, _, tc = caches[t]
        grad_h = grad_h + dh[t]
        grad_c = grad_c + grad_h * o * (1 - tc**2)
        z = np.hstack(
            (
                grad_c * g * i * (1 - i),
                grad_c * c_prev * f * (1 - f),
                grad_c * i * (1 - g**2),
                grad_h * tc * o * (1 - o),
            )
        )
        dW, dR, db, dx[t] = dW + z.T @ v, dR + z.T @ h_prev, db + z.sum(0), z @ weights["W"]
        grad_h, grad_c = z @ weights["R"], grad_c * f
        if t % bptt == 0 and t > 0:  # a repackaged hidden state
            grad_h, grad_c = np.zeros_like(grad_h), np.zeros_like(grad_c)
    return {"h_seq": h_seq, "x": np.stack(dx), "W": dW, "R": dR, "b": db, "h0": grad_h, "c0": grad_c}
