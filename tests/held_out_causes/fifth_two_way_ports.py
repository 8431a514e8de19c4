"""Both directions, or the reverse one alone, as reported: converters, encoders, generated C."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigma(a):
    return np.reciprocal(1 + np.exp(-a))


def scan(seq, p, h, c, valid=None):
    """An LSTM over seq (T, B, I), right in itself; where ``valid`` is false the state stays and the output is 0."""
    n = h.shape[1]
    ys = []
    for t, x_t in enumerate(seq):
        z = x_t @ p["W"].T + h @ p["R"].T + p["b"]
        c_new = sigma(z[:, n : 2 * n]) * c + sigma(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
        h_new = sigma(z[:, 3 * n :]) * np.tanh(c_new)
        ok = True if valid is None else valid[t][:, None]
        h, c = np.where(ok, h_new, h), np.where(ok, c_new, c)
        ys.append(np.where(ok, h_new, 0))
    return np.stack(ys), h, c


def valid_of(x, lengths):
    return None if lengths is None else np.arange(len(x))[:, None] < np.asarray(lengths)


def reverse_sequence(a, lengths):
    """As tf.reverse_sequence: each sequence within its length."""
    if lengths is None:
        return a[::-1]
    out = a.copy()
    for n, length in enumerate(lengths):
        out[:length, n] = a[:length, n][::-1]
    return out


@held_out(
    "two ways",
    "The outputs of the reverse direction are not turned back: they stand in the order in which they were computed.",
    [r"revers", r"backward", r"0r"],
    [r"turn", r"flip", r"order", r"in time", r"not revers", r"time.reversed"],
    source="CRNN-with-STN issue 12 and TIM-VX issue 401: the order of backward outputs is D'C'B'A' for A, B, C, D",
)
def go_backwards_joined_as_is(x, weights, h0, c0):
    """Reported of a text recogniser in Keras: LSTM(go_backwards=True) beside a forward LSTM, concatenated at once."""

    def layer(inputs, p, h, c, *, go_backwards=False):
        return scan(inputs[::-1] if go_backwards else inputs, p, h, c)

    rnn_1, h_1, c_1 = layer(x, weights[0][0], h0[0], c0[0])
    rnn_1b, h_1b, c_1b = layer(x, weights[0][1], h0[1], c0[1], go_backwards=True)
    joined = np.concatenate([rnn_1, rnn_1b], axis=-1)
    return joined, np.stack([h_1, h_1b]), np.stack([c_1, c_1b])


@held_out(
    "two ways",
    "The reverse direction turns the whole padded array and begins with the padding, which changes its state.",
    [r"padd", r"past", r"length", r"whole"],
    [r"revers", r"backward", r"0r", r"turn", r"flip"],
    source="haste issue 12, keras issue 7244, pytorch issue 517: whether the backward pass starts from pads",
    cases="two ways lengths",
)
def starts_from_the_pads(x, weights, h0, c0, lengths=None):
    """Reported of several libraries: zeros are no mask, because of the bias; the backward pass reads pads first."""
    fw, bw = weights[0]
    mask = valid_of(x, lengths)
    y_f, h_f, c_f = scan(x, fw, h0[0], c0[0], mask)
    turned = mask
    if mask is not None:
        x = np.where(mask[:, :, None], x, 0)
        turned = np.ones_like(mask)
    y_b, h_b, c_b = scan(x[::-1], bw, h0[1], c0[1], None if mask is None else turned[::-1])
    y_b = y_b[::-1]
    if mask is not None:
        y_b = np.where(mask[:, :, None], y_b, 0)
    return np.concatenate([y_f, y_b], -1), np.stack([h_f, h_b]), np.stack([c_f, c_b])


@held_out(
    "two ways",
    "ONNX's output (T, D, B, H) is reshaped to (T, B, 2H) at once: directions and sequences are mixed.",
    [r"mixed", r"reshap", r"\bview", r"ax(i|e)s", r"transpos", r"layout", r"interleav", r"order"],
    [r"direction", r"sequence", r"batch", r"forward", r"revers", r"h_seq", r"output", r"halves", r"\bh\b"],
    source="onnx issue 921: the output is [seq_length, num_directions, batch_size, hidden_size]; batch is not axis 1",
)
def onnx_output_reshaped_at_once(x, weights, h0, c0, lengths=None):
    """Reported of exported models: what follows the LSTM takes its output for (T, B, directions times H)."""
    mask = valid_of(x, lengths)
    T, B, _ = x.shape
    Y_of, Y_h, Y_c = [], [], []
    for d, p in enumerate(weights[0]):
        y, h, c = scan(reverse_sequence(x, lengths) if d else x, p, h0[d], c0[d], mask)
        Y_of.append(reverse_sequence(y, lengths) if d else y)
        Y_h.append(h)
        Y_c.append(c)
    Y = np.stack(Y_of, axis=1)
    return Y.reshape(T, B, -1), np.stack(Y_h), np.stack(Y_c)


@held_out(
    "two ways",
    "The final states are left sorted by length, descending; the outputs are put back into the batch's order.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"order", r"sort", r"permut", r"sequences", r"batch", r"row", r"lengths"],
    source="mead-baseline pull request 677 and mlverse/torch issue 499: unsorting of what a packed sequence gave",
    cases="two ways lengths",
)
def finals_left_sorted(x, weights, h0, c0, lengths=None):
    """Packed sequences had to be sorted: the outputs are unsorted afterwards, and the hidden state is forgotten."""
    lengths = np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)
    sorted_indices = np.argsort(-lengths, kind="stable")
    unsorted_indices = np.argsort(sorted_indices)
    x, h0, c0, lengths = x[:, sorted_indices], h0[:, sorted_indices], c0[:, sorted_indices], lengths[sorted_indices]
    mask = valid_of(x, lengths)
    forward, h_f, c_f = scan(x, weights[0][0], h0[0], c0[0], mask)
    backward, h_b, c_b = scan(reverse_sequence(x, lengths), weights[0][1], h0[1], c0[1], mask)
    output = np.concatenate([forward, reverse_sequence(backward, lengths)], axis=-1)
    hidden, cell = np.stack([h_f, h_b]), np.stack([c_f, c_b])
    return output[:, unsorted_indices], hidden, cell


@held_out(
    "two ways",
    "The final states of the reverse direction are the forward direction's: those are returned twice.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"same", r"twice", r"both", r"forward", r"other", r"copy", r"in the place"],
    source="tflearn pull request 522: (o, states_fw, states_fw) is changed to (o, states_fw, states_bw)",
)
def states_fw_twice(x, weights, h0, c0, lengths=None):
    """Mended in a library of layers, whose bidirectional function returned one direction's state two times."""

    def bidirectional_rnn(inputs):
        valid = valid_of(inputs, lengths)
        output_fw, *states_fw = scan(inputs, weights[0][0], h0[0], c0[0], valid)
        tmp, *states_bw = scan(reverse_sequence(inputs, lengths), weights[0][1], h0[1], c0[1], valid)
        assert len(states_bw) == len(states_fw)
        output_bw = reverse_sequence(tmp, lengths)
        return np.concatenate([output_fw, output_bw], axis=2), states_fw, states_fw

    o, first, second = bidirectional_rnn(x)
    return o, np.stack([first[0], second[0]]), np.stack([first[1], second[1]])


