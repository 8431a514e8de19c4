"""Layers on layers, as reported: language models, MultiRNNCell, loaders of weights by layer."""

from __future__ import annotations

import numpy as np
from register import held_out


def sig(v):
    return 0.5 * (1 + np.tanh(0.5 * v))


def cell(inp, state, p):
    """One step, right in itself: (h, c)."""
    h, c = state
    i, f, g, o = np.split(inp @ p["W"].T + h @ p["R"].T + p["b"], 4, axis=1)
    c = sig(f) * c + sig(i) * np.tanh(g)
    return sig(o) * np.tanh(c), c


def unroll(inputs, state, p):
    """One layer over time, right in itself: outputs, (h, c)."""
    outputs = []
    for inp in inputs:
        state = cell(inp, state, p)
        outputs.append(state[0])
    return np.stack(outputs), state


@held_out(
    "stacked",
    "Every layer reads x, and not the output of the layer below: the loop does not pass it on.",
    [r"\bx\b", r"network's input", r"first input", r"\binputs?\b"],
    [r"every layer", r"each layer", r"all layers", r"not the output", r"below", r"above", r"upper"],
    source="loops over a ModuleList whose input is not assigned anew; a common slip",
    cases="stacked alike",
)
def every_layer_reads_x(x, weights, h0, c0):
    """A loop over layers in which out is assigned and x is passed: with equal widths nothing complains."""

    class StackedLSTM:
        def __init__(self, layers):
            self.layers = layers

        def forward(self, x, hx):
            h_1, c_1 = [], []
            for layer, state in zip(self.layers, hx, strict=True):
                out, (h, c) = unroll(x, state, layer[0])
                h_1.append(h)
                c_1.append(c)
            return out, (np.stack(h_1), np.stack(c_1))

    out, (h_n, c_n) = StackedLSTM(weights).forward(x, list(zip(h0, c0, strict=True)))
    return out, h_n, c_n


@held_out(
    "stacked",
    "The final states come in the reverse order of layers: each is put in front of the others.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"order", r"revers", r"swap", r"exchang", r"top"],
    source="states collected with insert(0, ...) or by recursion from the top; a common slip",
)
def states_put_in_front(x, weights, h0, c0):
    """A recursion over layers: the states of the layers above are joined before the own one."""

    def run_from(k, seq):
        out, state = unroll(seq, (h0[k], c0[k]), weights[k][0])
        if k + 1 == len(weights):
            return out, [state]
        out, above = run_from(k + 1, out)
        return out, [*above, state]

    out, states = run_from(0, x)
    return out, np.stack([h for h, _ in states]), np.stack([c for _, c in states])


@held_out(
    "stacked",
    "Layers above the first one add their input to their output: residual connections of another model.",
    [r"residual", r"skip", r"\badd", r"\bsum", r"\bplus\b", r"\+"],
    [r"input", r"layer", r"output", r"below"],
    source="ResidualWrapper around upper cells, kept for weights that were trained without; a common slip",
    cases="stacked alike",
)
def residual_wrapper_kept(x, weights, h0, c0):
    """A decoder after GNMT: from the second layer on inputs are added to outputs."""

    def residual_wrapper(step):
        def call(inputs, state, p):
            output, new_state = step(inputs, state, p)
            return inputs + output, new_state

        return call

    def plain_step(inputs, state, p):
        new_state = cell(inputs, state, p)
        return new_state[0], new_state

    cells = [plain_step if k == 0 else residual_wrapper(plain_step) for k in range(len(weights))]
    states = list(zip(h0, c0, strict=True))
    outputs = []
    for inp in x:
        output = inp
        for k, step in enumerate(cells):
            output, states[k] = step(output, states[k], weights[k][0])
        outputs.append(output)
    return np.stack(outputs), np.stack([s[0] for s in states]), np.stack([s[1] for s in states])


@held_out(
    "stacked",
    "All layers are the same cell: the weights of the first one are used in every layer.",
    [r"same", r"share", r"first layer", r"layer 0", r"l0", r"one layer"],
    [r"weight", r"\bW", r"parameters", r"kernel"],
    source="tensorflow/models pull request 2878 and BERT-BiLSTM-CRF-NER issue 252: [cell] * num_layers",
    cases="stacked alike",
)
def list_times_number_of_layers(x, weights, h0, c0):
    """Reported of several models for TensorFlow: a list multiplied holds one object many times."""

    def make_cell(k):
        return lambda inputs, state: cell(inputs, state, weights[k][0])

    cells = [make_cell(0)] * len(weights)
    states, outputs = list(zip(h0, c0, strict=True)), []
    for inputs in x:
        below = inputs
        for k, one in enumerate(cells):
            states[k] = one(below, states[k])
            below = states[k][0]
        outputs.append(below)
    return np.stack(outputs), np.stack([h for h, _ in states]), np.stack([c for _, c in states])


