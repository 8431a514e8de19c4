"""Several layers, second set."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def cell(v, h, c, w):
    i, f, g, o = np.split(v @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def layer(seq, w, h, c, *, back=False):
    """One direction of one layer, outputs in the order of time."""
    ys = np.empty((*seq.shape[:2], h.shape[-1]), seq.dtype)
    for t in range(len(seq))[:: -1 if back else 1]:
        h, c = cell(seq[t], h, c, w)
        ys[t] = h
    return ys, h, c


@held_out(
    "stacked",
    "Every layer reads the network's input x: what goes into an upper layer is not the output of the one below.",
    [r"\bx\b", r"input of the (network|first)", r"network's input", r"first layer's input"],
    [r"layer", r"upper", r"below", r"lane"],
    cases="stacked alike",
    source="https://github.com/guillaume-chevalier/HAR-stacked-residual-bidir-LSTMs/issues/12",
)
def input_never_replaced(x, weights, h0, c0):
    input_hidden_tensor = x
    hidden_lstm_layer = x
    hs, cs = [], []
    for k in range(len(weights)):
        hidden_lstm_layer, h, c = layer(input_hidden_tensor, weights[k][0], h0[k], c0[k])
        hs.append(h)
        cs.append(c)
    return hidden_lstm_layer, np.stack(hs), np.stack(cs)


@held_out(
    "stacked",
    "Residual connections: what a layer above the first puts out is added to its input before it goes on.",
    [r"residual", r"\badd", r"\bsum\b", r"skip"],
    source="https://github.com/neulab/xnmt/pull/39",
)
def residual_above_the_first(x, weights, h0, c0):
    es, hn, cn = x, [], []
    for k, (w,) in enumerate(weights):
        ys, h, c = layer(es, w, h0[k], c0[k])
        es = ys if k == 0 else ys + es
        hn.append(h)
        cn.append(c)
    return es, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "What goes from a layer to the next is multiplied by 0.8 (dropout's scale, applied in evaluation too).",
    [r"0\.8", r"scal", r"factor", r"times", r"multipl", r"dropout"],
    [r"layer", r"between", r"below", r"upper", r"input"],
    source="https://github.com/OpenNMT/OpenNMT-py/issues/29",
    layout="torch",
)
def dropout_scale_in_evaluation(x, weights, h0, c0):
    """A stack of cells run step by step; where training drops, evaluation scales."""
    keep = x.dtype.type(0.8)

    def lstm_cell(inp, hx, cx, w):
        gates = inp @ w["weight_ih_l0"].T + hx @ w["weight_hh_l0"].T + (w["bias_ih_l0"] + w["bias_hh_l0"])
        i, f, g, o = np.split(gates, 4, axis=1)
        cy = sigmoid(f) * cx + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(cy), cy

    h_0, c_0, outputs = list(h0), list(c0), []
    num_layers = len(weights)
    for emb in x:
        inp = emb
        for i in range(num_layers):
            h_0[i], c_0[i] = lstm_cell(inp, h_0[i], c_0[i], weights[i][0])
            inp = h_0[i]
            if i + 1 != num_layers:
                inp = inp * keep
        outputs.append(inp)
    return np.stack(outputs), np.stack(h_0), np.stack(c_0)


@held_out(
    "stacked",
    "A layer above the first has the bias of the layer below it.",
    [r"bias", r"\bb\b", r"\bb:", r"b@"],
    [r"below", r"layer", r"first", r"another", r"other", r"lane"],
    source="https://github.com/apache/mxnet/issues/15745",
)
def bias_pointer_one_layer_behind(x, weights, h0, c0):
    """All weights in one buffer, as a kernel has them: kernels of all layers first, then all biases."""
    L, H = len(weights), h0.shape[-1]
    params = np.concatenate(
        [np.concatenate([w["W"].ravel(), w["R"].ravel()]) for (w,) in weights] + [w["b"] for (w,) in weights]
    )
    bias_ptr = params.size - L * 4 * H
    ws_ptr, y = 0, x
    hy, cy = np.empty_like(h0), np.empty_like(c0)
    for k in range(L):
        n = y.shape[2]
        wx = params[ws_ptr : ws_ptr + 4 * H * n].reshape(4 * H, n)
        ws_ptr += 4 * H * n
        wh = params[ws_ptr : ws_ptr + 4 * H * H].reshape(4 * H, H)
        ws_ptr += 4 * H * H
        bias = params[bias_ptr : bias_ptr + 4 * H]
        if k > 0:
            bias_ptr += 4 * H
        y, hy[k], cy[k] = layer(y, {"W": wx, "R": wh, "b": bias}, h0[k], c0[k])
    return y, hy, cy


@held_out(
    "stacked",
    "h_n and c_n hold the top layer's final state for every layer.",
    [r"h_n", r"c_n", r"final"],
    [r"top", r"last layer", r"upper", r"layer", r"lane", r"repeat"],
    source="https://github.com/deeppavlov/DeepPavlov/pull/398",
)
def last_state_for_every_layer(x, weights, h0, c0):
    units = x
    all_states = []
    for (w,), h, c in zip(weights, h0, c0, strict=True):
        units, h_last, c_last = layer(units, w, h, c)
        all_states.append((h_last, c_last))
    state_h = np.stack([h_last for _ in all_states])
    state_c = np.stack([c_last for _ in all_states])
    return units, state_h, state_c


@held_out(
    "stacked",
    "Only the first layer starts from its initial state; all above it start from zeros.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"zero", r"\b0\b", r"not used", r"ignor"],
    [r"layer", r"upper", r"lane", r"above"],
    source="https://github.com/jzilly/RecurrentHighwayNetworks/pull/6",
    layout="keras",
)
def initial_state_of_the_first_only(x, weights, h0, c0):
    class Layer:
        def __init__(self, w):
            self.kernel, self.recurrent_kernel, self.bias = w["kernel"], w["recurrent_kernel"], w["bias"]

        def __call__(self, inputs, initial_state=None):
            units = len(self.recurrent_kernel)
            zeros = np.zeros((inputs.shape[1], units), inputs.dtype)
            h, c = initial_state or (zeros, zeros)
            ys = []
            for v in inputs:
                z = v @ self.kernel + h @ self.recurrent_kernel + self.bias
                i, f, g, o = (z[:, k * units : (k + 1) * units] for k in range(4))
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                ys.append(h)
            return np.stack(ys), h, c

    outputs, h, c = Layer(weights[0][0])(x, initial_state=(h0[0], c0[0]))
    states = [(h, c)]
    for (w,) in weights[1:]:
        outputs, h, c = Layer(w)(outputs)
        states.append((h, c))
    return outputs, np.stack([s[0] for s in states]), np.stack([s[1] for s in states])


@held_out(
    "stacked",
    "An upper layer reads the lower layer's last output at every timestep (it was repeated), not that of the timestep.",
    [r"last", r"final", r"repeat", r"every timestep", r"same", r"\bend\b"],
    [r"layer", r"below", r"upper", r"between", r"input"],
    source="https://github.com/AlexeyAB/darknet/issues/7107",
)
def one_output_passed_on(x, weights, h0, c0):
    """The lower layer returns its last output alone, which is repeated until the shapes fit."""
    T = len(x)
    net, finals = x, []
    for k, (w,) in enumerate(weights):
        net, h, c = layer(net, w, h0[k], c0[k])
        finals.append((h, c))
        if k + 1 < len(weights):
            net = np.repeat(net[-1:], T, axis=0)
    return net, np.stack([h for h, _ in finals]), np.stack([c for _, c in finals])


@held_out(
    "stacked",
    "An upper layer reads the lower layer's h of the timestep before (h0 at the first): the list is read too early.",
    [
        r"before",
        r"previous",
        r"one (time)?step",
        r"late",
        r"lag",
        r"delay",
        r"earlier",
        r"old",
        r"t ?[-\N{MINUS SIGN}] ?1",
    ],
    [r"layer", r"below", r"upper", r"between", r"input"],
    source="a common slip: all layers of a step are computed from the old list of states",
)
def stale_states(x, weights, h0, c0):
    h = [a.copy() for a in h0]
    c = [a.copy() for a in c0]
    top = []
    for x_t in x:
        new = []
        for k, (w,) in enumerate(weights):
            below = x_t if k == 0 else h[k - 1]
            new.append(cell(below, h[k], c[k], w))
        h, c = [n[0] for n in new], [n[1] for n in new]
        top.append(h[-1])
    return np.stack(top), np.stack(h), np.stack(c)


@held_out(
    "stacked",
    "From the second layer up the input of a two-way layer is [reverse; forward]; the network's output is in order.",
    [r"exchang", r"order", r"swap", r"revers.*first", r"halves", r"\[.*\]"],
    [r"layer", r"below", r"upper", r"between", r"input"],
    cases="stacked two ways",
    source="https://github.com/soumith/cudnn.torch/issues/357",
)
def reverse_first_between_layers(x, weights, h0, c0):
    seq = x
    hn, cn = [], []
    for k, (fw, bw) in enumerate(weights):
        yf, hf, cf = layer(seq, fw, h0[2 * k], c0[2 * k])
        yb, hb, cb = layer(seq, bw, h0[2 * k + 1], c0[2 * k + 1], back=True)
        hn += [hf, hb]
        cn += [cf, cb]
        seq = np.concatenate([yb, yf], axis=2)
    return np.concatenate([yf, yb], axis=2), np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Between two-way layers the reverse direction's outputs are not turned back in time; the network's own output is.",
    [r"turn", r"revers.*(back|order|time)", r"flip", r"order.*(processed|made|time)"],
    [r"layer", r"below", r"upper", r"between", r"input"],
    cases="stacked two ways",
    source="https://github.com/sbillburg/CRNN-with-STN/issues/12",
)
def turned_back_at_the_top_only(x, weights, h0, c0):
    inner, states = x, []
    last = len(weights) - 1
    for n, pair in enumerate(weights):
        halves = []
        for d, w in enumerate(pair):
            y, h, c = layer(inner if d == 0 else inner[::-1], w, h0[2 * n + d], c0[2 * n + d])
            states.append((h, c))
            if d == 1 and n == last:
                y = y[::-1]
            halves.append(y)
        inner = np.concatenate(halves, axis=-1)
    return inner, np.stack([s[0] for s in states]), np.stack([s[1] for s in states])


@held_out(
    "stacked",
    "Above the first layer lengths are not heeded: those layers run through the padding, their reverse directions too.",
    [r"length", r"padding", r"mask", r"\bends?\b"],
    [r"layer", r"upper", r"above", r"lane"],
    cases="stacked two ways",
    source="https://github.com/tensorflow/tensorflow/issues/6633",
)
def lengths_in_the_first_layer_only(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape

    def bi_layer(seq, pair, hs, cs, ends):
        out, finals = [], []
        for d, w in enumerate(pair):
            h, c = hs[d], cs[d]
            y = np.zeros((T, B, h.shape[-1]), seq.dtype)
            for t in range(T) if d == 0 else range(T - 1, -1, -1):
                on = (t < ends)[:, None]
                h1, c1 = cell(seq[t], h, c, w)
                h, c = np.where(on, h1, h), np.where(on, c1, c)
                y[t] = np.where(on, h1, 0)
            out.append(y)
            finals.append((h, c))
        return np.concatenate(out, axis=2), finals

    full = np.full(B, T)
    ends = full if lengths is None else np.asarray(lengths)
    seq, states = x, []
    for k, pair in enumerate(weights):
        seq, finals = bi_layer(seq, pair, h0[2 * k : 2 * k + 2], c0[2 * k : 2 * k + 2], ends if k == 0 else full)
        states += finals
    return seq, np.stack([s[0] for s in states]), np.stack([s[1] for s in states])


@held_out(
    "stacked",
    "The layers above the first were not converted: their blocks (i, f, g, o) are read in ONNX' order i, o, f, g.",
    [r"i, o, f, [gc]", r"read as", r"order", r"iofg"],
    [r"layer", r"upper", r"@1", r"lane", r"above"],
    source="https://github.com/huggingface/candle/issues/2351",
)
def first_layer_converted_only(x, weights, h0, c0):
    H = h0.shape[-1]
    stack = [{k: v.copy() for k, v in w.items()} for (w,) in weights]

    def to_iofg(a):
        i, f, g, o = a.reshape(4, H, -1)
        return np.stack([i, o, f, g]).reshape(a.shape)

    stack[0] = {k: to_iofg(v) for k, v in stack[0].items()}
    ys, hs, cs = x, [], []
    for k, w in enumerate(stack):
        h, c, out = h0[k], c0[k], []
        for v in ys:
            i, o, f, g = np.split(v @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out.append(h)
        ys = np.stack(out)
        hs.append(h)
        cs.append(c)
    return ys, np.stack(hs), np.stack(cs)


@held_out(
    "stacked",
    "The output is the sum of all layers' outputs, not the top layer's alone.",
    [r"\bsum\b", r"\badd", r"all layers", r"every layer", r"plus"],
    source="a common slip of ELMo's ports: the mixture of layers for the top one",
)
def mixture_of_layers(x, weights, h0, c0):
    sequence_outputs, final = [], []
    sequence = x
    for n, (w,) in enumerate(weights):
        sequence, h, c = layer(sequence, w, h0[n], c0[n])
        sequence_outputs.append(sequence)
        final.append((h, c))
    mixed = sum(sequence_outputs)
    return mixed, np.stack([h for h, _ in final]), np.stack([c for _, c in final])
