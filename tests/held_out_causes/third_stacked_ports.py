# ruff: noqa: ARG001 (code as people write it)
"""Several layers, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out
from third_two_way_ports import backwards, mask_of, sig, step, unroll


@held_out(
    "stacked",
    "Every layer reads the network's input x instead of the outputs of the layer below.",
    [r"\bx\b", r"input"],
    [r"layer", r"below", r"upper", r"every"],
    cases="stacked alike",
    source="Currie32/Spell-Checker, issue 12: multi-layer lstm implemention",
)
def rnn_inputs_again(x, weights, h0, c0):
    rnn_inputs = x
    states = []
    for layer, (cell,) in enumerate(weights):
        enc_output, h, c = unroll(rnn_inputs, cell, h0[layer], c0[layer])
        states.append((h, c))
    return enc_output, np.stack([h for h, _ in states]), np.stack([c for _, c in states])


def network(x, layers, h0, c0, mask=None):
    """Layers of two directions each, rightly."""
    y, hn, cn = x, [], []
    for lanes in layers:
        sides = []
        for d, p in enumerate(lanes):
            k = len(hn)
            out, h, c = unroll(y, p, h0[k], c0[k], mask, backwards(x) if d else None)
            sides.append(out)
            hn.append(h)
            cn.append(c)
        y = np.concatenate(sides, axis=2)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Flat weights are listed direction by direction (l0, l1, l0r, l1r) and taken layer by layer (l0, l0r, l1, l1r).",
    [r"weights", r"\blane", r"W R b", r"WRb", r"kernel", r"parameters"],
    [r"direction", r"layer", r"order", r"\blane"],
    cases="stacked two ways alike",
    source="pytorch/pytorch, pull request 22850: Bidirectional GRU and LSTM C++ API forward fix",
)
def flat_weights(x, weights, h0, c0):
    number = range(len(weights))
    flat = [weights[layer][direction] for direction in range(2) for layer in number]
    layers = [flat[k : k + 2] for k in range(0, len(flat), 2)]
    return network(x, layers, h0, c0)


@held_out(
    "stacked",
    "The layers above the second are copies of the second: they use its weights.",
    [r"weights", r"\blane", r"W R b", r"WRb", r"kernel"],
    [r"layer", r"second", r"another", r"\blane"],
    source="suriyadeepan/practical_seq2seq, issue 61: [basic_cell]*num_layers is really what you want?",
)
def basic_cell_times_layers(x, weights, h0, c0):
    first, *upper = [lanes[0] for lanes in weights]
    stacked_lstm = [first] + [upper[0]] * len(upper)
    state = list(zip(h0, c0, strict=True))
    outputs = []
    for inp in x:
        for k, cell in enumerate(stacked_lstm):
            state[k] = step(inp, *state[k], cell)
            inp = state[k][0]  # noqa: PLW2901
        outputs.append(inp)
    return np.stack(outputs), np.stack([h for h, _ in state]), np.stack([c for _, c in state])


@held_out(
    "stacked",
    "What comes out of the network is the top layer's cell state, not its h.",
    [r"\bc\b", r"cell state"],
    [r"output", r"top", r"h_seq", r"\bh\b", r"last layer", r"instead"],
    source="pytorch/examples, pull request 222: h rather than c should be fed into the next layer of LSTM",
)
def sine_wave(x, weights, h0, c0):
    h_t, c_t = list(h0), list(c0)
    outputs = []
    for input_t in x:
        below = input_t
        for n, (lstm,) in enumerate(weights):
            h_t[n], c_t[n] = step(below, h_t[n], c_t[n], lstm)
            below = h_t[n]
        outputs += [c_t[-1]]
    return np.stack(outputs), np.stack(h_t), np.stack(c_t)


@held_out(
    "stacked",
    "Every layer starts from the top layer's initial state.",
    [r"initial", r"start", r"h0", r"state"],
    [r"top", r"last", r"upper", r"another layer", r"\blane", r"layer"],
    source="bentrevett/pytorch-seq2seq, issue 29: multilayer decoder",
)
def hidden_minus_one(x, weights, h0, c0):
    hidden = np.repeat(h0[-1:], len(weights), axis=0)
    cell = np.repeat(c0[-1:], len(weights), axis=0)
    output, finals = x, []
    for layer, lanes in enumerate(weights):
        output, h_l, c_l = unroll(output, lanes[0], hidden[layer], cell[layer])
        finals.append([h_l, c_l])
    hn, cn = (np.stack(states) for states in zip(*finals, strict=True))
    return output, hn, cn


@held_out(
    "stacked",
    "The initial states are dealt out from the top layer down.",
    [r"initial", r"start", r"h0", r"state"],
    [r"order", r"layer", r"revers", r"\blane", r"exchang", r"top"],
    source="a common slip (a list of states that is consumed by pop())",
)
def states_popped(x, weights, h0, c0, lengths=None):
    pending = [*zip(h0, c0, strict=True)]
    mask = mask_of(x, lengths)
    seq, done = x, []
    for (params,) in weights:
        h, c = pending.pop()
        seq, h, c = unroll(seq, params, h, c, mask)
        done.append((h, c))
    return seq, np.stack([s[0] for s in done]), np.stack([s[1] for s in done])


@held_out(
    "stacked",
    "An upper layer reads what the layer below gave one timestep earlier.",
    [r"before", r"previous", r"earlier", r"late", r"delay", r"t ?[-\N{MINUS SIGN}] ?1", r"h_in", r"last step"],
    [r"layer", r"below", r"input", r"upper", r"between"],
    source="a common slip (all layers are stepped from the old states)",
)
def stepped_together(x, weights, h0, c0):
    cells = [lanes[0] for lanes in weights]
    h, c, top = list(h0), list(c0), []
    for x_t in x:
        before = list(h)
        for k, cell in enumerate(cells):
            below = x_t if k == 0 else before[k - 1]
            h[k], c[k] = step(below, h[k], c[k], cell)
        top.append(h[-1])
    return np.stack(top), np.stack(h), np.stack(c)


@held_out(
    "stacked",
    "Only the first layer knows the lengths: the layers above run on through the padding.",
    [r"length", r"padding"],
    [r"layer", r"upper", r"above", r"@1", r"first", r"second"],
    cases="stacked lengths",
    source="tensorflow/tensorflow, issue 6633: CudnnRnnSequenceTensorDescriptor, different sequence lengths",
)
def mask_for_the_first(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    hn, cn, y = [], [], x
    for k, (p,) in enumerate(weights):
        y, h, c = unroll(y, p, h0[k], c0[k], mask if k == 0 else None)
        if mask is not None:
            y = y * mask[..., None]
        hn.append(h)
        cn.append(c)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "The biases of the layers are put in the wrong order: each layer gets that of its opposite.",
    [r"bias", r"\bb\b", r"b:"],
    [r"layer", r"order", r"exchang", r"another", r"\blane", r"revers"],
    source="magenta/magenta, pull request 1015: Correct order of biases in BackwardCompatibleCudnnLSTMSaveable",
)
def saved_biases(x, weights, h0, c0):
    kernels = [(lanes[0]["W"], lanes[0]["R"]) for lanes in weights]
    biases = [lanes[0]["b"] for lanes in weights]
    biases.reverse()
    y, h_out, c_out = x, [], []
    for (W, R), b, h, c in zip(kernels, biases, h0, c0, strict=True):
        rows = []
        for y_t in y:
            i, f, g, o = np.split(np.concatenate([y_t, h], 1) @ np.concatenate([W, R], 1).T + b, 4, 1)
            c = sig(f) * c + sig(i) * np.tanh(g)  # noqa: PLW2901
            h = sig(o) * np.tanh(c)  # noqa: PLW2901
            rows.append(h)
        y = np.stack(rows)
        h_out.append(h)
        c_out.append(c)
    return y, np.stack(h_out), np.stack(c_out)


@held_out(
    "stacked",
    "A residual: an upper layer's input is added to its output.",
    [r"residual", r"added", r"skip", r"\+", r"sum"],
    [r"input", r"layer", r"below", r"output"],
    source="guillaume-chevalier/HAR-stacked-residual-bidir-LSTMs, issue 12: question about add_highway_redisual",
)
def highway_residual(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    hidden, h, c = unroll(x, weights[0][0], h0[0], c0[0], mask)
    hs, cs = [h], [c]
    for i in range(1, len(weights)):
        layer, h, c = unroll(hidden, weights[i][0], h0[i], c0[i], mask)
        hidden = hidden + layer
        hs.append(h)
        cs.append(c)
    return hidden, np.stack(hs), np.stack(cs)


@held_out(
    "stacked",
    "Between the layers h is multiplied by 0.8, as if a retention rate of dropout applied here.",
    [r"scal", r"0\.8", r"dropout", r"multipl", r"factor", r"smaller", r"times"],
    source="clab/dynet, pull request 182: First attempt at Yarin Gal dropout for LSTM (rate or retention rate)",
)
def retention_rate(x, weights, h0, c0):
    keep = x.dtype.type(0.8)
    y, h_n, c_n = x, np.zeros_like(h0), np.zeros_like(c0)
    for layer in range(len(weights)):
        if layer:
            y = y * keep
        y, h_n[layer], c_n[layer] = unroll(y, weights[layer][0], h0[layer], c0[layer])
    return y, h_n, c_n


@held_out(
    "stacked",
    "The final states come back as (c_n, h_n) instead of (h_n, c_n).",
    [r"h_n.*c_n", r"c_n.*h_n", r"final", r"states?"],
    [r"exchang", r"swap", r"order", r"instead", r"for c", r"for h", r"is c", r"is h"],
    source="asyml/texar-pytorch, issue 198: Question related to LSTMCell output; (h,c) vs (c, h)",
)
def state_tuple_c_h(x, weights, h0, c0, lengths=None):
    mask = mask_of(x, lengths)
    outputs, final_h, final_c = x, [], []
    for k, lanes in enumerate(weights):
        outputs, h, c = unroll(outputs, lanes[0], h0[k], c0[k], mask)
        final_h.append(h)
        final_c.append(c)
    final_h, final_c = final_c, final_h
    return outputs, np.stack(final_h), np.stack(final_c)


@held_out(
    "stacked",
    "In every layer the cell state starts from h0: one initial tensor serves for h and c.",
    [r"c0.*h0", r"initial.*(cell|\bc\b)", r"h0.*c0", r"cell.*(start|initial)"],
    source="keras-team/keras, issue 11520: Possible bug in LSTM __call__ initial_state parameter",
)
def init_state_twice(x, weights, h0, c0):
    h_X, last = x, []
    for layer in range(len(weights)):
        init_state = h0[layer]
        h_X, *state = unroll(h_X, weights[layer][0], *[init_state, init_state])
        last.append(state)
    return h_X, np.stack([s[0] for s in last]), np.stack([s[1] for s in last])


@held_out(
    "stacked",
    "An upper layer sees the first timestep's output of the layer below at every timestep.",
    [r"first|timestep 0|step 0|t = 0"],
    [r"step", r"time"],
    source="pjreddie/darknet, issue 2366: Are RNN, LSTM, GRU layers implemented currectly?",
)
def first_step_handed_up(x, weights, h0, c0):
    T = len(x)
    net_input = x
    hs, cs = [], []
    for k, (params,) in enumerate(weights):
        h, c = h0[k], c0[k]
        l_output = np.empty((T, *h.shape), x.dtype)
        for t in range(T):
            h, c = step(net_input[t], h, c, params)
            l_output[t] = h
        hs.append(h)
        cs.append(c)
        net_input = np.broadcast_to(l_output[:1], l_output.shape)
    return l_output, np.stack(hs), np.stack(cs)


@held_out(
    "stacked",
    "Between the layers the reverse outputs are left in reverse order; only the last layer's are turned back.",
    [r"turn", r"revers", r"order", r"flip"],
    [r"layer", r"between", r"below", r"upper", r"output"],
    cases="stacked two ways",
    source="keras-team/keras, pull request 1001: Fixed error go_backward and return sequences (stacking Bidirectional)",
)
def stacked_go_backwards(x, weights, h0, c0):
    y, hn, cn = x, [], []
    for n, (fw, bw) in enumerate(weights):
        a, ha, ca = unroll(y, fw, h0[2 * n], c0[2 * n])
        b, hb, cb = unroll(y[::-1], bw, h0[2 * n + 1], c0[2 * n + 1])
        if n == len(weights) - 1:
            b = b[::-1]
        y = np.concatenate([a, b], axis=2)
        hn += [ha, hb]
        cn += [ca, cb]
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Every layer reads x itself, and the initial states are dealt out from the top down.",
    [r"\bx\b", r"input"],
    [r"initial", r"start", r"h0", r"state"],
    cases="stacked alike",
    source="inyukwo1/tree-lstm, issue 2: MultiLayer LSTM (the original input again), with a common slip",
)
def original_input_and_popped(x, weights, h0, c0):
    states = list(zip(h0, c0, strict=True))
    states.reverse()
    finals, hidden = [], x
    for (cell,), (h, c) in zip(weights, states, strict=True):
        source = x
        hidden, h_end, c_end = unroll(source, cell, h, c)
        finals.append((h_end, c_end))
    return hidden, np.stack([h for h, _ in finals]), np.stack([c for _, c in finals])


@held_out(
    "stacked",
    "The upper layers start from zeros, and what is returned as output is the top layer's cell state.",
    [r"initial", r"start", r"h0", r"zero"],
    [r"\bc\b", r"cell state"],
    source="pytorch/examples, issue 167: Stacked LSTMCells in time_sequence_prediction example, with a common slip",
)
def predicted_cell_from_zeros(x, weights, h0, c0):
    h, c = [np.zeros_like(a) for a in h0], [np.zeros_like(a) for a in c0]
    h[0], c[0] = h0[0], c0[0]
    outs = []
    for inp in x:
        for k in range(len(weights)):
            h[k], c[k] = step(inp if k == 0 else h[k - 1], h[k], c[k], weights[k][0])
        outs.append(c[-1])
    return np.stack(outs), np.stack(h), np.stack(c)


@held_out(
    "stacked",
    "An upper layer's input is added to its output, and every layer starts from the top layer's initial state.",
    [r"residual", r"added", r"skip", r"\+", r"sum"],
    [r"initial", r"start", r"h0", r"state"],
    source="neulab/xnmt, pull request 39 (residual connections), with bentrevett/pytorch-seq2seq, issue 29",
)
def residual_from_the_top(x, weights, h0, c0):
    state = (h0[-1], c0[-1])
    seq, ends = x, []
    for depth, (cell,) in enumerate(weights):
        out, *end = unroll(seq, cell, *state)
        seq = out if depth == 0 else seq + out
        ends.append(end)
    return seq, np.stack([h for h, _ in ends]), np.stack([c for _, c in ends])
