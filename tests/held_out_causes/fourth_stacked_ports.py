"""Several layers, as reported: language models, samplers, converters."""

from __future__ import annotations

import numpy as np
from register import held_out


def sig(a):
    return 1.0 / (1.0 + np.exp(-a))


def lstm_cell(x_t, p, h, c):
    n = h.shape[1]
    z = x_t @ p["W"].T + h @ p["R"].T + p["b"]
    c = sig(z[:, n : 2 * n]) * c + sig(z[:, :n]) * np.tanh(z[:, 2 * n : 3 * n])
    return sig(z[:, 3 * n :]) * np.tanh(c), c


def layer_over(xs, p, h, c, lengths=None):
    """One layer, right in itself."""
    out = []
    for t, x_t in enumerate(xs):
        h_new, c_new = lstm_cell(x_t, p, h, c)
        if lengths is None:
            h, c = h_new, c_new
            out.append(h)
            continue
        alive = np.less(t, lengths)[:, None]
        h, c = np.where(alive, h_new, h), np.where(alive, c_new, c)
        out.append(np.where(alive, h, 0))
    return np.stack(out), h, c


@held_out(
    "stacked",
    "Dropout is applied between the layers though nothing is trained: random units are 0, others scaled.",
    [r"dropout", r"random", r"same (input|call|problem)", r"differ.*(call|run)", r"determinis", r"repeat"],
    source="F.dropout without training=self.training: the issue of DME, the pull request of SciTSR, and many more",
)
def dropout_always_on(x, weights, h0, c0):
    p_drop = 0.3
    inp, h_n, c_n = x, [], []
    for depth, (params,) in enumerate(weights):
        inp, h, c = layer_over(inp, params, h0[depth], c0[depth])
        if depth < len(weights) - 1:
            keep = np.random.random(inp.shape) >= p_drop  # noqa: NPY002
            inp = inp * keep.astype(inp.dtype) / (1 - p_drop)
        h_n.append(h)
        c_n.append(c)
    return inp, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "The layers above the first have no bias.",
    [r"\bb\b", r"bias", r"b:"],
    [r"layer", r"upper", r"above", r"@1"],
    source="a common slip in builders of stacks where bias is an argument of the first layer alone",
)
def upper_layers_without_bias(x, weights, h0, c0):
    layers = [layer[0] for layer in weights]
    for k in range(1, len(layers)):
        layers[k] = {"W": layers[k]["W"], "R": layers[k]["R"], "b": layers[k]["b"] * 0}
    h, c, tops = list(h0), list(c0), []
    for x_t in x:
        signal = x_t
        for k, p in enumerate(layers):
            h[k], c[k] = lstm_cell(signal, p, h[k], c[k])
            signal = h[k]
        tops.append(signal)
    return np.array(tops), np.array(h), np.array(c)


@held_out(
    "stacked",
    "The layers' weights come in the opposite order: the first layer has the last one's.",
    [r"weights", r"\blane", r"kernel", r"WRb", r"W R b", r"layer"],
    [r"order", r"opposite", r"revers", r"exchang", r"layer", r"other", r"lane"],
    cases="stacked alike",
    source="checkpoints whose layers were put into a list from the front; a common slip",
)
def layers_prepended(x, weights, h0, c0):
    stack = []
    for layer in weights:
        stack.insert(0, layer[0])
    y, finals = x, []
    for p, h_init, c_init in zip(stack, h0, c0, strict=True):
        y, h, c = layer_over(y, p, h_init, c_init)
        finals.append((h, c))
    return y, np.stack([h for h, _ in finals]), np.stack([c for _, c in finals])


@held_out(
    "stacked",
    "The initial states (layers, B, H) are viewed as (B, layers, H) and transposed: layers and sequences are mixed.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"reshap", r"view", r"batch", r"transpos", r"mix", r"sequence", r"lane", r"layer", r"order"],
    source="the issue of Sentence-VAE on constructing hidden states, where a view stands for a transpose",
)
def hidden_viewed(x, weights, h0, c0):
    factor, batch_size, hidden_size = h0.shape
    hidden = h0.reshape(batch_size, factor, hidden_size).transpose(1, 0, 2)
    cells = c0.reshape(batch_size, factor, hidden_size).transpose(1, 0, 2)
    y, h_n, c_n = x, [], []
    for k in range(factor):
        y, h, c = layer_over(y, weights[k][0], hidden[k], cells[k])
        h_n.append(h)
        c_n.append(c)
    return y, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "What goes from a layer to the next goes through one more tanh.",
    [r"tanh"],
    [r"between", r"layer", r"input", r"up\b", r"below", r"upper", r"output"],
    source="Activation('tanh') after a recurrent layer that has its own already; a common slip",
)
def activation_layer_between(x, weights, h0, c0, lengths=None):
    model = []
    for k, layer in enumerate(weights):
        if k > 0:
            model.append(("activation", None))
        model.append(("lstm", (layer[0], h0[k], c0[k])))
    y, h_n, c_n = x, [], []
    for kind, args in model:
        if kind == "activation":
            y = np.tanh(y)
        else:
            y, h, c = layer_over(y, *args, lengths)
            h_n.append(h)
            c_n.append(c)
    return y, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "One state (h, c) is handed through all layers within a step: a layer starts from what the one below just made.",
    [r"state", r"\bh\b", r"\bc\b", r"carr"],
    [r"layer", r"shared?", r"below", r"\bone\b", r"same", r"lane", r"lower"],
    source="loops of the form h, c = cell(x, (h, c)) over cells; GansFallingShort's fix is a report of one",
)
def one_state_threaded(x, weights, h0, c0):
    cells = [layer[0] for layer in weights]
    h, c = h0[0], c0[0]
    outputs = []
    for x_t in x:
        inp = x_t
        for cell in cells:
            h, c = lstm_cell(inp, cell, h, c)
            inp = h
        outputs.append(h)
    return np.stack(outputs), np.stack([h] * len(cells)), np.stack([c] * len(cells))


