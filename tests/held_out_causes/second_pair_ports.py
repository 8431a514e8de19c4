# ruff: noqa: ARG001, F841, RUF059 (code as people write it)
"""Two mistakes that occur together, second set, in all forms but the plain layer."""

from __future__ import annotations

import numpy as np
from register import held_out
from second_decoder_ports import lstm_step, softmax
from second_gradient_ports import forward
from second_stacked_ports import cell, sigmoid
from second_two_way_ports import step


@held_out(
    "stacked",
    "h_n and c_n change places, and the upper layers' initial states are the first layer's.",
    [r"h_n", r"c_n", r"final"],
    [r"initial", r"start", r"h0", r"c0"],
    source="https://github.com/microsoft/nni/issues/2839",
)
def states_of_a_stack_mixed_up(x, weights, h0, c0):
    prev_h, prev_c = [h0[0] for _ in weights], [c0[0] for _ in weights]
    outputs = []
    for inputs in x:
        next_h, next_c = [], []
        for i, m in enumerate(weights):
            curr_h, curr_c = cell(inputs, prev_h[i], prev_c[i], m[0])
            next_h.append(curr_h)
            next_c.append(curr_c)
            inputs = curr_h  # noqa: PLW2901
        prev_h, prev_c = next_h, next_c
        outputs.append(inputs)
    return np.stack(outputs), np.stack(prev_c), np.stack(prev_h)


@held_out(
    "stacked",
    "Upper layers have the lower layer's recurrent kernel R, and what goes up is scaled by 0.5 (an average of two).",
    [r"\bR\b", r"\bR:", r"R@", r"recurrent", r"weight_hh"],
    [r"0\.5", r"half", r"halv", r"scal", r"factor", r"multipl", r"/ ?2", r"divid"],
    source="a common slip: weight_hh_l0 for every layer; a merge of directions left in for one direction",
    layout="torch",
)
def one_recurrent_kernel_and_a_merge(x, weights, h0, c0):
    hh = weights[0][0]["weight_hh_l0"]
    merge = np.float32(0.5)
    y, hn, cn = x, [], []
    for k, (w,) in enumerate(weights):
        bias = w["bias_ih_l0"] + w["bias_hh_l0"]
        given = y if k == 0 else merge * y
        h, c, seq = h0[k], c0[k], []
        for v in given:
            i, f, g, o = np.split(v @ w["weight_ih_l0"].T + h @ hh.T + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            seq.append(h)
        y = np.stack(seq)
        hn.append(h)
        cn.append(c)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "two ways",
    "The reverse direction has the forward direction's bias, and its initial state is zero.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"initial", r"h0", r"c0", r"start", r"zero state", r"state"],
    source="https://github.com/mila-iqia/blocks/issues/586",
)
def children_share_arguments(x, weights, h0, c0):
    """A wrapper that hands the same keywords to its two children."""

    class Child:
        def __init__(self, W, R):
            self.W, self.R = W, R

        def apply(self, seq, states, biases):
            h, c = states
            hs = []
            for v in seq:
                h, c = step(v, h, c, self.W, self.R, biases)
                hs.append(h)
            return np.array(hs), h, c

    children = [Child(w["W"], w["R"]) for w in weights[0]]
    kwargs = {"biases": weights[0][0]["b"]}
    back = {"biases": weights[0][0]["b"]}
    zeros = np.zeros_like(h0[1])
    yf, hf, cf = children[0].apply(x, (h0[0], c0[0]), **kwargs)
    yb, hb, cb = children[1].apply(x[::-1], (zeros, zeros), **back)
    return np.concatenate([yf, yb[::-1]], -1), np.stack([hf, hb]), np.stack([cf, cb])


