# ruff: noqa: ARG001, RUF059 (code as people write it)
"""Forward and back through one layer, as reported of kernels: what arrives, what is passed on, what is summed."""

from __future__ import annotations

import numpy as np
from register import held_out
from third_gradient_ports import run_forward, sigm


def gate_gradients(dh, dc, gates, c_prev, c):
    """Gradients of the pre-activations (B, 4H), and of c after all that reaches it in this step."""
    i, f, g, o = np.split(gates, 4, axis=1)
    tanh_c = np.tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    dz = [dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)]
    return np.concatenate(dz, axis=1), dc, f


def summed(x, h, dz, weights):
    return {
        "h_seq": h[1:],
        "x": dz @ weights["W"],
        "W": np.tensordot(dz, x, ([0, 1], [0, 1])),
        "R": np.tensordot(dz, h[:-1], ([0, 1], [0, 1])),
        "b": dz.sum(axis=(0, 1)),
    }


@held_out(
    "gradients",
    "The gradient that arrives at the final cell state is ignored.",
    [r"\bdc\b", r"\bc\b", r"cell state", r"c_n"],
    [r"end", r"final", r"last", r"arriv", r"ignor", r"zero", r"not used", r"outside"],
    source="deeplearning4j/deeplearning4j, issue 8838: lstmLayer_bp: not taking into account last cell state",
)
def last_cell_state_ignored(x, weights, h0, c0, dh, dc):
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    dLdz, dLdh, dLdc = np.zeros_like(gates), np.zeros_like(h0), np.zeros_like(c0)
    for t in range(len(x) - 1, -1, -1):
        dLdz[t], dLdc, f = gate_gradients(dLdh + dh[t], dLdc, gates[t], c[t], c[t + 1])
        dLdh, dLdc = dLdz[t] @ weights["R"], dLdc * f
    return {**summed(x, h, dLdz, weights), "h0": dLdh, "c0": dLdc}


@held_out(
    "gradients",
    "Of the outputs' gradients only the first timestep's arrives.",
    [r"\bdh\b", r"output", r"arriv", r"\bh\b"],
    [r"first", r"timestep 0", r"t = 0", r"only", r"step"],
    source="AlexeyAB/darknet, issue 7107: Are RNN, LSTM, Conv-lstm layer GRU layer implemented correctly?",
)
def delta_of_first_step(x, weights, h0, c0, dh, dc):
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    l_delta = np.zeros_like(dh)
    l_delta[0] = dh[0]
    dz, state_delta, cell_delta = np.zeros_like(gates), np.zeros_like(h0), dc
    for t in range(len(x) - 1, -1, -1):
        dz[t], cell_delta, f = gate_gradients(l_delta[t] + state_delta, cell_delta, gates[t], c[t], c[t + 1])
        state_delta, cell_delta = dz[t] @ weights["R"], cell_delta * f
    return {**summed(x, h, dz, weights), "h0": state_delta, "c0": cell_delta}


@held_out(
    "gradients",
    "The gradients of the pre-activations are clipped to 0.1 on the way back.",
    [r"clip", r"limit", r"bound", r"satur", r"0\.1"],
    source="junhyukoh/caffe-lstm, issue 18: 'clipping_threshold' LSTM parameter",
)
def clipping_threshold(x, weights, h0, c0, dh, dc):
    clipping_threshold_ = 0.1
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    pre_gate_diff, h_diff, c_diff = np.zeros_like(gates), np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        pre_gate_diff_t, c_diff, f = gate_gradients(dh[t] + h_diff, c_diff, gates[t], c[t], c[t + 1])
        # Clip derivatives before nonlinearity
        if clipping_threshold_ > 0:
            pre_gate_diff_t = np.clip(pre_gate_diff_t, -clipping_threshold_, clipping_threshold_)
        pre_gate_diff[t] = pre_gate_diff_t
        h_diff, c_diff = pre_gate_diff_t @ weights["R"], c_diff * f
    return {**summed(x, h, pre_gate_diff, weights), "h0": h_diff, "c0": c_diff}


