"""Both directions, or the reverse one alone, as reported: encoders, taggers, loaders."""

from __future__ import annotations

import numpy as np
from register import held_out


def logistic(v):
    return 1.0 / (1.0 + np.exp(-v))


def run(seq, W, R, b, h, c, mask=None):
    """One LSTM over seq (T, B, I), right in itself: its outputs, its cell states, the final state."""
    ys, cells = [], []
    for t in range(len(seq)):
        i, f, g, o = np.split(seq[t] @ W.T + h @ R.T + b, 4, axis=1)
        c_t = logistic(f) * c + logistic(i) * np.tanh(g)
        h_t = logistic(o) * np.tanh(c_t)
        if mask is not None:
            m = mask[t][:, None]
            c_t, h_t = np.where(m, c_t, c), np.where(m, h_t, h)
        h, c = h_t, c_t
        ys.append(h if mask is None else np.where(mask[t][:, None], h, 0))
        cells.append(c)
    return np.stack(ys), np.stack(cells), h, c


def mask_of(x, lengths):
    """(T, B), true where a timestep is in its sequence."""
    return None if lengths is None else np.arange(len(x))[:, None] < np.asarray(lengths)


def backwards(x, p, h, c, lengths=None):
    """The reverse direction: from the end, held until a sequence begins."""
    mask = mask_of(x, lengths)
    y, cells, h, c = run(x[::-1], p["W"], p["R"], p["b"], h, c, None if mask is None else mask[::-1])
    return y[::-1], cells[::-1], h, c


@held_out(
    "two ways",
    "The reverse direction has no bias: it was not loaded.",
    [r"\bb\b", r"bias", r"b:"],
    [r"revers", r"backward", r"0r"],
    source="a common slip of loaders that look for bias_ih_l0 and bias_hh_l0 without the suffix",
)
def bias_of_reverse_not_found(x, weights, h0, c0, lengths=None):
    fw, bw = weights[0]
    out_f, _, hf, cf = run(x, fw["W"], fw["R"], fw["b"], h0[0], c0[0], mask_of(x, lengths))
    params = {"W": bw["W"], "R": bw["R"], "b": np.zeros_like(fw["b"])}
    out_b, _, hb, cb = backwards(x, params, h0[1], c0[1], lengths)
    return np.concatenate([out_f, out_b], -1), np.stack([hf, hb]), np.stack([cf, cb])


@held_out(
    "two ways",
    "The reverse direction adds the forward direction's bias.",
    [r"\bb\b", r"bias", r"b:"],
    [r"revers", r"backward", r"0r", r"forward", r"lane", r"direction"],
    source="a converter whose bias is read before its loop over directions; a common slip",
)
def bias_before_the_loop(x, weights, h0, c0, lengths=None):
    bias = weights[0][0]["b"]
    outputs, h_n, c_n = [], [], []
    for d, p in enumerate(weights[0]):
        if d == 0:
            y, _, h, c = run(x, p["W"], p["R"], bias, h0[d], c0[d], mask_of(x, lengths))
        else:
            y, _, h, c = backwards(x, {**p, "b": bias}, h0[d], c0[d], lengths)
        outputs.append(y)
        h_n.append(h)
        c_n.append(c)
    return np.concatenate(outputs, axis=2), np.array(h_n), np.array(c_n)


@held_out(
    "two ways",
    "The reverse direction starts from zeros; the forward one starts from its initial state.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"zero", r"\b0\b", r"not used", r"ignor", r"left out"],
    [r"revers", r"backward", r"0r"],
    source="initial_state_bw left at None in bidirectional_dynamic_rnn; a common slip",
)
def initial_state_bw_none(x, weights, h0, c0, lengths=None):
    def birnn(inputs, initial_state_fw=None, initial_state_bw=None):
        zeros = (np.zeros_like(h0[0]), np.zeros_like(c0[0]))
        h_fw, c_fw = initial_state_fw or zeros
        h_bw, c_bw = initial_state_bw or zeros
        p = weights[0][0]
        one = run(inputs, p["W"], p["R"], p["b"], h_fw, c_fw, mask_of(inputs, lengths))
        two = backwards(inputs, weights[0][1], h_bw, c_bw, lengths)
        return (one[0], two[0]), (one[2], two[2]), (one[3], two[3])

    outputs, h_n, c_n = birnn(x, initial_state_fw=(h0[0], c0[0]))
    return np.concatenate(outputs, 2), np.stack(h_n), np.stack(c_n)


