"""Attention decoders, as reported: translation and summaries."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def softmax(e):
    e = np.exp(e - np.max(e, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def lstm_cell(inp, state, w):
    h, c = state
    n = h.shape[1]
    z = inp @ w["W"].T + h @ w["R"].T + w["b"]
    c = sigmoid(z[:, n : 2 * n]) * c + sigmoid(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
    return sigmoid(z[:, 3 * n :]) * np.tanh(c), c


def energies(query, keys):
    """(B, S) of query (B, E) and keys (B, S, E)."""
    return np.matmul(keys, query[:, :, None])[:, :, 0]


def attentional(context, h, w):
    return np.tanh(np.hstack([context, h]) @ w["W_tilde"].T + w["b_tilde"])


def padding_mask(enc, lengths):
    """(B, S), true where the source is."""
    S, B = enc.shape[:2]
    return np.ones((B, S), bool) if lengths is None else np.arange(S) < np.asarray(lengths)[:, None]


@held_out(
    "decoder",
    "Scores of padding are filled with 1e-10, which is next to 0, where -1e10 was meant: padding is attended to.",
    [r"mask", r"padding"],
    [r"zero", r"\b0\b", r"score", r"fill", r"1e-10", r"small", r"ignored?"],
    cases="decoder both lengths",
    source="masked_fill(mask == 0, 1e-10), which stands in many public files",
)
def filled_with_a_tiny_number(enc, weights, h0, c0, y0, steps, lengths=None):
    keys = enc.transpose(1, 0, 2)
    mask = padding_mask(enc, lengths)
    state, inp = (h0, c0), y0
    outputs, hiddens = [], []
    for _ in range(steps):
        state = lstm_cell(inp, state, weights)
        energy = energies(state[0], keys)
        energy[mask == 0] = 1e-10
        a = softmax(energy)
        weighted = np.matmul(a[:, None, :], keys)[:, 0]
        inp = attentional(weighted, state[0], weights)
        hiddens.append(inp)
        outputs.append(inp @ weights["W_target"].T)
    return np.stack(outputs), np.stack(hiddens)


@held_out(
    "decoder",
    "The mask (1 for the source, 0 for padding) is added to the scores: padding is only one lower, not shut out.",
    [r"mask", r"padding"],
    [r"add", r"\b1\b", r"\bone\b", r"score", r"finite", r"\+", r"not (masked|shut|left)", r"bias"],
    cases="decoder both lengths",
    source="a mask of 0 and 1 given where a mask to be added was wanted; a common slip",
)
def mask_added_to_scores(enc, weights, h0, c0, y0, steps, lengths=None):
    attn_mask = padding_mask(enc, lengths).astype(enc.dtype)
    values = enc.swapaxes(0, 1)
    h, c, y = h0, c0, y0
    logits, ys = [], []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        scores = np.einsum("be,bse->bs", h, values)
        scores = scores + attn_mask
        context = np.einsum("bs,bse->be", softmax(scores), values)
        y = attentional(context, h, weights)
        ys.append(y)
        logits.append(np.dot(y, weights["W_target"].T))
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The mask is made for sources that are padded in front: the last places are attended to, not the first.",
    [r"mask", r"padding", r"length"],
    [r"front", r"first", r"last", r"left", r"other", r"end", r"start", r"wrong", r"place"],
    cases="decoder both lengths",
    source="OpenNMT's issue on uneven batches: its Lua version pads sources on the left",
)
def sources_padded_on_the_left(enc, weights, h0, c0, y0, steps, lengths=None):
    S = len(enc)
    bank = enc.transpose(1, 0, 2)
    h, c, feed = h0, c0, y0
    outs, feeds = [], []
    for _ in range(steps):
        h, c = lstm_cell(feed, (h, c), weights)
        align = energies(h, bank)
        if lengths is not None:
            for n, length in enumerate(lengths):
                align[n, : S - length] = -np.inf
        p = softmax(align)
        feed = attentional((p[:, :, None] * bank).sum(1), h, weights)
        feeds.append(feed)
        outs.append(feed @ weights["W_target"].T)
    return np.stack(outs), np.stack(feeds)


@held_out(
    "decoder",
    "What is returned as logits are probabilities: a softmax has been applied.",
    [r"softmax", r"probabilit"],
    [r"logit", r"output", r"W_target", r"probabilit", r"target"],
    cases="decoder two outputs",
    source="a softmax in the model and another in the loss: tflearn's pull request is one report of very many",
)
def probabilities_returned(enc, weights, h0, c0, y0, steps, lengths=None):
    src = enc.transpose(1, 0, 2)
    mask = padding_mask(enc, lengths)
    hidden, step_input, probs, tilde = (h0, c0), y0, [], []
    for _ in range(steps):
        hidden = lstm_cell(step_input, hidden, weights)
        attn = softmax(np.where(mask, energies(hidden[0], src), -np.inf))
        ctx = np.einsum("bs,bse->be", attn, src)
        step_input = attentional(ctx, hidden[0], weights)
        tilde.append(step_input)
        probs.append(softmax(step_input @ weights["W_target"].T))
    return np.stack(probs), np.stack(tilde)


@held_out(
    "decoder",
    "y goes through relu instead of tanh.",
    [r"relu", r"rectif", r"max\(", r"positive"],
    source="attn_combine followed by F.relu, as PyTorch's tutorial on translation had it",
)
def combined_with_relu(enc, weights, h0, c0, y0, steps, lengths=None):
    src, mask = enc.transpose(1, 0, 2), padding_mask(enc, lengths)
    h, c, output = h0, c0, y0
    all_logits, all_outputs = [], []
    for _ in range(steps):
        h, c = lstm_cell(output, (h, c), weights)
        attn_weights = softmax(np.where(mask, energies(h, src), -np.inf))
        attn_applied = np.matmul(attn_weights[:, None], src).squeeze(1)
        output = np.concatenate((attn_applied, h), 1) @ weights["W_tilde"].T + weights["b_tilde"]
        output = np.maximum(output, 0)
        all_outputs.append(output)
        all_logits.append(output @ weights["W_target"].T)
    return np.stack(all_logits), np.stack(all_outputs)


@held_out(
    "decoder",
    "There is no attention: the context is the encoder's last state at every step.",
    [r"context", r"attention", r"softmax", r"weights"],
    [r"last", r"final", r"one source", r"no attention", r"not used", r"fixed", r"\[-1\]"],
    source="seq2seq examples without attention whose decoder was to have got one; a common slip",
)
def last_source_as_context(enc, weights, h0, c0, y0, steps):
    context = enc[-1]
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        y = attentional(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "W_tilde is given the context and the h of before the step; attention itself is asked with the new h.",
    [r"W_tilde", r"\bh\b", r"hidden", r"\by\b", r"combin", r"join", r"concat"],
    [r"previous", r"before", r"\bold\b", r"h_in", r"h\[t ?[-\N{MINUS SIGN}] ?1\]", r"starts from"],
    source="a decoder that keeps prev_hidden and hidden apart and takes the wrong one; a common slip",
)
def concat_previous_hidden(enc, weights, h0, c0, y0, steps, lengths=None):
    source, mask = enc.transpose(1, 0, 2), padding_mask(enc, lengths)
    prev_hidden, cell_state, y = h0, c0, y0
    logits, ys = [], []
    for _ in range(steps):
        hidden, cell_state = lstm_cell(y, (prev_hidden, cell_state), weights)
        weight = softmax(np.where(mask, energies(hidden, source), -np.inf))
        context = np.einsum("bs,bse->be", weight, source)
        y = attentional(context, prev_hidden, weights)
        prev_hidden = hidden
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The cell state is not handed on: every step takes c0, and h alone is carried.",
    [r"\bc\b", r"cell state", r"c0"],
    [r"every", r"each", r"initial", r"start", r"not (carried|updated|handed|passed)", r"c0", r"carr", r"reset"],
    source="a decoder written for a GRU and changed to an LSTM, where one of two states is carried; a common slip",
)
def written_for_a_gru(enc, weights, h0, c0, y0, steps, lengths=None):
    memory, mask = enc.transpose(1, 0, 2), padding_mask(enc, lengths)
    hidden, y = h0, y0
    logits, ys = [], []
    for _ in range(steps):
        hidden, _c = lstm_cell(y, (hidden, c0), weights)
        scores = energies(hidden, memory)
        scores[~mask] = -np.inf
        context = (softmax(scores)[..., None] * memory).sum(axis=1)
        y = attentional(context, hidden, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The general scores are divided by the square root of the width, as in scaled dot products.",
    [r"sqrt", r"root", r"scaled?", r"divid", r"\N{SQUARE ROOT}"],
    cases="decoder general",
    source="the scaling of transformers put on Luong's scores; a common slip",
)
def general_scores_scaled(enc, weights, h0, c0, y0, steps):
    keys = enc.transpose(1, 0, 2)
    scale = float(keys.shape[-1]) ** 0.5
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        query = h @ weights["W_a"].T
        attn = softmax(energies(query, keys) / scale)
        y = attentional(np.einsum("bs,bse->be", attn, keys), h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The decoder's cell adds a forget bias of 1, which its weights hold already.",
    [r"forget.?bias", r"bias.*forget", r"forget.*bias", r"b.*\bf\b.*(1|one)", r"\+ ?1"],
    source="BasicLSTMCell(forget_bias=1.0) around weights of another framework; a common slip",
)
def basic_cell_in_the_decoder(enc, weights, h0, c0, y0, steps, lengths=None):
    forget_bias = 1.0
    W = np.concatenate([weights["W"], weights["R"]], 1).T
    values, valid = enc.transpose(1, 0, 2), padding_mask(enc, lengths)
    h, c, attention, logits, attentions = h0, c0, y0, [], []
    for _ in range(steps):
        i, f, j, o = np.split(np.concatenate([attention, h], 1) @ W + weights["b"], 4, axis=1)
        c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        alignments = softmax(np.where(valid, energies(h, values), -np.inf))
        attention = attentional(np.matmul(alignments[:, None], values)[:, 0], h, weights)
        attentions.append(attention)
        logits.append(attention @ weights["W_target"].T)
    return np.stack(logits), np.stack(attentions)


@held_out(
    "decoder",
    "Padding of the source is not masked, and the decoder's cell has no bias.",
    [r"mask", r"padding", r"length"],
    [r"\bb\b", r"bias", r"b:"],
    cases="decoder lengths",
    source="two common slips together; TensorFlow's issue on its missing attention mask is a report of the first",
)
def forgetful_solution(enc, weights, h0, c0, y0, steps, lengths=None):  # noqa: ARG001
    n = h0.shape[1]
    keys = enc.transpose(1, 0, 2)
    h, c, y, logits, ys = h0, c0, y0, [], []
    for _ in range(steps):
        z = y @ weights["W"].T + h @ weights["R"].T
        c = sigmoid(z[:, n : 2 * n]) * c + sigmoid(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
        h = sigmoid(z[:, 3 * n :]) * np.tanh(c)
        a_t = np.matmul(softmax(energies(h, keys))[:, None], keys)[:, 0]
        y = attentional(a_t, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)


@held_out(
    "decoder",
    "The first input is zeros instead of y0, and the scores are divided by the square root of the width.",
    [r"y0", r"first", r"initial"],
    [r"sqrt", r"root", r"scaled?", r"divid", r"\N{SQUARE ROOT}"],
    source="two common slips together",
)
def zeros_and_scaled(enc, weights, h0, c0, y0, steps, lengths=None):
    src, ok = enc.transpose(1, 0, 2), padding_mask(enc, lengths)
    h, c, logits, ys = h0, c0, [], []
    y = np.zeros(y0.shape, y0.dtype)
    for _ in range(steps):
        h, c = lstm_cell(y, (h, c), weights)
        scores = energies(h, src) * float(h.shape[1]) ** -0.5
        context = np.einsum("bs,bse->be", softmax(np.where(ok, scores, -np.inf)), src)
        y = attentional(context, h, weights)
        ys.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(ys)