@held_out(
    "gradients",
    "After every third timestep both states are detached: no gradient passes from there to the steps before.",
    [r"detach", r"truncat", r"cut", r"no gradient", r"zero", r"stop"],
    [r"third|every|3|timestep|step"],
    source="IC3Net/IC3Net, issue 7: A small question of implementation (detach_gap)",
)
def detach_gap(x, weights, h0, c0, dh, dc):
    gap = 3
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    dz, prev_hid = np.zeros_like(gates), (np.zeros_like(h0), dc)
    for t in reversed(range(len(x))):
        dz[t], d_cell, f = gate_gradients(dh[t] + prev_hid[0], prev_hid[1], gates[t], c[t], c[t + 1])
        prev_hid = dz[t] @ weights["R"], d_cell * f
        if t % gap == 0 and t > 0:
            prev_hid = tuple(np.zeros_like(d) for d in prev_hid)
    return {**summed(x, h, dz, weights), "h0": prev_hid[0], "c0": prev_hid[1]}


@held_out(
    "gradients",
    "db is twice what it should be: the gradients of the two biases of torch and ONNX are added for the one b.",
    [r"\bdb\b", r"bias", r"\bb\b", r"db:"],
    [r"twice", r"double", r"two", r"\b2\b", r"factor"],
    source="onnx/onnx, issue 1127: LSTM biases - W bias and R bias -> one bias",
)
def two_biases_one_gradient(x, weights, h0, c0, dh, dc):
    Wb, Rb = weights["b"] / 2, weights["b"] / 2
    gates, h, c = run_forward(x, weights["W"], weights["R"], Wb + Rb, h0, c0)
    dz, d_h, d_c = np.zeros_like(gates), np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        dz[t], d_c, f = gate_gradients(dh[t] + d_h, d_c, gates[t], c[t], c[t + 1])
        d_h, d_c = dz[t] @ weights["R"], d_c * f
    out = summed(x, h, dz, weights)
    dWb, dRb = out["b"], out["b"].copy()
    out["b"] = dWb + dRb
    return {**out, "h0": d_h, "c0": d_c}


@held_out(
    "gradients",
    "Going back to the cell state before, dc is not multiplied by the forget gate.",
    [r"\bf\b", r"forget"],
    [r"\bc\b", r"cell state", r"carr", r"before"],
    source="pytorch/extension-cpp, lltm_baseline.py (d_old_cell = d_new_cell: its cell forgets nothing, an LSTM does)",
)
def old_cell_is_new_cell(x, weights, h0, c0, dh, dc):
    class Function:
        saved = []  # noqa: RUF012

        @classmethod
        def forward(cls, x, weights, h, cell):
            cls.saved = run_forward(x, weights["W"], weights["R"], weights["b"], h, cell)
            return cls.saved[1][1:]

        @classmethod
        def backward(cls, grad_h, grad_cell):
            gates, h, c = cls.saved
            d_gates, d_old_h = np.empty_like(gates), 0 * h[0]
            for t in range(len(gates))[::-1]:
                d_gates[t], d_new_cell, forget = gate_gradients(
                    grad_h[t] + d_old_h, grad_cell, gates[t], c[t], c[t + 1]
                )
                d_old_h = d_gates[t] @ weights["R"]
                grad_cell = d_new_cell
            return d_gates, d_old_h, grad_cell

    Function.forward(x, weights, h0, c0)
    d_gates, d_h0, d_c0 = Function.backward(dh, dc)
    return {**summed(x, Function.saved[1], d_gates, weights), "h0": d_h0, "c0": d_c0}


