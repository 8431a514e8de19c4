"""Attention decoders, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(a, axis=-1):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def cell(y, h, c, w):
    i, f, g, o = np.split(y @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def masked(scores, lengths):
    """Scores (B, S) with minus infinity past the sources' ends."""
    if lengths is None:
        return scores
    return np.where(np.arange(scores.shape[1])[None] < np.asarray(lengths)[:, None], scores, -np.inf)


def attend(h, enc, w, lengths=None):
    """The context (B, E), rightly."""
    query = h @ w["W_a"].T if "W_a" in w else h
    a = softmax(masked(np.einsum("sbe,be->bs", enc, query), lengths))
    return np.einsum("bs,sbe->be", a, enc)


def combine(context, h, w):
    return np.tanh(np.concatenate([context, h], axis=1) @ w["W_tilde"].T + w["b_tilde"])


@held_out(
    "decoder",
    "The softmax goes over the batch instead of over the source.",
    [r"softmax"],
    [r"batch", r"sequences"],
    source="https://github.com/PetrochukM/PyTorch-NLP/issues/2",
)
def softmax_dim_zero(enc, weights, h0, c0, y0, steps):
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        scores = np.einsum("sbe,be->bs", enc, h)
        context = np.einsum("bs,sbe->be", softmax(scores, axis=0), enc)
        y = combine(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Padding of the source is not masked.",
    [r"mask", r"padding", r"length"],
    cases="decoder lengths",
    source="https://github.com/tensorflow/tensorflow/issues/512",
)
def no_masking(enc, weights, h0, c0, y0, steps, lengths=None):  # noqa: ARG001
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        y = combine(attend(h, enc, weights), h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The mask comes after the softmax, and the weights that are left are not made to sum to one.",
    [r"mask", r"padding"],
    [r"after", r"sum", r"normal"],
    cases="decoder lengths",
    source="https://github.com/abisee/pointer-generator/issues/88",
)
def mask_after_softmax(enc, weights, h0, c0, y0, steps, lengths=None):
    enc_padding_mask = np.ones(enc.shape[:2]).T
    if lengths is not None:
        enc_padding_mask = (np.arange(len(enc))[None] < np.asarray(lengths)[:, None]).astype(enc.dtype)
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        e = (enc * h[None]).sum(-1).T
        attn_dist = softmax(e) * enc_padding_mask
        context = (attn_dist.T[:, :, None] * enc).sum(0)
        y = combine(context, h, weights).astype(enc.dtype)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The context is fed back as the next input, not y = tanh(W_tilde [context; h]).",
    [r"context"],
    [r"fed", r"feed", r"input", r"next", r"back"],
    cases="decoder alike",
    source="https://github.com/spro/practical-pytorch/issues/33",
)
def last_context_fed(enc, weights, h0, c0, y0, steps):
    h, c, last_context, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(last_context, h, c, weights)
        last_context = attend(h, enc, weights)
        y = combine(last_context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Attention is asked with the state before the step, not the one after it.",
    [r"previous", r"before", r"h_in", r"h\[t ?[-\N{MINUS SIGN}] ?1\]", r"first.*attend", r"attend.*first"],
    source="https://github.com/A-Jacobson/minimal-nmt/issues/2",
)
def attention_before_cell(enc, weights, h0, c0, y0, steps):
    decoder_hidden, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        context = attend(decoder_hidden, enc, weights)
        decoder_hidden, c = cell(y, decoder_hidden, c, weights)
        y = combine(context, decoder_hidden, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Attention is asked with the cell state (the second of the pair) instead of h.",
    [r"\bc\b", r"cell state", r"query:c", r"from-cell"],
    source="https://github.com/gabrielloye/Attention_Seq2seq-Translation/issues/3",
)
def wrong_of_the_pair(enc, weights, h0, c0, y0, steps, lengths=None):
    hidden, y, logits, ys = (h0, c0), y0, [], []
    for _ in range(steps):
        hidden = cell(y, *hidden, weights)
        context = attend(hidden[1], enc, weights, lengths)
        y = combine(context, hidden[0], weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Padding is masked by a score of 0, which the softmax does not ignore (exp(0) is 1).",
    [r"mask", r"padding"],
    [r"zero", r"\b0\b", r"score"],
    cases="decoder lengths",
    source="https://github.com/tensorflow/tensorflow/issues/43941",
)
def scores_multiplied_by_mask(enc, weights, h0, c0, y0, steps, lengths=None):
    S, B, _ = enc.shape
    mask = np.ones((B, S), enc.dtype)
    if lengths is not None:
        for n, k in enumerate(lengths):
            mask[n, k:] = 0
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        attention = softmax(np.matmul(enc.transpose(1, 0, 2), h[:, :, None])[..., 0] * mask)
        context = np.matmul(attention[:, None], enc.transpose(1, 0, 2))[:, 0]
        y = combine(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Scores are divided by the square root of the width.",
    [r"sqrt", r"root", r"scaled", r"divid", r"\N{SQUARE ROOT}"],
    source="https://github.com/Graylab/DL4Proteins-notebooks/issues/12",
)
def scaled_scores(enc, weights, h0, c0, y0, steps, lengths=None):
    h, c, y, logits, ys = h0, c0, y0, [], []
    C = h0.shape[-1]
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        wei = np.einsum("sbe,be->bs", enc, h) * enc.dtype.type(C**-0.5)
        context = np.einsum("bs,sbe->be", softmax(masked(wei, lengths)), enc)
        y = combine(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "W_a is transposed where its two sizes are equal (its shape is taken to be (H, E)).",
    [r"W_a"],
    [r"transpos"],
    cases="decoder general",
    source="https://github.com/rohitg00/ai-engineering-from-scratch/pull/48",
)
def shape_of_formula(enc, weights, h0, c0, y0, steps):
    W_a = weights["W_a"]
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        keys = h @ W_a if W_a.shape[0] == h.shape[1] else h @ W_a.T
        context = np.einsum("bs,sbe->be", softmax(np.einsum("sbe,be->bs", enc, keys)), enc)
        y = combine(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The bias b_tilde is missing.",
    [r"b_tilde", r"bias"],
    source="https://github.com/OpenNMT/OpenNMT-py/pull/110",
)
def no_bias(enc, weights, h0, c0, y0, steps, lengths=None):
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        context = attend(h, enc, weights, lengths)
        y = np.tanh(np.concatenate([context, h], 1) @ weights["W_tilde"].T)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "y is not put through tanh.",
    [r"tanh", r"linear", r"bare", r"curve"],
    source="https://github.com/spro/practical-pytorch/issues/33",
)
def linear_combination(enc, weights, h0, c0, y0, steps):
    h, c, y, logits, ys = h0, c0, y0, [], []
    E = enc.shape[2]
    W_c, W_h = weights["W_tilde"][:, :E], weights["W_tilde"][:, E:]
    for _ in range(steps):
        h, c = cell(y, h, c, weights)
        y = attend(h, enc, weights) @ W_c.T + h @ W_h.T + weights["b_tilde"]
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "W_tilde multiplies [h; context] where its columns are for [context; h].",
    [r"exchang", r"\[h; context\]", r"order"],
    cases="decoder alike",
    source="https://github.com/gabrielloye/Attention_Seq2seq-Translation/issues/3",
)
def state_first(enc, weights, h0, c0, y0, steps):
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        lstm_out, c = cell(y, h, c, weights)
        h = lstm_out
        output = np.concatenate((lstm_out, attend(h, enc, weights)), -1)
        y = np.tanh(output @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The first input is zeros instead of y0.",
    [r"y0", r"first", r"initial"],
    [r"zero", r"\b0\b"],
    source="https://github.com/OpenNMT/OpenNMT-py/issues/2121",
)
def zero_input_feed(enc, weights, h0, c0, y0, steps, lengths=None):
    h, c, logits, ys = h0, c0, [], []
    input_feed = np.zeros_like(y0)
    for _ in range(steps):
        h, c = cell(input_feed, h, c, weights)
        input_feed = combine(attend(h, enc, weights, lengths), h, weights)
        ys.append(input_feed)
        logits.append(input_feed @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Padding is not masked, and attention is asked with the state before the step.",
    [r"mask", r"padding", r"length"],
    [r"previous", r"before", r"h_in", r"h\[t ?[-\N{MINUS SIGN}] ?1\]"],
    cases="decoder lengths",
    source="https://github.com/mkolod/mxnet_seq2seq/pull/4",
)
def unmasked_and_early(enc, weights, h0, c0, y0, steps, lengths=None):  # noqa: ARG001
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        context = attend(h, enc, weights)
        h, c = cell(y, h, c, weights)
        y = combine(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)