@held_out(
    "stacked",
    "Layers above the first one lack bias_hh: the loader sums both biases of layer 0 alone.",
    [r"bias", r"\bb\b", r"b_hh", r"b:"],
    [r"layer", r"l1", r"above"],
    [
        r"bias_hh",
        r"b_hh",
        r"one of",
        r"second",
        r"recurrent",
        r"left out",
        r"missing",
        r"not (added|loaded|used)",
        r"lacks?",
        r"only",
    ],
    source="ports of PyTorch's two biases: that they are summed is known of layer 0, and forgotten in the loop",
    layout="torch",
)
def bias_hh_of_layer_0_only(x, weights, h0, c0):
    """A loader in which layer 0 stands by itself, as its input has another width."""

    def get(k, name):
        (values,) = [v for key, v in weights[k][0].items() if key.startswith(name)]
        return values

    layers = [{"W": get(0, "weight_ih"), "R": get(0, "weight_hh"), "b": get(0, "bias_ih") + get(0, "bias_hh")}]
    layers += [
        {"W": get(k, "weight_ih"), "R": get(k, "weight_hh"), "b": get(k, "bias_ih")} for k in range(1, len(weights))
    ]
    out, h_n, c_n = x, [], []
    for k, p in enumerate(layers):
        out, (h, c) = unroll(out, (h0[k], c0[k]), p)
        h_n.append(h)
        c_n.append(c)
    return out, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "The final states are ordered by direction (forward layers, then reverse ones), and should be by layer.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"order", r"direction", r"exchang", r"swap", r"layer.*(first|major)", r"forward.*then"],
    source="OpenNMT-py issue 61: how the (layers * directions) axis of h_n is ordered",
    cases="stacked two ways",
)
def finals_by_direction(x, weights, h0, c0, lengths=None):
    """Asked of a translation system: forward 0, forward 1, ... then backward 0, ..., or in pairs."""
    L = len(weights)
    finals = {}
    out = x
    ends = np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)
    steps = np.arange(len(x))[:, None]
    turn = np.where(steps < ends, ends - 1 - steps, steps)[:, :, None]
    for layer, (fw, bw) in enumerate(weights):
        halves = []
        for d, p in enumerate((fw, bw)):
            seq = np.take_along_axis(out, turn, 0) if d else out
            h, c, ys = h0[2 * layer + d], c0[2 * layer + d], []
            for t, inp in enumerate(seq):
                h_new, c_new = cell(inp, (h, c), p)
                alive = (t < ends)[:, None]
                h, c = np.where(alive, h_new, h), np.where(alive, c_new, c)
                ys.append(h_new * alive)
            y = np.stack(ys)
            halves.append(np.take_along_axis(y, turn, 0) if d else y)
            finals[d, layer] = h, c
        out = np.concatenate(halves, -1)
    order = [(d, layer) for d in range(2) for layer in range(L)]
    return out, np.stack([finals[k][0] for k in order]), np.stack([finals[k][1] for k in order])


@held_out(
    "stacked",
    "The initial states are viewed as (directions, layers): layers and directions get each other's.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"order", r"direction", r"exchang", r"swap", r"view", r"reshap", r"lane", r"other"],
    source="yzhangcs/parser issue 48: how the initial states are viewed by layers and directions",
    cases="stacked two ways",
)
def states_viewed_by_direction(x, weights, h0, c0):
    """Asked of a parser's own LSTM, which reshapes hx before its loops over layers and directions."""
    num_layers, num_directions = len(weights), 2
    batch, hidden = h0.shape[1:]
    shape = (num_directions, num_layers, batch, hidden)
    h, c = (np.swapaxes(s.reshape(shape), 0, 1) for s in (h0, c0))
    hn, cn = [], []
    for i in range(num_layers):
        f_out, f_state = unroll(x, (h[i, 0], c[i, 0]), weights[i][0])
        b_out, b_state = unroll(x[::-1], (h[i, 1], c[i, 1]), weights[i][1])
        x = np.concatenate([f_out, b_out[::-1]], -1)
        hn += [f_state[0], b_state[0]]
        cn += [f_state[1], b_state[1]]
    return x, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Between layers the output is multiplied by 0.8, the probability of being kept: dropout is scaled when testing.",
    [r"0\.8", r"scal", r"factor", r"dropout", r"multipl", r"times"],
    [r"layer", r"between", r"input", r"output", r"below", r"above"],
    source="dropout that is scaled at test time (old Caffe, Theano) beside weights of inverted dropout; a common slip",
)
def scaled_as_if_dropped(x, weights, h0, c0):
    """A model trained with inverted dropout, in code that multiplies by keep_prob when it predicts."""
    keep_prob = 0.8

    def dropout(a, *, train):
        return a if train else a * keep_prob

    layer_output = x
    h_n, c_n = np.empty_like(h0), np.empty_like(c0)
    for k, (p,) in enumerate(weights):
        inputs = layer_output if k == 0 else dropout(layer_output, train=False)
        layer_output, (h_n[k], c_n[k]) = unroll(inputs, (h0[k], c0[k]), p)
    return layer_output, h_n, c_n