@held_out(
    "gradients",
    "Rows of the weights' gradients are exchanged: the forget gate's are written to the input gate's, and reversely.",
    [r"\bi\b.*\bf\b", r"\bf\b.*\bi\b", r"forget.*input", r"input.*forget", r"f, i, g, o"],
    [r"dW|dR|db|gradient|rows|blocks|exchang|order"],
    source="ooples/AiDotNet.Tensors, pull request 907: correct LSTM forward+backward GPU kernels (f,i,g,o cache)",
)
def rows_of_another_order(x, weights, h0, c0, dh, dc):
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    dz, d_h, d_c = np.zeros_like(gates), np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        dz[t], d_c, f = gate_gradients(dh[t] + d_h, d_c, gates[t], c[t], c[t + 1])
        d_h, d_c = dz[t] @ weights["R"], d_c * f
    grads = summed(x, h, dz, weights)
    for name in ("W", "R", "b"):
        g_i, g_f, g_g, g_o = np.split(grads[name], 4)
        grads[name] = np.concatenate([g_f, g_i, g_g, g_o])
    return {**grads, "h0": d_h, "c0": d_c}


@held_out(
    "gradients",
    "Gradients that arrive at the outputs past a sequence's end (zeros there) are not masked: they go into its state.",
    [r"length", r"padding", r"past", r"end", r"mask"],
    cases="gradients lengths",
    source="keras-team/keras, issue 7878: LSTM with Masking during Backprop",
)
def padding_sends_gradients(x, weights, h0, c0, dh, dc, lengths=None):
    W, R, b = weights["W"], weights["R"], weights["b"]
    T, B, _ = x.shape
    mask = np.ones((T, B, 1), bool) if lengths is None else (np.arange(T)[:, None] < np.asarray(lengths))[..., None]
    h, c, tape, h_seq = h0, c0, [], []
    for t in range(T):
        i, f, g, o = np.split(x[t] @ W.T + h @ R.T + b, 4, axis=1)
        gates = np.concatenate([sigm(i), sigm(f), np.tanh(g), sigm(o)], axis=1)
        i, f, g, o = np.split(gates, 4, axis=1)
        c1 = f * c + i * g
        tape.append((gates, h, c, c1))
        h, c = np.where(mask[t], o * np.tanh(c1), h), np.where(mask[t], c1, c)
        h_seq.append(np.where(mask[t], h, 0))
    dz, d_h, d_c = np.zeros((T, B, len(b)), x.dtype), np.zeros_like(h0), dc
    for t in range(T)[::-1]:
        gates, _, c_prev, c1 = tape[t]
        total = d_h + dh[t]
        dz_t, dc_t, f = gate_gradients(total, d_c, gates, c_prev, c1)
        dz[t] = np.where(mask[t], dz_t, 0)
        d_h, d_c = np.where(mask[t], dz_t @ R, total), np.where(mask[t], dc_t * f, d_c)
    h_prev = np.stack([before for _, before, _, _ in tape] + [h])
    return {**summed(x, h_prev, dz, weights), "h_seq": np.stack(h_seq), "h0": d_h, "c0": d_c}


@held_out(
    "gradients",
    "Through the peepholes of i and f no gradient goes back into c; through that of o it does.",
    [r"peephole", r"\bpeep", r"\bp\b"],
    cases="gradients with peepholes",
    source="tensorflow/tensorflow, issue 34171: Bug in LSTMBlockCellBpropWithCUDA when using peephole connections",
)
def cs_prev_grad(x, weights, h0, c0, dh, dc):
    W, R, b, (wci, wcf, wco) = weights["W"], weights["R"], weights["b"], weights["p"]
    h, cs, saved = [h0], [c0], []
    for x_t in x:
        zi, zf, zg, zo = np.split(x_t @ W.T + h[-1] @ R.T + b, 4, axis=1)
        i, f, ci = sigm(zi + wci * cs[-1]), sigm(zf + wcf * cs[-1]), np.tanh(zg)
        cs.append(f * cs[-1] + i * ci)
        o = sigm(zo + wco * cs[-1])
        h.append(o * np.tanh(cs[-1]))
        saved.append((i, f, ci, o))
    T = len(x)
    dz, h_grad, cs_grad, dp = [None] * T, np.zeros_like(h0), dc, np.zeros_like(weights["p"])
    for t in range(T - 1, -1, -1):
        i, f, ci, o = saved[t]
        h_grad = h_grad + dh[t]
        co = np.tanh(cs[t + 1])
        do = o * (1 - o) * h_grad * co
        dcs = (1 - co * co) * h_grad * o + cs_grad + do * wco
        dci = (1 - ci * ci) * dcs * i
        df = f * (1 - f) * dcs * cs[t]
        di = i * (1 - i) * dcs * ci
        cs_grad = dcs * f
        dp += np.stack([(di * cs[t]).sum(0), (df * cs[t]).sum(0), (do * cs[t + 1]).sum(0)])
        dz[t] = np.concatenate([di, df, dci, do], axis=1)
        h_grad = dz[t] @ R
    return {**summed(x, np.stack(h), np.stack(dz), weights), "p": dp, "h0": h_grad, "c0": cs_grad}