@held_out(
    "two ways",
    "The reverse direction turns the features of each input, and not time: it runs forward over x[t, :, ::-1].",
    [r"feature", r"input'?s? (axis|width|column)", r"ax(i|e)s", r"column", r"width", r"last axis"],
    [r"revers", r"backward", r"turn", r"flip", r"0r"],
    source="onnx2c issue 95: the backward pass iterates over input features instead of time steps",
)
def turned_over_features(x, weights, h0, c0):
    """Reported of a generator of C code: in the loop of the reverse direction the wrong index runs down."""
    T, B, I = x.shape
    D, H = 2, h0.shape[-1]
    Y = np.zeros((T, B, D * H), x.dtype)
    Y_h, Y_c = h0.copy(), c0.copy()
    for d in range(D):
        W, R, b = (weights[0][d][k] for k in ("W", "R", "b"))
        h, c = Y_h[d], Y_c[d]
        for s in range(T):
            at, columns = s, slice(None)
            if d == 1:
                columns = slice(None, None, -1)
            z = x[at][:, columns] @ W.T + h @ R.T + b
            i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
            c = sigma(f) * c + sigma(i) * np.tanh(g)
            h = sigma(o) * np.tanh(c)
            Y[at, :, d * H : (d + 1) * H] = h
        Y_h[d], Y_c[d] = h, c
    assert x.shape[2] == I
    return Y, Y_h, Y_c