@held_out(
    "two ways",
    "The reverse direction's outputs are not turned back in time, and they stand before the forward direction's.",
    [r"turn", r"revers.*(back|order|time)", r"flip", r"order.*(processed|made|time)"],
    [r"before", r"first", r"exchang", r"halves", r"swap", r"side"],
    source="https://github.com/qjadud1994/CRNN-Keras/issues/26",
    layout="keras",
)
def go_backwards_in_front(x, weights, h0, c0):
    class LSTM:
        def __init__(self, w, *, go_backwards=False):
            self.w, self.go_backwards = w, go_backwards

        def __call__(self, inputs, h, c):
            n = h.shape[1]
            outputs = []
            for v in inputs[::-1] if self.go_backwards else inputs:
                z = v @ self.w["kernel"] + h @ self.w["recurrent_kernel"] + self.w["bias"]
                c = sigmoid(z[:, n : 2 * n]) * c + sigmoid(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
                h = sigmoid(z[:, 3 * n :]) * np.tanh(c)
                outputs.append(h)
            return np.stack(outputs), h, c

    lstm_1, h1, c1 = LSTM(weights[0][0])(x, h0[0], c0[0])
    lstm_1b, h1b, c1b = LSTM(weights[0][1], go_backwards=True)(x, h0[1], c0[1])
    merged = np.concatenate([lstm_1b, lstm_1], axis=-1)
    return merged, np.stack([h1, h1b]), np.stack([c1, c1b])


@held_out(
    "cell",
    "The projection goes through tanh, and TF1's forget bias of 1 is not added.",
    [r"project", r"\bP\b", r"tanh", r"\bh\b"],
    [r"forget", r"bias"],
    cases="projection and peepholes",
    source="https://github.com/PaddlePaddle/Paddle/pull/7792",
    layout="tf1",
)
def projection_activation_and_forget_bias(x, weights, h0, c0):
    proj_activation = np.tanh
    checked_cell = {g: weights[f"w_{g}_diag"] for g in "ifo"}
    r, c, rs, cs = h0, c0, [], []
    for v in x:
        i, j, f, o = np.split(np.concatenate([v, r], axis=1) @ weights["kernel"] + weights["bias"], 4, axis=1)
        i, f = sigmoid(i + checked_cell["i"] * c), sigmoid(f + checked_cell["f"] * c)
        c = f * c + i * np.tanh(j)
        o = sigmoid(o + checked_cell["o"] * c)
        r = proj_activation((o * np.tanh(c)) @ weights["projection/kernel"])
        rs.append(r)
        cs.append(c)
    return np.stack(rs), np.stack(cs)


@held_out(
    "cell",
    "The cell state is not clipped, and the forget gate has no peephole.",
    [r"clip", r"bound"],
    [r"peephole", r"\bp\b", r"\bp:"],
    cases="peepholes and clip",
    source="https://github.com/ratsgo/embedding/issues/49",
)
def no_clip_and_a_forgotten_peephole(x, weights, h0, c0):
    p_i, p_f, p_o = weights["p"]
    W, U, b = weights["W"].T, weights["R"].T, weights["b"]
    c_lim = weights["clip"]
    hidden, memory, out, mem = h0, c0, [], []
    for v in x:
        z = v @ W + hidden @ U + b
        z_in, z_forget, z_new, z_out = np.split(z, 4, axis=1)
        ingate = sigmoid(z_in + memory * p_i)
        keep = sigmoid(z_forget)
        memory = keep * memory + ingate * np.tanh(z_new)
        hidden = sigmoid(z_out + memory * p_o) * np.tanh(memory)
        out.append(hidden)
        mem.append(memory)
    return np.stack(out), np.stack(mem)


@held_out(
    "cell",
    "What is projected is o c, without the tanh of the cell state, and torch's bias_hh is not added.",
    [r"tanh", r"linear", r"identity", r"curve", r"cell-"],
    [r"bias", r"\bb\b", r"\bb:"],
    cases="projection",
    source="a common slip of a cell written again for an export, as in https://github.com/k2-fsa/icefall/pull/621",
    layout="torch",
)
def lstmp_written_again(x, weights, h0, c0):
    w_ih, w_hh, w_hr = (weights[f"weight_{name}_l0"] for name in ("ih", "hh", "hr"))
    bias = weights["bias_ih_l0"]
    prev_h, prev_c, hs, cs = h0, c0, [], []
    for v in x:
        gates = v @ w_ih.T + prev_h @ w_hh.T + bias
        ingate, forgetgate, cellgate, outgate = np.split(gates, 4, axis=1)
        prev_c = sigmoid(forgetgate) * prev_c + sigmoid(ingate) * np.tanh(cellgate)
        prev_h = sigmoid(outgate) * prev_c
        prev_h = np.matmul(prev_h, w_hr.T)
        hs.append(prev_h)
        cs.append(prev_c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "gradients",
    "The candidate's gradient has no slope (1 - g^2 is missing), and db is a mean over the batch.",
    [r"\bg\b", r"candidate"],
    [r"mean", r"average", r"divid", r"batch"],
    source="a common slip: the derivative of tanh forgotten; np.mean for np.sum",
)
def bare_candidate_and_mean_bias(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    g_of = {"W": np.zeros_like(weights["W"]), "R": np.zeros_like(weights["R"]), "b": np.zeros_like(weights["b"])}
    dx = np.zeros_like(x)
    dht, dct = np.zeros_like(h0), dc
    for t in range(len(x))[::-1]:
        v, h_prev, c_prev, i, f, g, o, _, tc = caches[t]
        dht = dht + dh[t]
        dct = dct + dht * o * (1 - tc**2)
        dzi = dct * g * i * (1 - i)
        dzf = dct * c_prev * f * (1 - f)
        dzg = dct * i
        dzo = dht * tc * o * (1 - o)
        for n, dz in enumerate((dzi, dzf, dzg, dzo)):
            rows = slice(n * dz.shape[1], (n + 1) * dz.shape[1])
            g_of["W"][rows] += np.dot(dz.T, v)
            g_of["R"][rows] += np.dot(dz.T, h_prev)
            g_of["b"][rows] += np.mean(dz, axis=0)
        dz = np.hstack([dzi, dzf, dzg, dzo])
        dx[t] = dz @ weights["W"]
        dht, dct = dz @ weights["R"], dct * f
    return {"h_seq": h_seq, **g_of, "x": dx, "h0": dht, "c0": dct}


@held_out(
    "gradients",
    "The initial states get no gradient (h0 and c0 are zero: they were detached), and dR is transposed gate by gate.",
    [r"h0", r"c0", r"initial"],
    [r"transpos"],
    source="a common slip: hidden = repackage(hidden) before the first step; h.T @ dz for dz.T @ h",
)
def detached_start_and_transposed_kernel(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    H = h0.shape[1]
    dz_all = []
    dh_next, dc_next = np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        _, _, c_prev, i, f, g, o, _, tc = caches[t]
        d = dh[t] + dh_next
        s = dc_next + d * o * (1 - tc**2)
        dz = np.stack([s * g * i * (1 - i), s * c_prev * f * (1 - f), s * i * (1 - g**2), d * tc * o * (1 - o)])
        dz_all.append(dz)
        dh_next = sum(dz[k] @ weights["R"][k * H : (k + 1) * H] for k in range(4))
        dc_next = s * f
    dz_all = np.stack(dz_all[::-1])  # (T, 4, B, H)
    prev = np.stack([cache[1] for cache in caches])
    dR = np.concatenate([sum(prev[t].T @ dz_all[t, k] for t in range(len(x))) for k in range(4)])
    dW = np.concatenate([sum(dz_all[t, k].T @ x[t] for t in range(len(x))) for k in range(4)])
    dx = sum(dz_all[:, k] @ weights["W"][k * H : (k + 1) * H] for k in range(4))
    zero = np.zeros_like(h0)
    return {"h_seq": h_seq, "x": dx, "W": dW, "R": dR, "b": dz_all.sum((0, 2)).ravel(), "h0": zero, "c0": zero}


@held_out(
    "gradients",
    "The forget gate's gradient is made with c after the step, not before it, and dx leaves out the candidate's part.",
    [r"\bf\b", r"forget"],
    [r"\bdx\b", r"\bx\b", r"dx:"],
    source="a common slip: one index for c and the step; a sum of four products of which one is lost",
)
def new_state_forgotten_and_a_term_lost(x, weights, h0, c0, dh, dc):
    caches, h_seq = forward(x, weights, h0, c0)
    Wi, Wf, _, Wo = np.split(weights["W"], 4)
    Ui, Uf, Ug, Uo = np.split(weights["R"], 4)
    C = {-1: c0} | {t: cache[7] for t, cache in enumerate(caches)}
    grads = {k: np.zeros_like(weights[k]) for k in ("W", "R", "b")}
    dx, dh_next, dC_next = np.zeros_like(x), np.zeros_like(h0), dc
    for t in reversed(range(len(x))):
        v, h_prev, _, i, f, g, o, _, tc = caches[t]
        dht = dh[t] + dh_next
        dC = dC_next + dht * o * (1 - tc**2)
        dai = dC * g * i * (1 - i)
        daf = dC * C[t] * f * (1 - f)
        dag = dC * i * (1 - g**2)
        dao = dht * tc * o * (1 - o)
        da = np.concatenate([dai, daf, dag, dao], axis=1)
        grads["W"] += da.T @ v
        grads["R"] += da.T @ h_prev
        grads["b"] += da.sum(axis=0)
        dx[t] = dai @ Wi + daf @ Wf + dao @ Wo
        dh_next = dai @ Ui + daf @ Uf + dag @ Ug + dao @ Uo
        dC_next = f * dC
    return {"h_seq": h_seq, "x": dx, **grads, "h0": dh_next, "c0": dC_next}


@held_out(
    "decoder",
    "The context is the mean over the source (divided by its number of steps), and y has no tanh.",
    [r"mean", r"average", r"divid", r"/ ?S", r"scal", r"number of"],
    [r"tanh", r"linear", r"bare", r"curve"],
    source="a common slip: np.mean for np.sum of weighted values; the activation left to a layer that is not there",
)
def mean_context_and_no_tanh(enc, weights, h0, c0, y0, steps):
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        a = softmax((enc * h).sum(axis=2), axis=0)
        context = np.mean(a[:, :, None] * enc, axis=0)
        y = np.concatenate([context, h], axis=1) @ weights["W_tilde"].T + weights["b_tilde"]
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The cell starts from c = 0 instead of c0, and the source's padding is not masked.",
    [r"\bc0\b", r"\bc\b", r"cell"],
    [r"mask", r"padding", r"length"],
    cases="decoder lengths",
    source="a common slip: the encoder hands over its h without its c; batches of one had needed no mask",
)
def zero_cell_and_no_mask(enc, weights, h0, c0, y0, steps, lengths=None):
    h, c = h0, np.zeros_like(c0)
    y, logits, ys = y0, [], []
    S, B, _ = enc.shape
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        u = np.einsum("sbe,be->bs", enc, h)
        context = (softmax(u)[:, None, :] @ enc.transpose(1, 0, 2)).reshape(B, -1)
        y = np.tanh(np.concatenate([context, h], axis=1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "W_tilde multiplies [h; context] where its columns are for [context; h], and b_tilde is left out.",
    [r"exchang", r"\[h; context\]", r"order", r"swap"],
    [r"b_tilde", r"bias"],
    cases="decoder alike",
    source="https://github.com/ZacBi/CS224n-2019-solutions/issues/1",
)
def other_order_without_bias(enc, weights, h0, c0, y0, steps):
    enc_hiddens = enc.transpose(1, 0, 2)
    dec_hidden, dec_cell, o_prev = h0, c0, y0
    combined_outputs, scores = [], []
    for _ in range(steps):
        dec_hidden, dec_cell = lstm_step(o_prev, dec_hidden, dec_cell, weights)
        e_t = np.squeeze(enc_hiddens @ np.expand_dims(dec_hidden, 2), 2)
        a_t = np.squeeze(np.expand_dims(softmax(e_t, 1), 1) @ enc_hiddens, 1)
        u_t = np.concatenate((dec_hidden, a_t), 1)
        v_t = u_t @ weights["W_tilde"].T
        o_prev = np.tanh(v_t)
        combined_outputs.append(o_prev)
        scores.append(o_prev @ weights["W_target"].T)
    return np.stack(scores), np.stack(combined_outputs)