@held_out(
    "stacked",
    "Between two-way layers the forward outputs stand twice: the next layer does not see the reverse ones.",
    [r"forward", r"twice", r"revers", r"copy", r"copied", r"same"],
    [r"twice", r"between", r"join", r"concat", r"direction", r"both", r"layer", r"copy"],
    cases="stacked two ways",
    source="a copied name in torch.cat of a two-way encoder of several layers; a common slip",
)
def forward_half_twice(x, weights, h0, c0, lengths=None):
    def turn(a):
        if lengths is None:
            return a[::-1]
        turned = a.copy()
        for n, length in enumerate(lengths):
            turned[:length, n] = a[:length, n][::-1]
        return turned

    seq, h_n, c_n = x, [], []
    for k, (fw, bw) in enumerate(weights):
        out_fw, h, c = layer_over(seq, fw, h0[2 * k], c0[2 * k], lengths)
        out_bw, hb, cb = layer_over(turn(seq), bw, h0[2 * k + 1], c0[2 * k + 1], lengths)
        h_n += [h, hb]
        c_n += [c, cb]
        seq = np.concatenate([out_fw, out_fw], axis=2)
    return np.concatenate([out_fw, turn(out_bw)], axis=2), np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "In every layer the blocks i, f, g, o are read as TF has them, i, g, f, o.",
    [r"i, g, f, o", r"i, (j|c), f, o", r"igfo", r"exchang", r"order of (its|the) (gates|blocks)", r"read-as"],
    source="TensorFlow's issue on the order of gates in BasicLSTMCell and CuDNNLSTM",
)
def multi_rnn_cell(x, weights, h0, c0, lengths=None):
    state = [(c0[k], h0[k]) for k in range(len(weights))]
    outputs = []
    for t, inputs in enumerate(x):
        cur_inp = inputs
        for k, layer in enumerate(weights):
            c, h = state[k]
            p = layer[0]
            concat = np.hstack([cur_inp, h]) @ np.hstack([p["W"], p["R"]]).T + p["b"]
            i, j, f, o = np.split(concat, 4, axis=1)
            new_c = c * sig(f) + sig(i) * np.tanh(j)
            new_h = np.tanh(new_c) * sig(o)
            if lengths is not None:
                go = (t < np.asarray(lengths))[:, None]
                cur_inp = np.where(go, new_h, 0)
                new_c, new_h = np.where(go, new_c, c), np.where(go, new_h, h)
            else:
                cur_inp = new_h
            state[k] = (new_c, new_h)
        outputs.append(cur_inp)
    return np.stack(outputs), np.stack([h for _, h in state]), np.stack([c for c, _ in state])


@held_out(
    "stacked",
    "Past a sequence's end the network's output repeats its last valid h instead of being 0.",
    [r"length", r"padding", r"\bend\b", r"past", r"after"],
    [r"repeat", r"kept", r"last", r"held", r"zero", r"goes on", r"\bh\b"],
    cases="stacked lengths",
    source="Keras' layers with a mask repeat their last output, packed sequences have 0; a common difference",
)
def masked_stack_repeats(x, weights, h0, c0, lengths=None):
    T, B = x.shape[:2]
    mask = np.ones((T, B), bool) if lengths is None else np.arange(T)[:, None] < np.asarray(lengths)[None]
    h_n, c_n, layer_in = [], [], x
    for k in range(len(weights)):
        h, c = h0[k], c0[k]
        layer_out = []
        for t in range(T):
            h_t, c_t = lstm_cell(layer_in[t], weights[k][0], h, c)
            h = np.where(mask[t, :, None], h_t, h)
            c = np.where(mask[t, :, None], c_t, c)
            layer_out.append(h)
        layer_in = np.stack(layer_out)
        h_n.append(h)
        c_n.append(c)
    return layer_in, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "All layers start from zeros, and between them h goes through one more tanh.",
    [r"initial", r"start", r"h0", r"c0", r"zero"],
    [r"tanh"],
    source="two common slips together",
)
def sampler_from_zeros(x, weights, h0, c0):
    hprev = {k: np.zeros_like(h0[k]) for k in range(len(weights))}
    cprev = {k: np.zeros_like(c0[k]) for k in range(len(weights))}
    ys = []
    for inp in x:
        v = inp
        for k in range(len(weights)):
            hprev[k], cprev[k] = lstm_cell(v, weights[k][0], hprev[k], cprev[k])
            v = np.tanh(hprev[k])
        ys.append(hprev[len(weights) - 1])
    return np.stack(ys), np.stack(list(hprev.values())), np.stack(list(cprev.values()))
