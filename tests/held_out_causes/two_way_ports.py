"""Both directions, or the reverse one alone, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def lstm(x, w, h, c, lengths=None):
    """One direction over x (T, B, I), right in itself."""
    hs = []
    for t, xt in enumerate(x):
        i, f, g, o = np.split(xt @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
        c1 = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h1 = sigmoid(o) * np.tanh(c1)
        ok = np.ones((len(h), 1), bool) if lengths is None else (t < np.asarray(lengths))[:, None]
        h, c = np.where(ok, h1, h), np.where(ok, c1, c)
        hs.append(np.where(ok, h1, 0))
    return np.stack(hs), h, c


def reverse_sequence(a, lengths=None):
    if lengths is None:
        return a[::-1]
    out = a.copy()
    for n, k in enumerate(lengths):
        out[:k, n] = a[:k, n][::-1]
    return out


def joined(fw, bw, h, hb, c, cb):
    return np.concatenate([fw, bw], axis=2), np.stack([h, hb]), np.stack([c, cb])


@held_out(
    "two ways",
    "The reverse direction's outputs are not turned back: they come in the order in which they were made.",
    [r"turn", r"revers.*(back|output|order|time)", r"order.*(processed|made|time)", r"flip"],
    source="https://github.com/keras-team/keras/issues/1431",
)
def go_backwards(x, weights, h0, c0):
    forward, backward = weights[0]
    y_f, hf, cf = lstm(x, forward, h0[0], c0[0])
    y_b, hb, cb = lstm(x[::-1], backward, h0[1], c0[1])
    return joined(y_f, y_b, hf, hb, cf, cb)


@held_out(
    "two ways",
    "The reverse direction's outputs are flipped over the batch instead of over time.",
    [r"batch", r"sequences"],
    [r"turn", r"time", r"order", r"flip", r"revers"],
    source="https://github.com/tensorflow/tensorflow/issues/39635",
)
def flipped_axis_one(x, weights, h0, c0):
    y, hf, cf = lstm(x, weights[0][0], h0[0], c0[0])
    y_rev, hb, cb = lstm(np.flip(x, 0), weights[0][1], h0[1], c0[1])
    y_rev = np.flip(y_rev, axis=1)
    return np.concatenate([y, y_rev], -1), np.stack([hf, hb]), np.stack([cf, cb])


@held_out(
    "two ways",
    "The reverse direction turns the whole padded sequence, so that the padding comes first.",
    [r"whole", r"padding", r"within.*length", r"length.*within"],
    source="https://github.com/tensorflow/tensor2tensor/pull/859",
)
def padding_first(x, weights, h0, c0, lengths=None):
    fw, h, c = lstm(x, weights[0][0], h0[0], c0[0], lengths)
    bw, hb, cb = lstm(x[::-1], weights[0][1], h0[1], c0[1], lengths)
    bw = bw[::-1]
    return joined(fw, bw, h, hb, c, cb)


@held_out(
    "two ways",
    "Both directions start from the forward direction's initial state.",
    [r"(initial|start|h0|c0).*(forward|first|other|lane|direction)", r"(forward|first).*(initial|start|h0|c0)"],
    source="https://github.com/onnx/onnx-tensorflow/issues/409",
)
def same_initial_state(x, weights, h0, c0, lengths=None):
    initial = (h0[0], c0[0])
    fw, h, c = lstm(x, weights[0][0], *initial, lengths)
    bw, hb, cb = lstm(reverse_sequence(x, lengths), weights[0][1], *initial, lengths)
    return joined(fw, reverse_sequence(bw, lengths), h, hb, c, cb)


@held_out(
    "two ways",
    "In the reverse direction the forget gate's bias lacks 1.",
    [r"bias", r"\bb\b", r"forget"],
    [r"revers", r"0r"],
    source="https://github.com/google-research/flood-forecasting/pull/289",
)
def forget_bias_forward_only(x, weights, h0, c0):
    sides = []
    for direction, w in enumerate(weights[0]):
        b = w["b"].copy()
        H = len(b) // 4
        b[H : 2 * H] -= 1  # the library's own, which is stored in b here
        if direction == 0:
            b[H : 2 * H] += 1
        sides.append(dict(w, b=b))
    fw, h, c = lstm(x, sides[0], h0[0], c0[0])
    bw, hb, cb = lstm(x[::-1], sides[1], h0[1], c0[1])
    return joined(fw, bw[::-1], h, hb, c, cb)


@held_out(
    "two ways",
    "The reverse direction's final h is taken at the last timestep, where it has seen one input only.",
    [r"h_n", r"final"],
    source="https://github.com/yunjey/pytorch-tutorial/pull/174",
)
def last_of_both(x, weights, h0, c0):
    out_f, _, c = lstm(x, weights[0][0], h0[0], c0[0])
    out_b, _, cb = lstm(x[::-1], weights[0][1], h0[1], c0[1])
    out = np.concatenate([out_f, out_b[::-1]], axis=2)
    H = out_f.shape[2]
    return out, np.stack([out[-1, :, :H], out[-1, :, H:]]), np.stack([c, cb])


@held_out(
    "two ways",
    "The second direction is not reversed: both run forward in time.",
    [r"forward", r"not (turned|revers)", r"turn"],
    source="https://github.com/ContextScout/gcn_ner/issues/10",
)
def never_reversed(x, weights, h0, c0, lengths=None):
    enc_fw, h, c = lstm(x, weights[0][0], h0[0], c0[0], lengths)
    enc_bw, hb, cb = lstm(x, weights[0][1], h0[1], c0[1], lengths)
    return joined(enc_fw, enc_bw, h, hb, c, cb)


@held_out(
    "two ways",
    "The reverse direction's outputs come before the forward direction's.",
    [r"exchang", r"(reverse|order|first|before).*(forward|concat|join|output)", r"join"],
    source="https://github.com/sbillburg/CRNN-with-STN/issues/12",
)
def concatenated_the_other_way(x, weights, h0, c0, lengths=None):
    rnn_1, h, c = lstm(x, weights[0][0], h0[0], c0[0], lengths)
    rnn_1b, hb, cb = lstm(reverse_sequence(x, lengths), weights[0][1], h0[1], c0[1], lengths)
    rnn_1b = reverse_sequence(rnn_1b, lengths)
    return np.concatenate([rnn_1b, rnn_1], axis=2), np.stack([h, hb]), np.stack([c, cb])


@held_out(
    "two ways",
    "Of a single reverse layer the outputs are not turned back in time.",
    [r"turn", r"revers.*(back|output|order|time)", r"order.*(processed|made|time)", r"flip"],
    cases="reverse",
    source="https://github.com/PINTO0309/onnx2tf/pull/287",
)
def reverse_alone(x, weights, h0, c0):
    Y, _, Y_c = lstm(x[::-1], weights, h0, c0)
    return Y, Y_c


@held_out(
    "two ways",
    "The reverse direction's gates are read as i, o, f, g.",
    [r"i, o, f, g", r"iofg", r"order of (its|the) gates"],
    [r"revers", r"0r"],
    source="https://github.com/PINTO0309/onnx2tf/pull/286",
)
def reverse_order_of_gates(x, weights, h0, c0, lengths=None):
    fw, h, c = lstm(x, weights[0][0], h0[0], c0[0], lengths)
    w = weights[0][1]
    turned = {}
    for name in ("W", "R", "b"):
        i, o, f, g = np.split(w[name], 4)
        turned[name] = np.concatenate([i, f, g, o])
    bw, hb, cb = lstm(reverse_sequence(x, lengths), turned, h0[1], c0[1], lengths)
    return joined(fw, reverse_sequence(bw, lengths), h, hb, c, cb)