@held_out(
    "two ways",
    "The reverse direction runs with the forward direction's weights: the key in the loader lacks the suffix.",
    [r"same", r"share", r"forward", r"one set", r"not its own"],
    [r"weight", r"\bW", r"parameters", r"direction", r"lane"],
    source="deepSpeech issue 20 (directions share their weights); here weight_ih_l0_reverse is never read",
)
def suffix_reverse_never_read(x, weights, h0, c0, lengths=None):
    """A loader for a state dict, in which the names are made for every layer and every direction."""
    state_dict = {}
    for suffix, p in zip(("", "_reverse"), weights[0], strict=True):
        state_dict |= {f"weight_ih_l0{suffix}": p["W"], f"weight_hh_l0{suffix}": p["R"], f"bias_l0{suffix}": p["b"]}
    mask = valid_of(x, lengths)
    ys, hs, cs = [], [], []
    for d in range(2):
        suffix = ""
        p = {
            k: state_dict[f"{name}_l0{suffix}"]
            for k, name in zip("WRb", ("weight_ih", "weight_hh", "bias"), strict=True)
        }
        inputs = reverse_sequence(x, lengths) if d else x
        y, h, c = scan(inputs, p, h0[d], c0[d], mask)
        ys.append(reverse_sequence(y, lengths) if d else y)
        hs.append(h)
        cs.append(c)
    return np.concatenate(ys, axis=2), np.stack(hs), np.stack(cs)


@held_out(
    "two ways",
    "The halves of the output are joined the other way round: the reverse direction stands first.",
    [r"order", r"first", r"swap", r"exchang", r"other way", r"halves", r"before"],
    [r"revers", r"backward", r"direction", r"halves", r"forward"],
    source="concatenations of (backward, forward) in encoders by hand; a common slip",
)
def backward_half_first(x, weights, h0, c0, lengths=None):
    """An encoder by hand, whose later layer was trained with the halves in the other order."""
    annotations_of = {}
    states = {}
    for name, d in (("forward", 0), ("backward", 1)):
        inputs = x if name == "forward" else reverse_sequence(x, lengths)
        hidden, *states[name] = scan(inputs, weights[0][d], h0[d], c0[d], valid_of(x, lengths))
        annotations_of[name] = hidden if name == "forward" else reverse_sequence(hidden, lengths)
    halves = [annotations_of[name] for name in ("backward", "forward")]
    annotations = np.concatenate(halves, axis=-1)
    h_n, c_n = (np.stack([states[name][k] for name in ("forward", "backward")]) for k in (0, 1))
    return annotations, h_n, c_n