@held_out(
    "gradients",
    "The gradient at the final cell state is ignored, and db is twice what it should be.",
    [r"\bdc\b", r"\bc\b", r"cell state", r"c_n"],
    [r"\bdb\b", r"bias", r"\bb\b", r"db:"],
    source="PaddlePaddle/Paddle, issue 6970 (gradients of the output cell states), with pytorch/pytorch, issue 36905",
)
def cell_output_and_bias(x, weights, h0, c0, dh, dc):
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    b_grad, h_grad, c_grad = np.zeros_like(weights["b"]), np.zeros_like(h0), 0 * dc
    batch_gate_g = np.empty_like(gates)
    for n in reversed(range(len(x))):
        batch_gate_g[n], c_grad, f = gate_gradients(h_grad + dh[n], c_grad, gates[n], c[n], c[n + 1])
        h_grad, c_grad = batch_gate_g[n] @ weights["R"], c_grad * f
        b_grad += batch_gate_g[n].sum(0)
        b_grad += batch_gate_g[n].sum(0)
    return {**summed(x, h, batch_gate_g, weights), "b": b_grad, "h0": h_grad, "c0": c_grad}


@held_out(
    "gradients",
    "The gradient of h0 is returned as zeros, and the candidate's slope is 1 - g instead of 1 - g^2.",
    [r"\bh0\b", r"dh0", r"initial"],
    [r"\bg\b", r"candidate", r"tanh"],
    source="a common slip, both",
)
def linear_slope_no_h0(x, weights, h0, c0, dh, dc):
    W, R = weights["W"], weights["R"]
    gates, h, c = run_forward(x, W, R, weights["b"], h0, c0)
    T, d_h0 = len(x), np.zeros_like(h0)
    dz, dht, dct = np.empty_like(gates), np.zeros_like(h0), dc
    for t in reversed(range(T)):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        dht = dht + dh[t]
        dct = dct + dht * o * (1 - np.tanh(c[t + 1]) ** 2)
        dg = dct * i * (1 - g)
        dz[t] = np.hstack(
            [dct * g * i * (1 - i), dct * c[t] * f * (1 - f), dg, dht * np.tanh(c[t + 1]) * o * (1 - o)],
        )
        dht, dct = dz[t] @ R, dct * f
    return {**summed(x, h, dz, weights), "h0": d_h0, "c0": dct}


@held_out(
    "gradients",
    "Going back, dc is not multiplied by the forget gate, and the gradient of R lacks the first timestep's part.",
    [r"\bf\b", r"forget"],
    [r"\bdR\b", r"\bR\b", r"recurrent", r"Rh"],
    source="pytorch/extension-cpp, lltm_baseline.py (d_old_cell = d_new_cell), with a common slip",
)
def carousel_without_gate(x, weights, h0, c0, dh, dc):
    gates, h, c = run_forward(x, weights["W"], weights["R"], weights["b"], h0, c0)
    delta, e_h, e_c = np.empty_like(gates), np.zeros_like(h0), dc
    for t in range(len(x))[::-1]:
        delta[t], s_c, forget = gate_gradients(dh[t] + e_h, e_c, gates[t], c[t], c[t + 1])
        e_h, e_c = delta[t] @ weights["R"], s_c
    grads = summed(x, h, delta, weights)
    grads["R"] = sum(delta[t].T @ h[t] for t in range(1, len(x)))
    return {**grads, "h0": e_h, "c0": e_c}