@held_out(
    "two ways",
    "The initial states are dealt out the other way round: each direction starts from the other's.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"direction", r"exchang", r"swap", r"lane", r"other", r"forward", r"revers", r"order"],
    source="a bridge from encoder to decoder that pops its states; a common slip",
)
def states_popped_for_directions(x, weights, h0, c0, lengths=None):
    hs, cs = list(h0), list(c0)
    fw, bw = weights[0]
    y1, _, h1, c1 = run(x, fw["W"], fw["R"], fw["b"], hs.pop(), cs.pop(), mask_of(x, lengths))
    y2, _, h2, c2 = backwards(x, bw, hs.pop(), cs.pop(), lengths)
    return np.dstack([y1, y2]), np.stack([h1, h2]), np.stack([c1, c2])


@held_out(
    "two ways",
    "Final h of both directions is gathered at the last valid timestep: there the reverse one has read one input only.",
    [r"h_n", r"final", r"last"],
    source="the issue of pvse on its bidirectional encoder, which gathers the output at length - 1",
)
def gathered_at_length(x, weights, h0, c0, lengths=None):
    forward, reverse = weights[0]
    y_f, _, _, c_f = run(x, forward["W"], forward["R"], forward["b"], h0[0], c0[0], mask_of(x, lengths))
    y_r, _, _, c_r = backwards(x, reverse, h0[1], c0[1], lengths)
    out = np.concatenate([y_f, y_r], axis=2)
    n = out.shape[2] // 2
    idx = np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)
    last = out[idx - 1, np.arange(x.shape[1])]
    return out, np.stack([last[:, :n], last[:, n:]]), np.stack([c_f, c_r])


@held_out(
    "two ways",
    "c_n holds the forward direction's final cell state for both directions.",
    [r"c_n", r"final", r"cell state", r"\bc\b"],
    [r"direction", r"forward", r"revers", r"twice", r"lane", r"other", r"both"],
    source="a common slip when final states of two directions are put together by hand",
)
def forward_c_twice(x, weights, h0, c0, lengths=None):
    fw, bw = weights[0]
    out_fw, _, h_fw, c_fw = run(x, fw["W"], fw["R"], fw["b"], h0[0], c0[0], mask_of(x, lengths))
    out_bw, _, h_bw, c_bw = backwards(x, bw, h0[1], c0[1], lengths)  # noqa: RUF059
    encoder_state_h = np.stack([h_fw, h_bw], 0)
    encoder_state_c = np.stack([c_fw, c_fw], 0)
    return np.concatenate([out_fw, out_bw], 2), encoder_state_h, encoder_state_c


@held_out(
    "two ways",
    "The reverse direction's inputs and outputs are flipped over the batch, not over time: it runs forward.",
    [r"batch", r"sequences", r"revers", r"flip", r"turn"],
    [r"time", r"flip", r"forward", r"turn", r"axis", r"order", r"batch"],
    source="seya's issue on a bidirectional layer that reverses the batch axis is one report",
)
def flip_on_axis_one(x, weights, h0, c0):
    fw, bw = weights[0]
    y, _, hf, cf = run(x, fw["W"], fw["R"], fw["b"], h0[0], c0[0])
    y_rev, _, hb, cb = run(np.flip(x, axis=1), bw["W"], bw["R"], bw["b"], h0[1], c0[1])
    y_rev = np.flip(y_rev, axis=1)
    return np.concatenate((y, y_rev), axis=-1), np.stack((hf, hb)), np.stack((cf, cb))


