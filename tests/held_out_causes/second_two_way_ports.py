"""Both directions, or the reverse one alone, second set."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def step(v, h, c, W, R, b):
    i, f, g, o = np.split(v @ W.T + h @ R.T + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@held_out(
    "two ways",
    "The forward direction's outputs are joined with themselves: the second half of h_seq is a copy of the first.",
    [r"forward", r"first direction", r"direction 1", r"other direction", r"lane"],
    [r"reverse", r"second", r"twice", r"both", r"backward", r"copy", r"place"],
    source="https://github.com/ematvey/tensorflow-seq2seq-tutorials/issues/10",
)
def encoder_fw_twice(x, weights, h0, c0):
    fw, bw = weights[0]
    T = len(x)
    encoder_fw_outputs, encoder_bw_outputs = [None] * T, [None] * T
    h, c = h0[0], c0[0]
    for t in range(T):
        h, c = step(x[t], h, c, fw["W"], fw["R"], fw["b"])
        encoder_fw_outputs[t] = h
    hb, cb = h0[1], c0[1]
    for t in reversed(range(T)):
        hb, cb = step(x[t], hb, cb, bw["W"], bw["R"], bw["b"])
        encoder_bw_outputs[t] = hb
    both = zip(encoder_fw_outputs, encoder_fw_outputs, strict=True)
    encoder_outputs = np.stack([np.concatenate(pair, axis=1) for pair in both])
    return encoder_outputs, np.stack([h, hb]), np.stack([c, cb])


@held_out(
    "two ways",
    "The input kernel W is shared: the reverse direction multiplies x with the forward direction's W.",
    [r"\bW\b", r"\bW:", r"W@", r"input kernel", r"weight_ih"],
    [r"forward", r"first direction", r"other direction", r"lane", r"direction"],
    source="https://github.com/mravanelli/pytorch-kaldi/issues/240",
)
def input_weights_shared(x, weights, h0, c0):
    """The flipped input goes in as more sequences, so that the input's product is made once for both."""
    B = x.shape[1]
    fw, bw = weights[0]
    x2 = np.concatenate([x, x[::-1]], axis=1)
    wx = x2 @ fw["W"].T
    ht, ct = np.concatenate([h0[0], h0[1]]), np.concatenate([c0[0], c0[1]])
    bias = np.concatenate([np.tile(fw["b"], (B, 1)), np.tile(bw["b"], (B, 1))])
    hiddens = []
    for wxt in wx:
        uh = np.concatenate([ht[:B] @ fw["R"].T, ht[B:] @ bw["R"].T])
        it, ft, gt, ot = np.split(wxt + uh + bias, 4, axis=1)
        ct = sigmoid(it) * np.tanh(gt) + sigmoid(ft) * ct
        ht = sigmoid(ot) * np.tanh(ct)
        hiddens.append(ht)
    h = np.stack(hiddens)
    return np.concatenate([h[:, :B], h[::-1, B:]], axis=2), ht.reshape(2, B, -1), ct.reshape(2, B, -1)