@held_out(
    "stacked",
    "A layer above reads the last output of the layer below at every timestep: return_sequences is off.",
    [r"last", r"final", r"T - 1"],
    [r"every", r"all", r"each", r"repeat", r"layer", r"below"],
    source="questions on stacked LSTMs in Keras: return_sequences=False, mended by RepeatVector; a common slip",
)
def repeat_vector_between_layers(x, weights, h0, c0):
    """Asked often of Keras: expected ndim=3, found ndim=2; RepeatVector makes it run."""

    def lstm(inputs, k, *, return_sequences):
        sequence, state = unroll(inputs, (h0[k], c0[k]), weights[k][0])
        return (sequence if return_sequences else sequence[-1]), state

    def repeat_vector(vector, n):
        return np.repeat(vector[None], n, axis=0)

    states = []
    net = x
    for k in range(len(weights)):
        is_top = k == len(weights) - 1
        net, state = lstm(net, k, return_sequences=is_top)
        net = net if is_top else repeat_vector(net, len(x))
        states.append(state)
    return net, np.stack([s[0] for s in states]), np.stack([s[1] for s in states])


@held_out(
    "stacked",
    "A layer above reads what the layer below gave a timestep before: the old list of states is read.",
    [
        r"before",
        r"previous",
        r"\bold\b",
        r"late",
        r"earlier",
        r"delay",
        r"\blag",
        r"shift",
        r"last (step|timestep)",
        r"t - 1",
    ],
    [r"layer", r"below", r"above", r"input"],
    source="loops in C++ over layers that read one buffer and write another; a common slip",
)
def reads_the_old_buffer(x, weights, h0, c0):
    """Two buffers that change places after each timestep, so that nothing is overwritten too early."""
    h_prev, c_prev = h0.copy(), c0.copy()
    h_next, c_next = np.empty_like(h_prev), np.empty_like(c_prev)
    outputs = []
    for t in range(len(x)):
        for l in range(len(weights)):
            source = x[t] if l == 0 else h_prev[l - 1]
            h_next[l], c_next[l] = cell(source, (h_prev[l], c_prev[l]), weights[l][0])
        outputs.append(h_next[-1].copy())
        h_prev, h_next = h_next, h_prev
        c_prev, c_next = c_next, c_prev
    return np.array(outputs), h_prev, c_prev


@held_out(
    "stacked",
    "The output is that of the first layer, and should be the top one's.",
    [r"output", r"h_seq", r"\bh\b"],
    [r"first layer", r"layer 0", r"lowest", r"bottom", r"l0", r"below", r"not the (top|last)", r"another layer"],
    source="outputs[0] of a list over layers taken for the result (ml-toolkit issue 1: which index is the last layer)",
)
def outputs_of_layer_0(x, weights, h0, c0):
    """A module that keeps the outputs of all layers in a list, and an index at its end."""
    outputs, hidden = [], []
    seq = x
    for i_layer, (params,) in enumerate(weights):
        seq, state = unroll(seq, (h0[i_layer], c0[i_layer]), params)
        outputs.append(seq)
        hidden.append(state)
    final_output = outputs[0]
    h_n, c_n = (np.stack([state[k] for state in hidden]) for k in range(2))
    return final_output, h_n, c_n


@held_out(
    "stacked",
    "In layers above the first one W and R are exchanged: both are (4H, H), and the loader sorts their names.",
    [r"\bW\b", r"W,? (and|R)", r"input.*kernel", r"input.*weights", r"weight_ih"],
    [r"\bR\b", r"recurrent", r"hidden", r"weight_hh"],
    [r"swap", r"exchang", r"in the place", r"other", r"instead", r"each other", r"as R", r"as W"],
    source="a loader that takes arrays by the alphabet (hh before ih) and is right where shapes tell; a common slip",
)
def sorted_names_of_arrays(x, weights, h0, c0):
    """Weights saved under their names: the shapes tell which is which in layer 0, and nothing does above it."""

    def load(k):
        p = weights[k][0]
        archive = {"weight_ih": p["W"], "weight_hh": p["R"]}
        hh, ih = (archive[name] for name in sorted(archive))
        if k > 0:
            hh, ih = ih, hh
        return {"W": ih, "R": hh, "b": p["b"]}

    result, hs, cs = x, [], []
    for k in range(len(weights)):
        result, (h, c) = unroll(result, (h0[k], c0[k]), load(k))
        hs.append(h)
        cs.append(c)
    return result, np.stack(hs), np.stack(cs)
