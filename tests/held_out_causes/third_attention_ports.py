"""Attention decoders, as reported: who asks, how scores become weights, what is masked."""

from __future__ import annotations

import numpy as np
from register import held_out
from third_decoder_ports import h_tilde, lstm_cell, luong, sigmoid, softmax, source_mask


@held_out(
    "decoder",
    "Attention is asked with the initial hidden state at every step.",
    [r"\bh0\b", r"initial", r"first"],
    [r"query", r"attend", r"attention", r"score", r"asked"],
    source="zhaoyingjun/tensorflow2.0-coding, issue 8 (the hidden that attention gets is not updated in the loop)",
)
def fixed_query(enc, weights, h0, c0, y0, steps, lengths=None):
    mask = source_mask(enc, lengths)
    dec_hidden, state, y, ys = h0, (h0, c0), y0, []
    for _ in range(steps):
        state = lstm_cell(y, state, weights)
        context_vector = luong(dec_hidden, enc, mask)
        y = h_tilde(context_vector, state[0], weights)
        ys.append(y)
    return np.einsum("tba,oa->tbo", np.stack(ys), weights["W_target"]), np.stack(ys)


@held_out(
    "decoder",
    "The context is never set back: each step's is added to those of the steps before.",
    [r"context"],
    [r"add", r"sum", r"accumul", r"before", r"previous", r"steps"],
    source="mkolod/mxnet_seq2seq, pull request 4 (attention_state was never set to zero in the loop)",
)
def attention_state_grows(enc, weights, h0, c0, y0, steps):
    attention_state = np.zeros((enc.shape[1], enc.shape[2]), enc.dtype)
    state, feed, out = (h0, c0), y0, []
    for _ in range(steps):
        state = lstm_cell(feed, state, weights)
        energies = np.stack([(e * state[0]).sum(axis=1) for e in enc])
        alphas = softmax(energies, axis=0)
        for alpha, e in zip(alphas, enc, strict=True):
            attention_state = attention_state + alpha[:, None] * e
        feed = h_tilde(attention_state, state[0], weights)
        out.append(feed)
    return np.stack(out) @ weights["W_target"].T, np.stack(out)


@held_out(
    "decoder",
    "The attention weights are the sigmoid of the scores instead of their softmax.",
    [r"sigmoid"],
    [r"score", r"attention", r"softmax", r"weights"],
    source="codekansas/keras-language-modeling, issue 30: Sigmoid in AttentionLSTM",
)
def sigmoid_attention(enc, weights, h0, c0, y0, steps):
    h, c, m, collected = h0, c0, y0, []
    for _ in range(steps):
        h, c = lstm_cell(m, (h, c), weights)
        s = sigmoid(np.einsum("sbe,be->sb", enc, h))
        attended = (s[..., None] * enc).sum(axis=0)
        m = h_tilde(attended, h, weights)
        collected.append(m)
    return np.stack([m @ weights["W_target"].T for m in collected]), np.stack(collected)


