"""Attention decoders, as reported: states, what is fed, what comes out."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(e, axis=-1):
    e = np.exp(e - np.max(e, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def lstm_cell(inp, state, w):
    h, c = state
    gates = inp @ w["W"].T + h @ w["R"].T + w["b"]
    i, f, g, o = np.split(gates, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def source_mask(enc, lengths):
    """(B, S), or None."""
    return None if lengths is None else np.arange(len(enc))[None, :] < np.asarray(lengths)[:, None]


def luong(h, enc, mask=None):
    """The context (B, E) by the dot score, rightly."""
    scores = np.einsum("be,sbe->bs", h, enc)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    return np.einsum("bs,sbe->be", softmax(scores), enc)


def h_tilde(context, h, w):
    return np.tanh(np.concatenate([context, h], 1) @ w["W_tilde"].T + w["b_tilde"])


@held_out(
    "decoder",
    "Every step starts from the initial states h0 and c0: the states are not updated in the decoder's loop.",
    [r"\bh0\b", r"initial", r"carr", r"state"],
    [r"every", r"each", r"carr", r"reset", r"never", r"anew", r"start"],
    source="pytorch/examples, issue 88: OpenNMT: hidden state not updated in the decoder",
)
def hidden_not_updated(enc, weights, h0, c0, y0, steps, lengths=None):
    mask, hidden = source_mask(enc, lengths), (h0, c0)
    outputs, emb_t = [], y0
    for _ in range(steps):
        h = lstm_cell(emb_t, hidden, weights)
        emb_t = h_tilde(luong(h[0], enc, mask), h[0], weights)
        outputs.append(emb_t)
    ys = np.stack(outputs)
    return ys @ weights["W_target"].T, ys


@held_out(
    "decoder",
    "No state is passed to the cell: at every step it starts from zeros.",
    [r"zero", r"\b0\b", r"state"],
    [r"every", r"each", r"step", r"carr", r"reset", r"state"],
    source="tensorflow/tensorflow, issue 38248: in nmt_with_attention, last step state is not passed to this step",
)
def rnn_without_state(enc, weights, h0, c0, y0, steps):
    def rnn(x, initial_state=None):
        if initial_state is None:
            initial_state = np.zeros_like(h0), np.zeros_like(c0)
        return lstm_cell(x, initial_state, weights)

    state, x, logits, attention_vectors = (h0, c0), y0, [], []
    for _ in range(steps):
        state = rnn(x)
        x = h_tilde(luong(state[0], enc), state[0], weights)
        attention_vectors.append(x)
        logits.append(np.dot(x, weights["W_target"].T))
    return np.array(logits), np.array(attention_vectors)


@held_out(
    "decoder",
    "The attentional vector y takes the place of h in the recurrence of the next step.",
    [r"\by\b", r"h_tilde", r"attentional", r"tilde"],
    [r"\bh\b", r"state", r"recurren", r"carr", r"hidden"],
    cases="decoder alike",
    source="MaximumEntropy/Seq2Seq-PyTorch, issue 10: SoftAttentionDot isn't exactly the mechanism from Luong et al.",
)
def h_tilde_recurs(enc, weights, h0, c0, y0, steps):
    hx, cx, inp, output = h0, c0, y0, []
    for _ in range(steps):
        hy, cx = lstm_cell(inp, (hx, cx), weights)
        inp = h_tilde(luong(hy, enc), hy, weights)
        hx = inp
        output.append(inp)
    output = np.stack(output)
    return output @ weights["W_target"].T, output


@held_out(
    "decoder",
    "There is no input feeding: every step reads y0.",
    [r"\by0\b", r"first input", r"initial input", r"input"],
    [r"every", r"each", r"fed|feed", r"never", r"kept", r"same", r"carr"],
    source="tm4roon/pytorch-seq2seq, issue 1: It seems there is no input-feeding?",
)
def no_input_feeding(enc, weights, h0, c0, y0, steps, lengths=None):
    mask, state, results = source_mask(enc, lengths), (h0, c0), []
    x = y0
    for _ in range(steps):
        state = lstm_cell(x, state, weights)
        output = h_tilde(luong(state[0], enc, mask), state[0], weights)
        results.append((output @ weights["W_target"].T, output))
    logits, outputs = zip(*results, strict=True)
    return np.stack(logits), np.stack(outputs)


@held_out(
    "decoder",
    "The encoder's states (S, B, E) are viewed as (B, S, E) instead of transposed: sequences are mixed.",
    [r"reshap", r"view", r"mix", r"transpos", r"B, S", r"axes"],
    source="OpenNMT/OpenNMT-py, issue 1521: Possible dimension transformation bug (view mixes elements of the batch)",
)
def encoder_viewed(enc, weights, h0, c0, y0, steps):
    S, B, E = enc.shape
    memory_bank = enc.reshape(B, S, E)
    h, c, input_feed, dec_outs = h0, c0, y0, []
    for _ in range(steps):
        h, c = lstm_cell(input_feed, (h, c), weights)
        align = np.matmul(memory_bank, h[:, :, None])[:, :, 0]
        c_t = np.matmul(softmax(align)[:, None, :], memory_bank)[:, 0]
        input_feed = h_tilde(c_t, h, weights)
        dec_outs.append(input_feed)
    dec_outs = np.stack(dec_outs)
    return dec_outs @ weights["W_target"].T, dec_outs


@held_out(
    "decoder",
    "The logits are made from h, not from the attentional vector y.",
    [r"logits", r"W_target"],
    [r"\bh\b", r"hidden", r"state"],
    cases="decoder alike",
    source="bentrevett/pytorch-seq2seq, issue 158: Tutorial 4: Decoder - the calculation of prediction (just output)",
)
def prediction_from_output(enc, weights, h0, c0, y0, steps):
    h, c, y = h0, c0, y0
    predictions, ys = [], []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        y = h_tilde(luong(h, enc), h, weights)
        predictions.append(h @ weights["W_target"].T)
        ys.append(y)
    return np.stack(predictions), np.stack(ys)


@held_out(
    "decoder",
    "The decoder starts from zeros: it does not take the initial states that the encoder gave.",
    [r"initial", r"\bh0\b", r"start", r"state"],
    [r"zero", r"\b0\b", r"ignor", r"not used"],
    source="nyu-dl/dl4mt-tutorial, pull request 65: fix bug in gru layer (the decoder takes no initial state)",
)
def decoder_from_zeros(enc, weights, h0, c0, y0, steps, lengths=None):
    init_states = [np.zeros_like(h0), np.zeros_like(c0)]
    mask, y, ys = source_mask(enc, lengths), y0, []
    h, c = init_states
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        y = h_tilde(luong(h, enc, mask), h, weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)


@held_out(
    "decoder",
    "The logits are put through log_softmax.",
    [r"logits", r"W_target", r"output"],
    [r"softmax", r"normal", r"log"],
    cases="decoder two outputs",
    source="gabrielloye/Attention_Seq2seq-Translation, issue 3: Bug: In Luong Decoder (its F.log_softmax)",
)
def log_probabilities(enc, weights, h0, c0, y0, steps):
    h, c, y, out, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        y = h_tilde(luong(h, enc), h, weights)
        ys.append(y)
        out.append(np.log(softmax(y @ weights["W_target"].T)))
    return np.stack(out), np.stack(ys)


@held_out(
    "decoder",
    "W_tilde, for [context; h], multiplies [h; context], and attention is asked with h from before the step.",
    [r"exchang", r"\[h; context\]", r"order"],
    [r"previous", r"before", r"h_in", r"h\[t ?[-\N{MINUS SIGN}] ?1\]", r"first"],
    cases="decoder alike",
    source="ZacBi/CS224n-2019-solutions, issue 1: Concat order issue?, with bentrevett/pytorch-seq2seq, issue 149",
)
def concat_order_and_old_query(enc, weights, h0, c0, y0, steps):
    dec_state, o_prev, combined = (h0, c0), y0, []
    for _ in range(steps):
        dec_hidden_before = dec_state[0]
        dec_state = lstm_cell(o_prev, dec_state, weights)
        a_t = luong(dec_hidden_before, enc)
        U_t = np.concatenate((dec_state[0], a_t), axis=1)
        o_prev = np.tanh(U_t @ weights["W_tilde"].T + weights["b_tilde"])
        combined.append(o_prev)
    combined = np.stack(combined)
    return combined @ weights["W_target"].T, combined


@held_out(
    "decoder",
    "Every step reads y0, and the attention weights are the sigmoid of the scores.",
    [r"\by0\b", r"first input", r"input", r"feed"],
    [r"sigmoid"],
    source="tm4roon/pytorch-seq2seq, issue 1 (no input-feeding), with codekansas/keras-language-modeling, issue 30",
)
def unfed_sigmoid(enc, weights, h0, c0, y0, steps):
    state, y, ys = (h0, c0), y0, []
    for _ in range(steps):
        state = lstm_cell(y0, state, weights)
        scores = np.einsum("sbe,be->bs", enc, state[0])
        dist = sigmoid(scores)
        y = h_tilde(np.einsum("bs,sbe->be", dist, enc), state[0], weights)
        ys.append(y)
    return np.stack(ys) @ weights["W_target"].T, np.stack(ys)
