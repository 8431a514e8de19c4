# ruff: noqa: B007 (code as people write it)
"""Several layers, as reported."""

from __future__ import annotations

import numpy as np
from register import held_out
from two_way_ports import lstm, reverse_sequence, sigmoid


def cell(x_t, w, h, c):
    i, f, g, o = np.split(x_t @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@held_out(
    "stacked",
    "An upper layer takes the cell state of the layer below as its input, not its h.",
    [r"\bc\b", r"cell state"],
    [r"input", r"below", r"between", r"layer", r"lower", r"upper", r"up\b"],
    source="https://github.com/pytorch/examples/issues/167",
)
def cell_state_upwards(x, weights, h0, c0):
    h, c = list(h0), list(c0)
    outputs = []
    for input_t in x:
        inp = input_t
        for k, layer in enumerate(weights):
            h[k], c[k] = cell(inp, layer[0], h[k], c[k])
            inp = c[k]
        outputs.append(h[-1])
    return np.stack(outputs), np.stack(h), np.stack(c)


@held_out(
    "stacked",
    "Every layer starts from the first layer's initial state.",
    [r"initial", r"start", r"h0", r"state"],
    [r"first", r"layer 1", r"lower", r"layer 0", r"another layer", r"\blane"],
    source="https://github.com/pclucas14/GansFallingShort/pull/2",
)
def one_state_for_all_layers(x, weights, h0, c0):
    y, hn, cn = x, [], []
    hidden_state = (h0[0], c0[0])
    for layer in weights:
        y, h, c = lstm(y, layer[0], *hidden_state)
        hn.append(h)
        cn.append(c)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "A layer starts from the final state of the layer below instead of its own initial state.",
    [r"initial", r"start", r"h0", r"state"],
    [r"final", r"end", r"last"],
    source="https://github.com/salesforce/awd-lstm-lm/issues/116",
)
def state_propagated_upwards(x, weights, h0, c0):
    raw_output = x
    new_h, new_c = [], []
    h, c = h0[0], c0[0]
    for l, rnn in enumerate(weights):
        raw_output, h, c = lstm(raw_output, rnn[0], h, c)
        new_h.append(h)
        new_c.append(c)
    return raw_output, np.stack(new_h), np.stack(new_c)


@held_out(
    "stacked",
    "The forget bias (1, part of b) is left out in every layer but the first.",
    [r"bias", r"\bb\b", r"forget"],
    [r"layer", r"upper", r"@1"],
    source="https://github.com/google-research/flood-forecasting/pull/289",
)
def forget_bias_in_layer_one_only(x, weights, h0, c0):
    y, hn, cn = x, [], []
    for k, layer in enumerate(weights):
        b = layer[0]["b"].copy()
        if k:
            b.reshape(4, -1)[1] -= 1
        y, h, c = lstm(y, {**layer[0], "b": b}, h0[k], c0[k])
        hn.append(h)
        cn.append(c)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "The upper layers are left out: what is returned is the first layer's output; their states stay initial.",
    [r"left out", r"skip", r"not run", r"first layer", r"layer 1"],
    source="https://github.com/carpedm20/lstm-char-cnn-tensorflow/pull/7",
)
def stack_not_passed(x, weights, h0, c0):
    y, h, c = lstm(x, weights[0][0], h0[0], c0[0])
    return y, np.stack([h, *h0[1:]]), np.stack([c, *c0[1:]])


@held_out(
    "stacked",
    "Every layer uses the weights of the first.",
    [r"weights", r"\blane", r"kernel", r"WRb", r"W R b"],
    [r"layer", r"lower", r"first", r"lane"],
    cases="stacked alike",
    source="https://github.com/onnx/onnx-tensorflow/issues/878",
)
def weights_of_first_layer(x, weights, h0, c0):
    y, hn, cn = x, [], []
    first = weights[0][0]
    for k in range(len(weights)):
        y, h, c = lstm(y, first, h0[k], c0[k])
        hn.append(h)
        cn.append(c)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Between the layers time and batch are exchanged.",
    [r"time", r"batch", r"transpos", r"axes", r"axis"],
    cases="stacked square",
    source="https://github.com/exe1023/LSTM_LN/issues/1",
)
def permuted_once(x, weights, h0, c0):
    y, hn, cn = x, [], []
    for k, layer in enumerate(weights):
        if k and y.shape[0] == y.shape[1]:
            y = y.transpose(1, 0, 2)
        y, h, c = lstm(y, layer[0], h0[k], c0[k])
        hn.append(h)
        cn.append(c)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "A relu stands between the layers.",
    [r"relu", r"positive"],
    source="https://github.com/tensorflow/tensorflow/issues/11570",
)
def relu_between_layers(x, weights, h0, c0, lengths=None):
    inputs, hn, cn = x, [], []
    for k, layer in enumerate(weights):
        outputs, h, c = lstm(inputs, layer[0], h0[k], c0[k], lengths)
        inputs = np.maximum(outputs, 0)
        hn.append(h)
        cn.append(c)
    return outputs, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Final states come direction by direction (all layers forward, then all reverse), not layer by layer.",
    [r"direction", r"order"],
    [r"h_n", r"final", r"state"],
    cases="stacked two ways",
    source="https://github.com/OpenNMT/OpenNMT-py/issues/61",
)
def states_by_direction(x, weights, h0, c0, lengths=None):
    y, hn, cn = two_ways(x, weights, h0, c0, lengths)
    order = [*range(0, len(hn), 2), *range(1, len(hn), 2)]
    return y, hn[order], cn[order]


def two_ways(x, weights, h0, c0, lengths=None, initial=lambda k: k):
    y, hn, cn = x, [], []
    for layer in weights:
        sides = []
        for d, w in enumerate(layer):
            k = initial(len(hn))
            inputs = reverse_sequence(y, lengths) if d else y
            out, h, c = lstm(inputs, w, h0[k], c0[k], lengths)
            sides.append(reverse_sequence(out, lengths) if d else out)
            hn.append(h)
            cn.append(c)
        y = np.concatenate(sides, axis=-1)
    return y, np.stack(hn), np.stack(cn)


@held_out(
    "stacked",
    "Initial states are read direction by direction, not layer by layer.",
    [r"initial", r"start", r"h0", r"state"],
    [r"direction", r"order", r"layer", r"lane", r"axes"],
    cases="stacked two ways",
    source="https://github.com/OpenNMT/OpenNMT-py/issues/61",
)
def initial_states_by_direction(x, weights, h0, c0, lengths=None):
    layers = len(weights)
    return two_ways(x, weights, h0, c0, lengths, initial=lambda k: (k % 2) * layers + k // 2)


@held_out(
    "stacked",
    "The upper layer drops its b, and h of the lower layer goes through a relu on its way up.",
    [r"relu", r"positive"],
    [r"\bb\b", r"bias", r"b:"],
    source="https://github.com/tensorflow/tensorflow/issues/11570",
)
def relu_and_no_bias(x, weights, h0, c0):
    inputs, hn, cn = x, [], []
    for k, layer in enumerate(weights):
        w = dict(layer[0])
        if k:
            w["b"] = np.zeros_like(w["b"])
        outputs, h, c = lstm(inputs, w, h0[k], c0[k])
        inputs = np.where(outputs > 0, outputs, 0)
        hn.append(h)
        cn.append(c)
    return outputs, np.stack(hn), np.stack(cn)