@held_out(
    "two ways",
    "The four final states are unpacked as forward h, reverse h, forward c, reverse c; they come as h, c, h, c.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"swap", r"exchang", r"order", r"\bc\b", r"in the place", r"instead", r"mixed", r"unpack"],
    source="keras issue 8823 and rstudio/keras3 issue 624: which results of a Bidirectional layer are its states",
)
def five_results_unpacked(x, weights, h0, c0, lengths=None):
    """Asked often: Bidirectional(LSTM(return_state=True)) gives the output and four states, and their order matters."""

    def bidirectional(inputs):
        valid = valid_of(inputs, lengths)
        y, *forward = scan(inputs, weights[0][0], h0[0], c0[0], valid)
        y_rev, *backward = scan(reverse_sequence(inputs, lengths), weights[0][1], h0[1], c0[1], valid)
        return [np.concatenate([y, reverse_sequence(y_rev, lengths)], -1), *forward, *backward]

    encoder_outputs, forward_h, backward_h, forward_c, backward_c = bidirectional(x)
    return encoder_outputs, np.stack([forward_h, backward_h]), np.stack([forward_c, backward_c])


@held_out(
    "two ways",
    "The reverse direction starts from the forward direction's final state: one variable holds the state of both.",
    [r"revers", r"backward", r"0r"],
    [r"start", r"initial", r"h0", r"c0", r"state", r"continu"],
    [r"final", r"forward", r"\bend", r"last", r"continu", r"carried"],
    source="a variable hidden that is reused for the second direction; a common slip of loops in PyTorch",
)
def hidden_goes_on_into_backward(x, weights, h0, c0, lengths=None):
    """A loop over directions with LSTM cells: hidden is set before the loop, and again by what runs in it."""
    initial = list(zip(h0, c0, strict=True))
    hidden = initial[0]
    outputs, finals = [], []
    for direction, params in enumerate(weights[0]):
        data = x if direction == 0 else reverse_sequence(x, lengths)
        out, *hidden = scan(data, params, *hidden, valid_of(x, lengths))
        outputs.append(out if direction == 0 else reverse_sequence(out, lengths))
        finals.append(hidden)
    return np.concatenate(outputs, -1), np.stack([h for h, _ in finals]), np.stack([c for _, c in finals])


@held_out(
    "two ways",
    "The reverse direction is turned within lengths, and its outputs are turned back as a whole: they are shifted.",
    [r"length", r"padd", r"past", r"whole"],
    [r"turn", r"flip", r"revers", r"shift", r"align", r"place"],
    source="keras pull request 1282: with padding the outputs have to be shifted too, to make the alignment right",
    cases="two ways lengths",
)
def turned_back_without_lengths(x, weights, h0, c0, lengths=None):
    """Said in the review of a Bidirectional layer: what was moved to the front has to be moved back."""
    mask = valid_of(x, lengths)
    Y, h_f, c_f = scan(x, weights[0][0], h0[0], c0[0], mask)
    X_rev = reverse_sequence(x, lengths)
    Y_rev, h_b, c_b = scan(X_rev, weights[0][1], h0[1], c0[1], mask)
    Y_rev = Y_rev[::-1]
    return np.concatenate((Y, Y_rev), axis=-1), np.stack((h_f, h_b)), np.stack((c_f, c_b))


@held_out(
    "two ways",
    "Time is turned twice: the input is turned and the loop counts down as well, so that the layer runs forward.",
    [r"forward", r"twice", r"not revers", r"not turned", r"first to last", r"from the (start|beginning|first)"],
    source="an input that is reversed already and go_backwards=True besides; a common slip",
    cases="reverse",
)
def turned_twice(x, weights, h0, c0):
    """Sequences that the data loader has reversed, in a layer that reverses them once more."""
    p = weights[0][0] if isinstance(weights, list) else weights
    T = len(x)
    x = x[::-1]
    h_seq, c_seq = [None] * T, [None] * T
    h, c = h0.reshape(-1, h0.shape[-1]), c0.reshape(-1, c0.shape[-1])
    for t in range(T - 1, -1, -1):
        i, f, g, o = np.split(x[t] @ p["W"].T + h @ p["R"].T + p["b"], 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)
        h_seq[T - 1 - t], c_seq[T - 1 - t] = h, c
    return np.stack(h_seq), np.stack(c_seq)