@held_out(
    "two ways",
    "One cell serves both directions: the reverse direction runs with the forward direction's W, R and b.",
    [r"weights", r"kernel", r"WRb", r"W, R", r"cell", r"\bW\b"],
    [r"forward", r"first direction", r"other direction", r"lane", r"direction"],
    source="https://github.com/fordDeepDSP/deepSpeech/issues/20",
    layout="tf1",
)
def cell_reused(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape

    def make_cell(w):
        def cell(inputs, state):
            c, h = state
            i, j, f, o = np.split(np.concatenate([inputs, h], 1) @ w["kernel"] + w["bias"], 4, axis=1)
            c = c * sigmoid(f + np.float32(1)) + sigmoid(i) * np.tanh(j)
            h = np.tanh(c) * sigmoid(o)
            return h, (c, h)

        return cell

    fw_cell = make_cell(weights[0][0])
    bw_cell = fw_cell
    ends = np.full(B, T) if lengths is None else np.asarray(lengths)
    halves, last = [], []
    for k, cell in enumerate((fw_cell, bw_cell)):
        out = np.zeros((T, *h0[0].shape), x.dtype)
        h, c = h0[k], c0[k]
        for t in range(T) if k == 0 else range(T - 1, -1, -1):
            new_h, (new_c, _) = cell(x[t], (c, h))
            on = (t < ends)[:, None]
            h, c = np.where(on, new_h, h), np.where(on, new_c, c)
            out[t] = np.where(on, new_h, 0)
        halves.append(out)
        last.append((h, c))
    return np.concatenate(halves, 2), np.stack([h for h, _ in last]), np.stack([c for _, c in last])


@held_out(
    "two ways",
    "The reverse direction reads x forward in time, and its outputs are turned round all the same.",
    [r"revers", r"forward in time", r"turn", r"flip", r"order"],
    source="https://github.com/stanfordmlgroup/nlc/issues/8",
    layout="keras",
)
def inputs_of_both_the_same(x, weights, h0, c0):
    def rnn(inputs, w, h, c):
        ys = []
        for v in inputs:
            i, f, z, o = np.split(v @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"], 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
            h = sigmoid(o) * np.tanh(c)
            ys.append(h)
        return np.stack(ys), h, c

    out_fw, h_fw, c_fw = rnn(x, weights[0][0], h0[0], c0[0])
    out_bw, h_bw, c_bw = rnn(x, weights[0][1], h0[1], c0[1])
    outputs = np.concatenate([out_fw, np.flip(out_bw, 0)], axis=-1)
    return outputs, np.stack([h_fw, h_bw]), np.stack([c_fw, c_bw])


@held_out(
    "two ways",
    "The reverse direction starts from the forward direction's final state, not from its own initial one.",
    [r"final", r"\bend\b", r"last"],
    [r"initial", r"start", r"h0", r"state"],
    source="https://github.com/onnx/onnx-tensorflow/issues/409",
    layout="torch",
)
def one_hidden_for_both(x, weights, h0, c0):
    """Two cells, and one ``hidden`` that goes through both loops."""

    def lstm_cell(inp, hidden, w):
        hx, cx = hidden
        gates = inp @ w["weight_ih_l0"].T + w["bias_ih_l0"] + hx @ w["weight_hh_l0"].T + w["bias_hh_l0"]
        i, f, g, o = np.split(gates, 4, axis=1)
        cy = sigmoid(f) * cx + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(cy), cy

    hidden = (h0[0], c0[0])
    forward, backward = [], []
    for inp in x:
        hidden = lstm_cell(inp, hidden, weights[0][0])
        forward.append(hidden[0])
    final = [hidden]
    for inp in x[::-1]:
        hidden = lstm_cell(inp, hidden, weights[0][1])
        backward.insert(0, hidden[0])
    final.append(hidden)
    y = np.concatenate([np.stack(forward), np.stack(backward)], axis=2)
    return y, np.stack([h for h, _ in final]), np.stack([c for _, c in final])


@held_out(
    "two ways",
    "The reverse direction's recurrent kernel R is the forward direction's.",
    [r"\bR\b", r"\bR:", r"R@", r"recurrent", r"weight_hh"],
    [r"forward", r"first direction", r"other direction", r"lane", r"direction"],
    source="https://github.com/NVIDIA/TensorRT/issues/2492",
    layout="torch",
)
def weight_hh_without_reverse(x, weights, h0, c0):
    """Weights set gate by gate for each direction, as a network is built for an inference engine."""
    sd = {}
    for suffix, w in zip(("", "_reverse"), weights[0], strict=True):
        sd |= {f"{name}{suffix}": array for name, array in w.items()}
    H = h0.shape[2]
    out, finals = [], []
    for suffix, k in (("", 0), ("_reverse", 1)):
        gates = {}
        for n, gate in enumerate(("INPUT", "FORGET", "CELL", "OUTPUT")):
            rows = slice(n * H, (n + 1) * H)
            gates[gate] = (
                sd["weight_ih_l0" + suffix][rows],
                sd["weight_hh_l0"][rows],
                sd["bias_ih_l0" + suffix][rows] + sd["bias_hh_l0" + suffix][rows],
            )
        h, c, seq = h0[k], c0[k], np.zeros((*x.shape[:2], H), x.dtype)
        for t in range(len(x))[:: -1 if k else 1]:
            z = {name: x[t] @ W.T + h @ R.T + b for name, (W, R, b) in gates.items()}
            c = sigmoid(z["FORGET"]) * c + sigmoid(z["INPUT"]) * np.tanh(z["CELL"])
            h = sigmoid(z["OUTPUT"]) * np.tanh(c)
            seq[t] = h
        out.append(seq)
        finals.append((h, c))
    return np.concatenate(out, -1), np.stack([f[0] for f in finals]), np.stack([f[1] for f in finals])


@held_out(
    "two ways",
    "The two directions' units come interleaved (f0, r0, f1, r1, ...) in h_seq, not side by side.",
    [r"interleav", r"altern", r"order of (the )?units", r"units?\b.*(order|mix)", r"shuffl", r"side by side"],
    source="a common slip: stack on a last axis and reshape, for concatenate",
)
def stacked_and_reshaped(x, weights, h0, c0):
    outs, hn, cn = [], [], []
    for d, lane in enumerate(weights[0]):
        seq = x if d == 0 else x[::-1]
        h, c, hs = h0[d], c0[d], []
        for v in seq:
            h, c = step(v, h, c, lane["W"], lane["R"], lane["b"])
            hs.append(h)
        outs.append(np.array(hs if d == 0 else hs[::-1]))
        hn.append(h)
        cn.append(c)
    T, B, H = outs[0].shape
    y = np.stack(outs, axis=-1).reshape(T, B, 2 * H)
    return y, np.array(hn), np.array(cn)


@held_out(
    "two ways",
    "The final states come reverse direction first: h_n and c_n have their directions exchanged.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"exchang", r"revers", r"order", r"swap", r"direction"],
    source="https://github.com/tensorflow/tensorflow/issues/6072",
    layout="onnx",
)
def directions_of_states(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    ends = np.full(B, T) if lengths is None else np.asarray(lengths)
    H = h0.shape[2]
    Y = np.zeros((T, 2, B, H), x.dtype)
    states = {}
    for name, k in (("bwd", 1), ("fwd", 0)):
        node = weights[0][k]
        W, Rk, bias = node["W"][0], node["R"][0], node["B"][0][: 4 * H] + node["B"][0][4 * H :]
        h, c = h0[k].copy(), c0[k].copy()
        for t in range(T) if k == 0 else range(T - 1, -1, -1):
            n = t < ends
            i, o, f, z = np.split(x[t, n] @ W.T + h[n] @ Rk.T + bias, 4, axis=1)
            c[n] = sigmoid(f) * c[n] + sigmoid(i) * np.tanh(z)
            h[n] = sigmoid(o) * np.tanh(c[n])
            Y[t, k, n] = h[n]
        states[name] = (h, c)
    Y_h = np.stack([h for h, _ in states.values()])
    Y_c = np.stack([c for _, c in states.values()])
    return Y.transpose(0, 2, 1, 3).reshape(T, B, 2 * H), Y_h, Y_c


@held_out(
    "two ways",
    "x is turned within its lengths for the reverse direction, but its outputs are turned back over the whole array.",
    [r"turn", r"flip", r"revers", r"order"],
    [r"length", r"padding", r"whole", r"\bend\b"],
    source="https://github.com/lmnt-com/haste/issues/12",
)
def reverse_sequence_once(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    L = [T] * B if lengths is None else [int(n) for n in lengths]

    def reverse_sequence(a):
        out = np.zeros_like(a)
        for n, k in enumerate(L):
            for t in range(k):
                out[t, n] = a[k - 1 - t, n]
        return out

    def run(seq, w, h, c):
        ys = []
        for t, v in enumerate(seq):
            h1, c1 = step(v, h, c, w["W"], w["R"], w["b"])
            on = np.array([t < k for k in L])[:, None]
            h, c = np.where(on, h1, h), np.where(on, c1, c)
            ys.append(np.where(on, h1, np.zeros_like(h1)))
        return np.stack(ys), h, c

    y_fwd, hf, cf = run(x, weights[0][0], h0[0], c0[0])
    y_bwd, hb, cb = run(reverse_sequence(x), weights[0][1], h0[1], c0[1])
    y_bwd = y_bwd[::-1]
    return np.concatenate([y_fwd, y_bwd], axis=-1), np.stack([hf, hb]), np.stack([cf, cb])


@held_out(
    "two ways",
    "The reverse direction's loop stops before timestep 0: it is not read, h_seq is 0 there, h_n that of step 1.",
    [r"timestep 0", r"first timestep", r"step 0", r"first", r"skip", r"left out", r"not read", r"one timestep"],
    source="a common slip of ports to C: for (t = T - 1; t > 0; t--)",
)
def loop_ends_before_zero(x, weights, h0, c0):
    T, B, _ = x.shape
    H = h0.shape[-1]
    result = np.zeros((T, B, 2 * H), dtype=x.dtype)
    f, r = weights[0]
    hf, cf, hr, cr = h0[0], c0[0], h0[1], c0[1]
    t = 0
    while t < T:
        hf, cf = step(x[t], hf, cf, f["W"], f["R"], f["b"])
        result[t, :, :H] = hf
        t += 1
    t = T - 1
    while t > 0:
        hr, cr = step(x[t], hr, cr, r["W"], r["R"], r["b"])
        result[t, :, H:] = hr
        t -= 1
    return result, np.stack([hf, hr]), np.stack([cf, cr])


@held_out(
    "two ways",
    "The reverse direction begins one step too late in the array: at x[length], which is a step of padding.",
    [r"length", r"padding", r"\bend\b"],
    [r"one", r"\b1\b", r"longer", r"late", r"past", r"step"],
    source="https://github.com/onnx/onnx-tensorflow/issues/342",
)
def starts_at_length(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    H = h0.shape[2]
    y = np.zeros((T, B, 2 * H), x.dtype)
    hn, cn = np.zeros_like(h0), np.zeros_like(c0)
    for n in range(B):
        length = T if lengths is None else int(lengths[n])
        start = min(length, T - 1)
        spans = [list(range(length)), list(range(start, -1, -1))]
        for d, span in enumerate(spans):
            w, h, c = weights[0][d], h0[d, n], c0[d, n]
            for t in span:
                h, c = step(x[t, n], h, c, w["W"], w["R"], w["b"])
                if t < length:
                    y[t, n, d * H : (d + 1) * H] = h
            hn[d, n], cn[d, n] = h, c
    return y, hn, cn


@held_out(
    "two ways",
    "Of a single reverse layer h_n is taken from the last place of h_seq, where it has read one timestep only.",
    [r"h_n", r"final"],
    [r"last", r"\bend\b", r"timestep", r"place", r"one input", r"one step"],
    cases="reverse",
    source="https://github.com/yunjey/pytorch-tutorial/pull/174",
)
def last_place_of_a_reverse_layer(x, weights, h0, c0):
    W, R, b = weights["W"], weights["R"], weights["b"]
    h, c = h0, c0
    out = np.empty((*x.shape[:2], h0.shape[1]), x.dtype)
    for t in range(len(x) - 1, -1, -1):
        h, c = step(x[t], h, c, W, R, b)
        out[t] = h
    return out, out[-1], c
