# ruff: noqa: ARG001, FBT002, RUF059 (code as people write it)
"""Both directions, or the reverse one alone, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out


def sig(z):
    return 1.0 / (1.0 + np.exp(-z))


def step(x_t, h, c, p):
    i, f, g, o = np.split(x_t @ p["W"].T + h @ p["R"].T + p["b"], 4, axis=1)
    c = sig(f) * c + sig(i) * np.tanh(g)
    return sig(o) * np.tanh(c), c


def unroll(xs, p, h, c, mask=None, order=None):
    """One direction in the given order of timesteps: outputs where their inputs are, and the final states."""
    ys = np.zeros((len(xs), *h.shape), h.dtype)
    for t in order or range(len(xs)):
        hn, cn = step(xs[t], h, c, p)
        if mask is not None:
            m = mask[t][:, None]
            hn, cn = np.where(m, hn, h), np.where(m, cn, c)
        ys[t] = hn if mask is None else hn * mask[t][:, None]
        h, c = hn, cn
    return ys, h, c


def backwards(xs):
    return list(range(len(xs)))[::-1]


def mask_of(x, lengths):
    return None if lengths is None else np.arange(len(x))[:, None] < np.asarray(lengths)


def both(*pairs):
    return tuple(np.stack(p) for p in zip(*pairs, strict=True))


@held_out(
    "two ways",
    "The forward outputs are concatenated with themselves; the reverse outputs are not in the result.",
    [r"forward", r"first", r"same", r"itself"],
    [r"join", r"concat", r"output", r"direction", r"\bh\b", r"twice", r"both"],
    source="ematvey/tensorflow-seq2seq-tutorials, issue 1: Typo in bidirectional encoder?",
)
def encoder_outputs_typo(x, weights, h0, c0, lengths=None):
    fw, bw = weights[0]
    mask = mask_of(x, lengths)
    encoder_fw_outputs, h_f, c_f = unroll(x, fw, h0[0], c0[0], mask)
    encoder_bw_outputs, h_b, c_b = unroll(x, bw, h0[1], c0[1], mask, backwards(x))
    encoder_outputs = np.concatenate((encoder_fw_outputs, encoder_fw_outputs), 2)
    return encoder_outputs, *both((h_f, c_f), (h_b, c_b))


@held_out(
    "two ways",
    "The reverse direction's inputs are not reversed, though its outputs are.",
    [r"revers", r"forward", r"turn", r"flip"],
    [r"input", r"not", r"forward", r"order"],
    source="keras-team/keras, issue 10175: Bidirectional(Wrapper), inputs is not reversed, is a bug",
)
def wrapper_call(x, weights, h0, c0):
    class Layer:
        def __init__(self, cell, go_backwards=False):
            self.cell, self.go_backwards = cell, go_backwards

        def call(self, inputs, h, c):
            return unroll(inputs, self.cell, h, c)

    forward_layer, backward_layer = Layer(weights[0][0]), Layer(weights[0][1], go_backwards=True)
    y, *state = forward_layer.call(x, h0[0], c0[0])
    y_rev, *state_rev = backward_layer.call(x, h0[1], c0[1])
    if backward_layer.go_backwards:
        y_rev = np.flip(y_rev, 0)
    return np.concatenate([y, y_rev], axis=-1), *both(state, state_rev)


@held_out(
    "two ways",
    "The inputs' product is made once, with the forward W and b, for both directions; only R is each one's own.",
    [r"\bW\b", r"W:", r"kernel", r"weights", r"\blane", r"input"],
    [r"forward", r"revers", r"direction", r"\blane", r"0r"],
    source="mravanelli/pytorch-kaldi, issue 240: Do bidirectional layers share the input-to-hidden weights?",
)
def flipped_into_the_batch(x, weights, h0, c0):
    fw, bw = weights[0]
    B = x.shape[1]
    x2 = np.concatenate([x, x[::-1]], axis=1)
    wx = x2 @ fw["W"].T + fw["b"]
    ht, ct = np.concatenate(h0), np.concatenate(c0)
    hiddens = []
    for k in range(len(x)):
        uh = np.concatenate([ht[:B] @ fw["R"].T, ht[B:] @ bw["R"].T])
        it, ft, gt, ot = np.split(wx[k] + uh, 4, axis=1)
        ct = sig(it) * np.tanh(gt) + sig(ft) * ct
        ht = sig(ot) * np.tanh(ct)
        hiddens.append(ht)
    h = np.stack(hiddens)
    h_f, h_b = h[:, :B], h[::-1, B:]
    return np.concatenate([h_f, h_b], 2), np.stack([ht[:B], ht[B:]]), np.stack([ct[:B], ct[B:]])


@held_out(
    "two ways",
    "One cell serves both directions: the reverse direction uses the forward direction's weights.",
    [r"weights", r"\blane", r"W R b", r"WRb", r"kernel", r"cell"],
    [r"forward", r"revers", r"direction", r"\blane", r"0r"],
    source="fordDeepDSP/deepSpeech, issue 20: Bidirectional RNN reusing cells",
)
def one_cell_for_both(x, weights, h0, c0, lengths=None):
    cell = weights[0][0]
    lstm_fw_cell, lstm_bw_cell = cell, cell
    mask = mask_of(x, lengths)
    out_fw, *last_fw = unroll(x, lstm_fw_cell, h0[0], c0[0], mask)
    out_bw, *last_bw = unroll(x, lstm_bw_cell, h0[1], c0[1], mask, backwards(x))
    return np.concatenate([out_fw, out_bw], 2), *both(last_fw, last_bw)


@held_out(
    "two ways",
    "The final states, (2, B, H), are viewed as (B, 2 H) without exchanging axes: sequences and directions are mixed.",
    [r"h_n", r"final"],
    [r"reshap", r"view", r"mix", r"axes", r"transpos", r"order", r"direction", r"batch|sequence"],
    source="graykode/nlp-tutorial, issue 38: Question about tensor.view operation in Bi-LSTM(Attention)",
)
def final_state_viewed(x, weights, h0, c0):
    B, H = h0.shape[1:]
    outs, finals = [], []
    for d, p in enumerate(weights[0]):
        y, h, c = unroll(x, p, h0[d], c0[d], order=backwards(x) if d else None)
        outs.append(y)
        finals.append((h, c))
    h_n, c_n = both(*finals)
    h_n = h_n.reshape(B, 2 * H)
    return np.concatenate(outs, -1), np.stack(np.split(h_n, 2, axis=1)), c_n


@held_out(
    "two ways",
    "For the reverse direction not only the time but the input's features too are turned round.",
    [r"feature", r"columns", r"input", r"\bx\b"],
    [r"revers", r"turn", r"flip"],
    source="apache/systemds, pull request 2051: BI-LSTM layer: forward pass (rev() of a row holds all timesteps)",
)
def row_reversed(x, weights, h0, c0):
    T, N, D = x.shape
    X = x.transpose(1, 0, 2).reshape(N, T * D)
    X_reverse = X[:, ::-1]
    W_b = weights[0][1]["W"]
    y_f, h_f, c_f = unroll(X.reshape(N, T, D).transpose(1, 0, 2), weights[0][0], h0[0], c0[0])
    back = dict(weights[0][1], W=W_b)
    y_b, h_b, c_b = unroll(X_reverse.reshape(N, T, D).transpose(1, 0, 2), back, h0[1], c0[1])
    return np.concatenate([y_f, y_b[::-1]], axis=2), np.array([h_f, h_b]), np.array([c_f, c_b])


@held_out(
    "two ways",
    "The forward outputs are not masked: past a sequence's end they repeat its last h.",
    [r"length", r"padding", r"past", r"end"],
    [r"forward", r"repeat", r"kept", r"last", r"held", r"zero", r"mask"],
    source="keras-team/keras, issue 7695: forward states of bidirectional lstm are not masked",
)
def forward_states_stay(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    h, c, forward = h0[0], c0[0], []
    for t, x_t in enumerate(x):
        h1, c1 = step(x_t, h, c, weights[0][0])
        live = np.ones((len(h), 1), bool) if mask is None else mask[t][:, None]
        h, c = np.where(live, h1, h), np.where(live, c1, c)
        forward.append(h)
    backward, *last = unroll(x, weights[0][1], h0[1], c0[1], mask, backwards(x))
    return np.concatenate([np.stack(forward), backward], -1), *both((h, c), last)


@held_out(
    "two ways",
    "The reverse direction runs through the padding before it reaches the sequence; its outputs there are zeroed.",
    [r"length", r"padding", r"end"],
    [r"revers", r"direction", r"backward", r"0r", r"first"],
    source="deeplearning4j/deeplearning4j, issue 1030: Fix variable length time series + bidirectional LSTM",
)
def reverse_from_the_padding(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    fwd, h_f, c_f = unroll(x, weights[0][0], h0[0], c0[0], mask)
    rev, h_r, c_r = unroll(x, weights[0][1], h0[1], c0[1], None, backwards(x))
    if mask is not None:
        rev = rev * mask[..., None]
    return np.concatenate([fwd, rev], 2), np.stack([h_f, h_r]), np.stack([c_f, c_r])


@held_out(
    "two ways",
    "A reverse layer does not reverse where there is no mask: it runs forward.",
    [r"forward", r"not (turned|revers)", r"turn", r"revers"],
    cases="reverse",
    source="songlab-cal/tape, issue 38: Reverse sequence for LSTM model",
)
def indented_too_far(x, weights, h0, c0):
    def reverse_sequence(sequence, input_mask=None):
        if input_mask is not None:
            sequence = np.where(input_mask, sequence, 0)
            sequence = sequence[::-1]
        return sequence

    hs, cs, h, c = [], [], h0, c0
    for x_t in reverse_sequence(x):
        h, c = step(x_t, h, c, weights)
        hs.append(h)
        cs.append(c)
    return reverse_sequence(np.stack(hs)), reverse_sequence(np.stack(cs))


@held_out(
    "two ways",
    "The lengths are not handed on at all: both directions treat padding as input.",
    [r"length", r"padding"],
    source="shiyybua/NER, issue 47 (bidirectional_dynamic_rnn lacks sequence_length)",
)
def lengths_not_passed(x, weights, h0, c0, lengths=None):
    def bidirectional_dynamic_rnn(cells, inputs, initial_h, initial_c, sequence_length=None):
        mask = mask_of(inputs, sequence_length)
        fw = unroll(inputs, cells[0], initial_h[0], initial_c[0], mask)
        bw = unroll(inputs, cells[1], initial_h[1], initial_c[1], mask, backwards(inputs))
        return (fw[0], bw[0]), both(fw[1:], bw[1:])

    outputs, states = bidirectional_dynamic_rnn(weights[0], x, h0, c0)
    return np.concatenate(outputs, 2), *states


@held_out(
    "two ways",
    "The two directions' features are interleaved (H, D) instead of standing one after the other (D, H).",
    [r"interleav", r"order", r"reshap", r"transpos", r"axes"],
    [r"direction", r"join", r"concat", r"output", r"\bh\b", r"forward", r"unit"],
    source="pytorch/pytorch, issue 10838: [ONNX] Incorrect handling of Bidirectional RNN output format?",
)
def permuted_from_onnx(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    runs = [unroll(x, p, h0[d], c0[d], mask, backwards(x) if d else None) for d, p in enumerate(weights[0])]
    Y = np.stack([run[0] for run in runs], axis=1)  # (T, D, B, H), as ONNX has it
    T, D, B, H = Y.shape
    out = Y.transpose(0, 2, 3, 1).reshape(T, B, H * D)
    return out, np.stack([run[1] for run in runs]), np.stack([run[2] for run in runs])


@held_out(
    "two ways",
    "Sequences are sorted by length; the outputs are put back into the batch's order, the final states are not.",
    [r"h_n", r"final", r"states?"],
    [r"sort", r"order", r"permut", r"batch", r"length", r"sequence"],
    source="pytorch/pytorch, issue 33746: pad_packed_sequence doc improvement (sorted or unsorted)",
)
def only_outputs_unsorted(x, weights, h0, c0, lengths=None):
    if lengths is None:
        lengths = np.full(x.shape[1], len(x))
    sorted_idx = np.argsort(-np.asarray(lengths), kind="stable")
    unsorted_idx = np.argsort(sorted_idx)
    x, lengths = x[:, sorted_idx], np.asarray(lengths)[sorted_idx]
    mask = mask_of(x, lengths)
    fw = unroll(x, weights[0][0], h0[0][sorted_idx], c0[0][sorted_idx], mask)
    bw = unroll(x, weights[0][1], h0[1][sorted_idx], c0[1][sorted_idx], mask, backwards(x))
    output = np.concatenate([fw[0], bw[0]], axis=2)[:, unsorted_idx]
    h_n, c_n = both(fw[1:], bw[1:])
    return output, h_n, c_n


@held_out(
    "two ways",
    "Initial states listed as h, c forward, h, c reverse are read as h, h, c, c: forward c starts from reverse h.",
    [r"initial", r"start", r"\bh0\b", r"\bc0\b"],
    [r"\bc0?\b", r"\bh0?\b", r"direction", r"exchang", r"order", r"forward", r"revers"],
    source="tensorflow/tensorflow, issue 38403: reset_states() does not work for bidirectional-RNNs (four states)",
)
def four_state_shape(x, weights, h0, c0, lengths=None):
    initial_state = [h0[0], c0[0], h0[1], c0[1]]
    state_h_fwd, state_h_bwd, state_c_fwd, state_c_bwd = initial_state
    mask = mask_of(x, lengths)
    y, *fwd = unroll(x, weights[0][0], state_h_fwd, state_c_fwd, mask)
    y_rev, *bwd = unroll(x, weights[0][1], state_h_bwd, state_c_bwd, mask, backwards(x))
    return np.concatenate([y, y_rev], axis=-1), *both(fwd, bwd)


@held_out(
    "two ways",
    "The reverse outputs are turned back over the whole padded length instead of within each sequence's own.",
    [r"length", r"padding", r"whole", r"within", r"align"],
    source="keras-team/keras, issue 2536: bi-directional rnn alignment when masked",
)
def turned_back_as_a_whole(x, weights, h0, c0, lengths=None):
    T, B = x.shape[:2]
    ends = np.full(B, T) if lengths is None else np.asarray(lengths)
    # abcd000 -> dcba000
    index = np.where(np.arange(T)[:, None] < ends, ends - 1 - np.arange(T)[:, None], np.arange(T)[:, None])
    x_rev = np.take_along_axis(x, index[..., None], axis=0)
    mask = mask_of(x, ends)
    y, h_f, c_f = unroll(x, weights[0][0], h0[0], c0[0], mask)
    y_rev, h_b, c_b = unroll(x_rev, weights[0][1], h0[1], c0[1], mask)
    aligned = y_rev[::-1]
    return np.concatenate([y, aligned], 2), np.stack([h_f, h_b]), np.stack([c_f, c_b])


@held_out(
    "two ways",
    "The initial states given to the wrapper are not handed on: both directions start from zeros.",
    [r"initial", r"start", r"\bh0\b"],
    [r"zero", r"\b0\b", r"ignor", r"not used"],
    source="keras-team/keras, issue 8712: Bidirectional wrapper doesn't allow initial state to be specified",
)
def wrapper_without_states(x, weights, h0, c0, lengths=None):
    def lstm_layer(inputs, p, initial_state=None, mask=None, go_backwards=False):
        if initial_state is None:
            initial_state = [np.zeros_like(h0[0]), np.zeros_like(c0[0])]
        return unroll(inputs, p, *initial_state, mask, backwards(inputs) if go_backwards else None)

    mask = mask_of(x, lengths)
    forward = lstm_layer(x, weights[0][0], mask=mask)
    backward = lstm_layer(x, weights[0][1], mask=mask, go_backwards=True)
    return np.concatenate([forward[0], backward[0]], -1), *both(forward[1:], backward[1:])


@held_out(
    "two ways",
    "The reverse direction uses the forward weights, and its outputs are not turned back in time.",
    [r"weights", r"\blane", r"W R b", r"WRb", r"kernel", r"uses the forward"],
    [r"turn", r"revers.*(back|output|order|time)", r"order", r"flip"],
    source="onnx/onnx, issue 2881 (backward outputs in reverse order), with fordDeepDSP/deepSpeech, issue 20",
)
def shared_and_unturned(x, weights, h0, c0):
    shared = weights[0][0]
    left, *h_left = unroll(x, weights[0][0], h0[0], c0[0])
    right, *h_right = unroll(x[::-1], shared, h0[1], c0[1])
    return np.concatenate([left, right], axis=2), *both(h_left, h_right)


@held_out(
    "two ways",
    "The reverse direction starts from zeros, and its outputs stand before the forward ones.",
    [r"initial", r"start", r"\bh0\b", r"zero"],
    [r"exchang", r"order", r"first", r"before", r"join", r"concat"],
    source="a common slip, with soumith/cudnn.torch, issue 357: Questions about cudnn.BLSTM output concatenation order",
)
def backward_first_from_zeros(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    zeros = np.zeros_like(h0[1])
    F, h_f, c_f = unroll(x, weights[0][0], h0[0], c0[0], mask)
    B, h_b, c_b = unroll(x, weights[0][1], zeros, zeros, mask, backwards(x))
    out = np.dstack([B, F])
    return out, np.stack([h_f, h_b]), np.stack([c_f, c_b])


@held_out(
    "two ways",
    "The reverse direction runs through the padding first, and the two directions' features are interleaved.",
    [r"length", r"padding"],
    [r"interleav", r"order", r"reshap", r"transpos", r"axes"],
    cases="two ways lengths",
    source="pytorch/pytorch, issues 517: Length Masking for RNNs (backward from pads), and 10838 (ONNX' output format)",
)
def from_pads_and_permuted(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    lanes = [unroll(x, weights[0][0], h0[0], c0[0], mask)]
    lanes.append(unroll(x, weights[0][1], h0[1], c0[1], None, backwards(x)))
    y = np.stack([lane[0] for lane in lanes])
    if mask is not None:
        y = y * mask[..., None]
    D, T, B, H = y.shape
    y = np.transpose(y, (1, 2, 3, 0)).reshape(T, B, D * H)
    return y, *both(*(lane[1:] for lane in lanes))