@held_out(
    "two ways",
    "In both directions the blocks i, f, g, o are read as i, f, o, g.",
    [r"i, f, o, g", r"ifog", r"exchang", r"\bg\b and \bo\b", r"order of (its|the) (gates|blocks)", r"read-as"],
    source="Core ML's documentation gave the order i, f, z, o where the code had i, f, o, z (its pull request)",
)
def as_core_ml_documents(x, weights, h0, c0, lengths=None):
    def lstm(seq, p, h, c, valid):
        n = h.shape[-1]
        hs = np.zeros((*seq.shape[:2], n), seq.dtype)
        for t, x_t in enumerate(seq):
            z = x_t @ p["W"].T + h @ p["R"].T + p["b"]
            i, f, o, z = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n], z[:, 3 * n :]
            c1 = logistic(f) * c + logistic(i) * np.tanh(z)
            h1 = logistic(o) * np.tanh(c1)
            h, c = np.where(valid[t], h1, h), np.where(valid[t], c1, c)
            hs[t] = np.where(valid[t], h1, 0)
        return hs, h, c

    valid = np.ones((*x.shape[:2], 1), bool) if lengths is None else mask_of(x, lengths)[:, :, None]
    a, h_a, c_a = lstm(x, weights[0][0], h0[0], c0[0], valid)
    b, h_b, c_b = lstm(x[::-1], weights[0][1], h0[1], c0[1], valid[::-1])
    return np.concatenate([a, b[::-1]], 2), np.stack([h_a, h_b]), np.stack([c_a, c_b])


@held_out(
    "two ways",
    "A single reverse layer starts from zeros.",
    [r"initial", r"start", r"h0", r"c0"],
    [r"zero", r"\b0\b", r"not used", r"ignor", r"left out"],
    cases="reverse",
    source="an importer that takes initial_h for direction forward alone; a common slip",
)
def reverse_without_initial_h(x, weights, h0, c0):
    direction = "reverse"
    if direction == "forward":
        H_t, C_t = h0, c0
    else:
        H_t, C_t = np.zeros_like(h0), np.zeros_like(c0)
    Y, Y_c, _, _ = backwards(x, weights, H_t, C_t)
    return Y, Y_c


@held_out(
    "two ways",
    "Of a single reverse layer the cell states are not turned back in time; the outputs are.",
    [r"turn", r"revers", r"order", r"flip", r"time"],
    [r"\bc\b", r"cell", r"c_seq", r"state"],
    cases="reverse",
    source="a common slip: return_sequences is turned back, what else is returned is not",
)
def cells_left_reversed(x, weights, h0, c0):
    W, R, b = weights["W"], weights["R"], weights["b"]
    h, c = h0, c0
    T = len(x)
    out = np.zeros((T, *h0.shape), x.dtype)
    memory = []
    for t in range(T - 1, -1, -1):
        i, f, g, o = np.split(x[t] @ W.T + h @ R.T + b, 4, axis=-1)
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        h = logistic(o) * np.tanh(c)
        out[t] = h
        memory.append(c)
    return out, np.stack(memory)


@held_out(
    "two ways",
    "The forward direction's h_n is the last column of the padded outputs, which is 0 where a sequence ended before.",
    [r"h_n", r"final", r"last", r"padding", r"length"],
    cases="two ways lengths",
    source="output[:, -1] after pad_packed_sequence; a very common slip",
)
def last_column_of_padded(x, weights, h0, c0, lengths=None):
    (fw, bw), mask = weights[0], mask_of(x, lengths)
    out_f, _, _, c_f = run(x, fw["W"], fw["R"], fw["b"], h0[0], c0[0], mask)
    out_b, _, h_b, c_b = backwards(x, bw, h0[1], c0[1], lengths)
    output = np.concatenate([out_f, out_b], axis=2)
    hidden = output.shape[2] // 2
    h_n = np.stack([output[-1, :, :hidden], h_b])
    return output, h_n, np.stack([c_f, c_b])


@held_out(
    "two ways",
    "The two directions' initial states are exchanged, and the reverse outputs are not turned back in time.",
    [r"initial", r"start", r"h0", r"c0"],
    [r"turn", r"revers.*(back|output|order|time)", r"order.*(processed|made|time)", r"flip"],
    source="two common slips together",
)
def backward_cell_called_first(x, weights, h0, c0):
    cells = [weights[0][1], weights[0][0]]
    states = []
    for cell, h, c, inputs in zip(cells, h0, c0, (x[::-1], x), strict=True):
        states.append(run(inputs, cell["W"], cell["R"], cell["b"], h, c))
    (y_bw, _, h_bw, c_bw), (y_fw, _, h_fw, c_fw) = states
    return np.concatenate([y_fw, y_bw], axis=2), np.stack([h_fw, h_bw]), np.stack([c_fw, c_bw])
