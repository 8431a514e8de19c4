# ruff: noqa: RUF059 (code as people write it)
"""Attention decoders, second set."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(a, axis=-1):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def lstm_step(y, h, c, w):
    i, f, g, o = np.split(y @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@held_out(
    "decoder",
    "The decoder's own h is fed back as the next input, not y = tanh(W_tilde [context; h] + b_tilde).",
    [r"\bh\b", r"state"],
    [r"fed", r"feed", r"input", r"next", r"back"],
    cases="decoder alike",
    source="https://github.com/clab/dynet/issues/189",
)
def state_put_in_again(enc, weights, h0, c0, y0, steps):
    inputmat = enc.transpose(1, 2, 0)  # (B, E, S)
    h, c, vector = h0, c0, y0
    probs, attended = [], []
    for _ in range(steps):
        h, c = lstm_step(vector, h, c, weights)
        att = softmax((h[:, None] @ inputmat)[:, 0])
        ctx = (inputmat @ att[:, :, None])[..., 0]
        out = np.tanh(np.hstack([ctx, h]) @ weights["W_tilde"].T + weights["b_tilde"])
        vector = h
        attended.append(out)
        probs.append(out @ weights["W_target"].T)
    return np.array(probs), np.array(attended)


@held_out(
    "decoder",
    "Every step asks the source with the initial state h0: the attention's query is never updated.",
    [r"h0", r"initial", r"first step", r"same query", r"every step", r"not updated"],
    [r"query", r"attention", r"attend", r"score", r"context", r"\bask"],
    source="https://github.com/facebookresearch/ParlAI/pull/2135",
)
def query_never_updated(enc, weights, h0, c0, y0, steps, lengths=None):
    attn_state = h0
    hidden = (h0, c0)
    out, logits, y = [], [], y0
    S, B, _ = enc.shape
    attn_mask = np.ones((B, S), bool) if lengths is None else np.arange(S)[None] < np.asarray(lengths)[:, None]
    for _ in range(steps):
        hidden = lstm_step(y, *hidden, weights)
        attn_w_premask = np.einsum("bh,sbh->bs", attn_state, enc)
        attn_w_premask = np.where(attn_mask, attn_w_premask, np.finfo(enc.dtype).min)
        attn_applied = np.einsum("bs,sbh->bh", softmax(attn_w_premask), enc)
        y = np.tanh(np.concatenate((attn_applied, hidden[0]), 1) @ weights["W_tilde"].T + weights["b_tilde"])
        out.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(out)


@held_out(
    "decoder",
    "The softmax is taken over an axis of size one, so every weight is 1: the context is the plain sum of the source.",
    [r"softmax", r"weights?\b.*\b1\b", r"\bsum\b", r"all ones", r"equal"],
    [r"axis", r"\bones?\b", r"\b1\b", r"\bsum\b", r"uniform", r"all"],
    source="https://github.com/localminimum/R-net/issues/8",
)
def softmax_after_expand_dims(enc, weights, h0, c0, y0, steps):
    inputs = enc.swapaxes(0, 1)
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        p1_logits = (inputs * h[:, None]).sum(axis=-1)
        scores = np.expand_dims(p1_logits, -1)
        scores = softmax(scores)
        attention_pool = (scores * inputs).sum(axis=1)
        y = np.tanh(np.concatenate([attention_pool, h], 1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "There is no softmax: the scores themselves weigh the source.",
    [r"softmax", r"scores? (them|as)", r"raw score", r"normal"],
    source="https://github.com/PaddlePaddle/PaddleOCR/pull/4556",
)
def scores_as_weights(enc, weights, h0, c0, y0, steps):
    h, c, y = h0, c0, y0
    W_ctx, W_h = np.hsplit(weights["W_tilde"], [enc.shape[2]])
    logits, ys = [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        alpha = np.sum(enc * h[None], axis=2)
        context = np.sum(alpha[..., None] * enc, axis=0)
        y = np.tanh(context @ W_ctx.T + h @ W_h.T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "Every step of the cell starts from h0 and c0: the state of the step before is not handed on.",
    [r"state", r"h0", r"\bh\b.*\bc\b", r"initial"],
    [r"carr", r"every step", r"each step", r"handed", r"pass", r"reset", r"start", r"not updated"],
    source="https://github.com/tensorflow/tensorflow/issues/38248",
    layout="keras",
)
def cell_without_initial_state(enc, weights, h0, c0, y0, steps):
    units = h0.shape[1]

    def lstm(inputs, initial_state):
        h, c = initial_state
        z = inputs @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
        c = sigmoid(z[:, units : 2 * units]) * c + sigmoid(z[:, :units]) * np.tanh(z[:, 2 * units : 3 * units])
        return sigmoid(z[:, 3 * units :]) * np.tanh(c), c

    enc_output = np.moveaxis(enc, 1, 0)
    dec_input, preds, attn = y0, [], []
    state = (h0, c0)
    for _ in range(steps):
        output, cell = lstm(dec_input, state)
        score = np.einsum("bsh,bh->bs", enc_output, output)
        context_vector = np.einsum("bs,bsh->bh", softmax(score), enc_output)
        dec_input = np.tanh(np.concatenate([context_vector, output], -1) @ weights["W_tilde"].T + weights["b_tilde"])
        attn.append(dec_input)
        preds.append(dec_input @ weights["W_target"].T)
    return np.stack(preds), np.stack(attn)


@held_out(
    "decoder",
    "The context is the weighted sum of the projected keys (W_a^T enc), not of the source itself.",
    [r"W_a", r"key", r"project"],
    [r"context", r"value", r"sum", r"source", r"enc"],
    cases="decoder general square",
    source="https://github.com/microsoft/CNTK/issues/2083",
)
def context_of_projected_keys(enc, weights, h0, c0, y0, steps):
    h_enc_proj = enc @ weights["W_a"]
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        u = np.sum(h_enc_proj * h, axis=-1)
        attention_weights = softmax(u, axis=0)
        h_att = np.sum(h_enc_proj * attention_weights[:, :, None], axis=0)
        y = np.tanh(np.concatenate([h_att, h], axis=-1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The logits are W_target h, made of the cell's output, not of y.",
    [r"logit", r"W_target"],
    [r"\bh\b", r"state", r"cell"],
    cases="decoder alike",
    source="https://github.com/tensorflow/tensorflow/issues/640",
)
def projected_before_attention(enc, weights, h0, c0, y0, steps):
    state, attns = (c0, h0), y0
    outputs, hidden = [], []
    for _ in range(steps):
        cell_output, c = lstm_step(attns, state[1], state[0], weights)
        state = (c, cell_output)
        a = softmax(np.einsum("sbe,be->sb", enc, cell_output), axis=0)
        ds = np.einsum("sb,sbe->be", a, enc)
        attns = np.tanh(np.concatenate([ds, cell_output], 1) @ weights["W_tilde"].T + weights["b_tilde"])
        outputs.append(cell_output @ weights["W_target"].T)
        hidden.append(attns)
    return np.stack(outputs), np.stack(hidden)


@held_out(
    "decoder",
    "The logits come as log-probabilities: a log-softmax has been applied to them.",
    [r"logit", r"output"],
    [r"\blog\b", r"log[-_ ](softmax|prob|sum)", r"softmax", r"probab", r"normal"],
    cases="decoder two outputs",
    source="https://github.com/spro/practical-pytorch/issues/90",
)
def log_softmax_in_the_decoder(enc, weights, h0, c0, y0, steps):
    decoder_hidden, cell_state, y = h0, c0, y0
    all_decoder_outputs, ys = [], []
    for _ in range(steps):
        decoder_hidden, cell_state = lstm_step(y, decoder_hidden, cell_state, weights)
        attn_energies = np.matmul(enc.transpose(1, 0, 2), decoder_hidden[..., None]).squeeze(-1)
        context = np.matmul(softmax(attn_energies)[:, None], enc.transpose(1, 0, 2)).squeeze(1)
        y = np.tanh(np.concatenate((context, decoder_hidden), 1) @ weights["W_tilde"].T + weights["b_tilde"])
        output = y @ weights["W_target"].T
        output = output - np.log(np.sum(np.exp(output), axis=1, keepdims=True))
        all_decoder_outputs.append(output)
        ys.append(y)
    return np.stack(all_decoder_outputs), np.stack(ys)


@held_out(
    "decoder",
    "The encoder's outputs (S, B, E) are reshaped to (B, S, E), not transposed: source steps and sequences are mixed.",
    [r"reshap", r"transpos", r"mix", r"batch", r"sequences"],
    [r"enc", r"source", r"keys", r"\bS\b"],
    source="https://github.com/649453932/Chinese-Text-Classification-Pytorch/issues/10",
)
def viewed_for_transposed(enc, weights, h0, c0, y0, steps):
    S, B, E = enc.shape
    encoder_outputs = enc.reshape(B, S, E)
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        attn_weights = softmax(np.stack([encoder_outputs[n] @ h[n] for n in range(B)]))
        context = np.stack([attn_weights[n] @ encoder_outputs[n] for n in range(B)])
        y = np.tanh(np.concatenate([context, h], axis=1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The mask is inverted: valid source steps are masked, and the padding is attended to.",
    [r"mask", r"padding", r"length", r"past"],
    [r"invert", r"opposite", r"revers", r"exchang", r"attend", r"only", r"valid"],
    cases="decoder lengths",
    source="https://github.com/keras-team/keras-io/pull/1046",
)
def mask_inverted(enc, weights, h0, c0, y0, steps, lengths=None):
    S, B, _ = enc.shape
    pad = np.zeros((S, B), bool)
    if lengths is not None:
        pad = np.arange(S)[:, None] >= np.asarray(lengths)[None, :]
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        score = np.einsum("sbe,be->sb", enc, h)
        score = np.where(~pad, np.float32(-1e9), score)
        attention = softmax(score, axis=0).astype(enc.dtype)
        context = (attention[:, :, None] * enc).sum(axis=0)
        y = np.tanh(np.hstack([context, h]) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The mask lets one source step too many through (s <= length).",
    [r"mask", r"padding", r"length"],
    [r"\bone\b", r"\b1\b", r"longer", r"too many", r"<=", r"late"],
    cases="decoder lengths",
    source="a common slip: an index compared with <= against a length",
)
def mask_one_too_long(enc, weights, h0, c0, y0, steps, lengths=None):
    S, B, E = enc.shape
    h, c, y = h0, c0, y0
    logits, ys = [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        context = np.zeros((B, E), enc.dtype)
        for n in range(B):
            last = S if lengths is None else int(lengths[n])
            valid = [s for s in range(S) if s <= last]
            a = softmax(np.array([enc[s, n] @ h[n] for s in valid]))
            for weight, s in zip(a, valid, strict=True):
                context[n] += weight * enc[s, n]
        y = np.tanh(np.concatenate([context, h], 1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The first input y0 is put in at every step: what was computed is never fed back.",
    [r"y0", r"first input", r"initial", r"same input"],
    [r"every step", r"each step", r"fed", r"feed", r"never", r"always", r"not updated", r"not carried"],
    source="https://github.com/mkolod/mxnet_seq2seq/pull/4",
)
def input_never_fed_back(enc, weights, h0, c0, y0, steps):
    attention_state = y0
    states = {"h": h0, "c": c0}
    outputs, attended = [], []
    for _ in range(steps):
        states["h"], states["c"] = lstm_step(attention_state, states["h"], states["c"], weights)
        weight = softmax(np.einsum("sbe,be->bs", enc, states["h"]))
        ctx = np.einsum("sbe,bs->be", enc, weight)
        new_state = np.tanh(np.concatenate([ctx, states["h"]], 1) @ weights["W_tilde"].T + weights["b_tilde"])
        attended.append(new_state)
        outputs.append(new_state @ weights["W_target"].T)
    return np.stack(outputs), np.stack(attended)


@held_out(
    "decoder",
    "Scores go through tanh before their softmax.",
    [r"tanh"],
    [r"score"],
    source="a common slip: half of the additive score in the multiplicative one",
)
def tanh_of_scores(enc, weights, h0, c0, y0, steps, lengths=None):
    S, B, _ = enc.shape
    ends = np.full(B, S) if lengths is None else np.asarray(lengths)
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        energy = np.tanh(np.einsum("sbe,be->bs", enc, h))
        energy = np.where(np.arange(S) < ends[:, None], energy, -np.inf)
        context = np.einsum("bs,sbe->be", softmax(energy), enc)
        y = np.tanh(np.concatenate([context, h], 1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The cell's blocks (torch's i, f, g, o) are unpacked as i, f, o, g.",
    [r"i, f, o, g", r"ifog", r"exchang.*(g|o)", r"read as", r"order"],
    source="https://github.com/apple/coremltools/pull/93",
    layout="torch",
)
def decoder_cell_unpacked_wrongly(enc, weights, h0, c0, y0, steps):
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        gates = (
            y @ weights["weight_ih_l0"].T
            + weights["bias_ih_l0"]
            + h @ weights["weight_hh_l0"].T
            + weights["bias_hh_l0"]
        )
        i, f, o, g = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        align = softmax(np.einsum("sbe,be->bs", enc, h))
        context = np.einsum("bs,sbe->be", align, enc)
        y = np.tanh(np.concatenate([context, h], 1) @ weights["W_tilde"].T + weights["b_tilde"])
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "b_tilde is added after tanh, not inside it.",
    [r"b_tilde", r"bias"],
    [r"after", r"outside", r"tanh", r"moved"],
    source="a common slip: tanh(linear without bias) + bias",
)
def bias_outside(enc, weights, h0, c0, y0, steps, lengths=None):
    S, B, _ = enc.shape
    keep = np.ones((S, B)) if lengths is None else (np.arange(S)[:, None] < np.asarray(lengths)).astype(float)
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_step(y, h, c, weights)
        s = (enc * h).sum(-1)
        e = np.exp(s - s.max(0)) * keep
        a = (e / e.sum(0)).astype(enc.dtype)
        ctx = np.tensordot(np.ones(S, enc.dtype), a[..., None] * enc, axes=1)
        y = np.tanh(np.concatenate([ctx, h], 1) @ weights["W_tilde"].T) + weights["b_tilde"]
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)