@held_out(
    "decoder",
    "The attention weights are relu(score): nothing makes them sum to one.",
    [r"relu", r"softmax", r"sum", r"normal", r"positive", r"max\("],
    source="keon/seq2seq, issue 15: about the way to calculate attention weight",
)
def relu_attention(enc, weights, h0, c0, y0, steps):
    def attention(hidden, encoder_outputs):
        attn_energies = np.einsum("be,bse->bs", hidden, encoder_outputs)
        return np.maximum(attn_energies, 0)[:, None]

    encoder_outputs = np.swapaxes(enc, 0, 1)
    hidden, y, ys = (h0, c0), y0, []
    for _ in range(steps):
        hidden = lstm_cell(y, hidden, weights)
        context = (attention(hidden[0], encoder_outputs) @ encoder_outputs)[:, 0]
        y = h_tilde(context, hidden[0], weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "Padding of the source is set to zero vectors, but the softmax still counts them (a score of 0, exp(0) = 1).",
    [r"mask", r"padding", r"length"],
    cases="decoder lengths",
    source="ilivans/tf-rnn-attention, issue 11: Regarding softmax used for attention implementation",
)
def zero_vectors_counted(enc, weights, h0, c0, y0, steps, lengths=None):
    mask = source_mask(enc, lengths)
    if mask is not None:
        enc = enc * mask.T[..., None]
    h, c, y, ys = h0, c0, y0, []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        y = h_tilde(luong(h, enc), h, weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "The mask lets one timestep of padding through (<= length).",
    [r"mask", r"padding", r"length"],
    [r"one", r"more", r"long", r"late", r"\b1\b", r"off"],
    cases="decoder lengths",
    source="a common slip (<= for <)",
)
def source_one_too_long(enc, weights, h0, c0, y0, steps, lengths=None):
    S, B, _ = enc.shape
    bias = np.zeros((S, B), enc.dtype)
    if lengths is not None:
        for b in range(B):
            bias[int(lengths[b]) + 1 :, b] = -1e30
    h, c, y, ys = h0, c0, y0, []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        weight = softmax((enc * h).sum(-1) + bias, axis=0)
        y = h_tilde((weight[..., None] * enc).sum(0), h, weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "W_a is not used: the scores are plain dot products where the case asks for the general score.",
    [r"W_a", r"general", r"\bdot\b"],
    cases="decoder general square",
    source="bentrevett/pytorch-seq2seq, issue 90: A few questions about Tutorial 4 (a dot product)",
)
def dot_for_general(enc, weights, h0, c0, y0, steps):
    h, c, y, ys = h0, c0, y0, []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        last_hidden = h
        attn_score = (enc * last_hidden).sum(axis=2)
        context = (softmax(attn_score, axis=0)[..., None] * enc).sum(axis=0)
        y = h_tilde(context, h, weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "The scores go through tanh before the softmax.",
    [r"tanh"],
    [r"score", r"softmax", r"energ", r"attention"],
    cases="decoder general",
    source="AuCson/PyTorch-Batch-Attention-Seq2seq, issue 3: Attention weights problem (energy = tanh(attn))",
)
def tanh_energy(enc, weights, h0, c0, y0, steps):
    state, y, ys = (h0, c0), y0, []
    for _ in range(steps):
        state = lstm_cell(y, state, weights)
        keys = np.einsum("sbe,eh->sbh", enc, weights["W_a"])
        energy = np.einsum("sbh,bh->bs", keys, state[0])
        energy = np.tanh(energy)
        context = np.einsum("bs,sbe->be", softmax(energy), enc)
        y = h_tilde(context, state[0], weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "Attention is asked with the step's input (the fed y) instead of the new h.",
    [r"query", r"attend", r"attention", r"score", r"asked"],
    [r"input", r"\by\b", r"fed"],
    cases="decoder alike",
    source="spro/practical-pytorch, issue 16: [Attention model structure] (the output y_{i-1} asks)",
)
def asked_by_the_input(enc, weights, h0, c0, y0, steps):
    decoder_input, decoder_hidden, ys = y0, (h0, c0), []
    for _ in range(steps):
        decoder_hidden = lstm_cell(decoder_input, decoder_hidden, weights)
        context = luong(decoder_input, enc)
        decoder_input = h_tilde(context, decoder_hidden[0], weights)
        ys.append(decoder_input)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "At the first step all attention weights are equal: the context is the mean over the source.",
    [r"mean", r"equal", r"uniform", r"1/S", r"average", r"same"],
    [r"first", r"timestep 0", r"step 0", r"t = 0", r"start"],
    source="yaserkl/RLSeq2Seq, issue 8: about attention_decoder.py (first step is filled with equal values)",
)
def equal_at_first(enc, weights, h0, c0, y0, steps):
    h, c, y, ys = h0, c0, y0, []
    for t in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        masked_e = np.exp(np.einsum("sbe,be->bs", enc, h))
        if t < 1:
            masked_e = np.ones_like(masked_e)
        dist = masked_e / masked_e.sum(axis=1, keepdims=True)
        y = h_tilde(np.einsum("bs,sbe->be", dist, enc), h, weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "The mask lets one timestep of padding through, and b_tilde is missing.",
    [r"mask", r"padding", r"length"],
    [r"b_tilde", r"bias"],
    cases="decoder both lengths",
    source="a common slip (<= for <), with OpenNMT/OpenNMT-py, pull request 110 (a linear layer without its bias)",
)
def long_mask_without_bias(enc, weights, h0, c0, y0, steps, lengths=None):
    valid = np.ones(enc.shape[1::-1], bool)
    if lengths is not None:
        valid = np.arange(len(enc)) <= np.reshape(lengths, (-1, 1))
    h, c, y, ys = h0, c0, y0, []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        context = luong(h, enc, valid)
        y = np.tanh(np.concatenate([context, h], 1) @ weights["W_tilde"].T)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "The scores go through tanh, and the decoder starts from zeros instead of the initial states.",
    [r"tanh"],
    [r"initial", r"\bh0\b", r"start", r"zero"],
    source="AuCson/PyTorch-Batch-Attention-Seq2seq, issue 3, with nyu-dl/dl4mt-tutorial, pull request 65",
)
def tanh_scores_from_zeros(enc, weights, h0, c0, y0, steps, lengths=None):
    mask, y, ys = source_mask(enc, lengths), y0, []
    s = (np.zeros_like(h0), np.zeros_like(c0))
    for _ in range(steps):
        s = lstm_cell(y, s, weights)
        e = np.tanh(np.einsum("be,sbe->bs", s[0], enc))
        if mask is not None:
            e = np.where(mask, e, -np.inf)
        y = h_tilde(np.einsum("bs,sbe->be", softmax(e), enc), s[0], weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)
