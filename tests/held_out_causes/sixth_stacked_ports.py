"""Several layers, some of them both ways, as reported: cells in a list, wrappers, states and weights in order."""

from __future__ import annotations

import numpy as np
from register import held_out


def expit(v):
    return 1 / (1 + np.exp(-v))


def step(p, x_t, h, c):
    """One step of an LSTM, right in itself, with a projection where there is one."""
    H = c.shape[-1]
    a = x_t @ p["W"].T + h @ p["R"].T + p["b"]
    c = expit(a[:, H : 2 * H]) * c + expit(a[:, :H]) * np.tanh(a[:, 2 * H : 3 * H])
    h = expit(a[:, 3 * H :]) * np.tanh(c)
    return (h @ p["P"].T if "P" in p else h), c


def unroll(p, xs, h, c, lengths=None):
    """Outputs, h and c of one layer in one direction; past a sequence's length 0, and the state stays."""
    ys = np.zeros((*xs.shape[:2], h.shape[-1]), xs.dtype)
    for t in range(len(xs)):
        h_t, c_t = step(p, xs[t], h, c)
        live = np.ones(len(h), bool) if lengths is None else np.asarray(lengths) > t
        ys[t, live] = h_t[live]
        h, c = np.where(live[:, None], h_t, h), np.where(live[:, None], c_t, c)
    return ys, h, c


def flip(a, lengths=None):
    """Turned in time, each sequence within its length."""
    if lengths is None:
        return a[::-1]
    turned = np.zeros_like(a)
    for b, n in enumerate(lengths):
        turned[:n, b] = a[:n, b][::-1]
    return turned


def both_ways(layer, xs, h, c, lengths=None):
    """A layer of two directions, right in itself: both outputs in the order of time, and the states."""
    y_f, h_f, c_f = unroll(layer[0], xs, h[0], c[0], lengths)
    y_b, h_b, c_b = unroll(layer[1], flip(xs, lengths), h[1], c[1], lengths)
    return y_f, flip(y_b, lengths), (h_f, h_b), (c_f, c_b)


@held_out(
    "stacked",
    "Every layer uses the weights of the first layer.",
    [r"weights?\b", r"W,? (and )?R\b", r"parameters", r"kernel", r"same cell"],
    [
        r"same",
        r"share",
        r"every layer",
        r"\ball\b",
        r"lowest",
        r"first layer",
        r"layer 0",
        r"\bl0",
        r"one layer",
        r"lower",
        r"below",
    ],
    source="BERT-BiLSTM-CRF-NER issue 252, tensorflow-rnn-shakespeare issue 27: MultiRNNCell([cell] * num_layers)",
    cases="stacked alike",
)
def multi_rnn_cell_of_one_cell(x, weights, h0, c0):
    """Reported again and again of TF1: the list holds one cell several times."""
    num_layers = len(weights)
    cells = [weights[0][0]] * num_layers
    state = [(h0[k], c0[k]) for k in range(num_layers)]
    outputs = []
    for x_t in x:
        below = x_t
        for k, p in enumerate(cells):
            state[k] = step(p, below, *state[k])
            below = state[k][0]
        outputs.append(below)
    return np.stack(outputs), np.stack([h for h, _ in state]), np.stack([c for _, c in state])


@held_out(
    "stacked",
    "Every layer takes in the input sequence, not the outputs of the layer below.",
    [r"layer", r"above"],
    [r"input", r"\bx\b", r"takes? in", r"below"],
    source="a common slip",
    cases="stacked alike",
)
def loop_over_layers_hands_on_x(x, weights, h0, c0, lengths=None):
    """The loop over layers hands on the variable it was given; sizes are the same, so nothing complains."""
    hn, cn = [], []
    for idx, (layer,) in enumerate(weights):
        output, h, c = unroll(layer, x, h0[idx], c0[idx], lengths)
        hn.append(h)
        cn.append(c)
    return output, np.array(hn), np.array(cn)


@held_out(
    "stacked",
    "All layers start from the first layer's initial state.",
    [r"initial", r"\bh0\b", r"\bc0\b", r"h0-and-c0", r"starts?\b"],
    [r"same", r"first", r"lowest", r"lower", r"layer 0", r"\bl0", r"\ball\b", r"every", r"one layer", r"below"],
    source="GansFallingShort pull request 2: with several layers the same hidden state was used for all",
)
def one_initial_state(x, weights, h0, c0, lengths=None):
    """Reported of a language model: it does not show with one layer."""
    hidden = (h0[0], c0[0])
    finals = []
    for layer in weights:
        x, *last = unroll(layer[0], x, *hidden, lengths)
        finals.append(last)
    return x, np.stack([last[0] for last in finals]), np.stack([last[1] for last in finals])


@held_out(
    "stacked",
    "Final states are in the order of directions, then layers: all forward ones stand before the reverse ones.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"order", r"interleav", r"permut", r"transpos", r"grouped", r"swap", r"exchang", r"direction.{0,40}layer"],
    source="OpenNMT-py issue 61 and tensorflow/nmt issue 423: layer0 forward, layer0 backward, layer1 forward ...",
    cases="stacked two ways",
)
def tuples_of_states_joined_fw_bw(x, weights, h0, c0, lengths=None):
    """Asked of OpenNMT's bridge: which order has h_n? TF1 has a tuple of states for each direction."""
    states = {"fw": [], "bw": []}
    for k, layer in enumerate(weights):
        y_f, y_b, h, c = both_ways(layer, x, h0[2 * k : 2 * k + 2], c0[2 * k : 2 * k + 2], lengths)
        states["fw"].append((h[0], c[0]))
        states["bw"].append((h[1], c[1]))
        x = np.concatenate([y_f, y_b], axis=2)
    in_order = states["fw"] + states["bw"]
    return x, np.stack([h for h, _ in in_order]), np.stack([c for _, c in in_order])


@held_out(
    "stacked",
    "Initial states are read as (directions, layers): the first half goes to the forward direction.",
    [r"initial", r"\bh0\b", r"\bc0\b", r"h0-and-c0", r"starts?\b"],
    [
        r"order",
        r"interleav",
        r"permut",
        r"transpos",
        r"grouped",
        r"swap",
        r"exchang",
        r"direction.{0,40}layer",
        r"first half",
    ],
    source="yzhangcs/parser issue 48: h.view(num_layers, num_directions, batch, hidden)",
    cases="stacked two ways",
)
def h0_viewed_as_directions_by_layers(x, weights, h0, c0, lengths=None):
    """The view of h0 with the two numbers in the other order, which no shape complains about."""
    L, (_, B, H) = len(weights), h0.shape
    h_0, c_0 = h0.reshape(2, L, B, H), c0.reshape(2, L, B, H)
    h_n, c_n = np.empty((L, 2, B, H), x.dtype), np.empty((L, 2, B, H), x.dtype)
    for k in range(L):
        *halves, h_n[k], c_n[k] = both_ways(weights[k], x, h_0[:, k], c_0[:, k], lengths)
        x = np.concatenate(halves, axis=-1)
    return x, h_n.reshape(2 * L, B, H), c_n.reshape(2 * L, B, H)


@held_out(
    "stacked",
    "The outputs of the reverse direction are turned back at the end alone, not for the layer above.",
    [r"revers", r"backward", r"\dr\b"],
    [r"turn", r"flip", r"order", r"not revers", r"in time", r"time.reversed", r"mirror"],
    source="keras pull request 1001: the reversed sequence is returned, which fails when Bidirectionals are stacked",
    cases="stacked two ways",
)
def turned_back_at_the_end_alone(x, weights, h0, c0, lengths=None):
    """Reported of Keras: between the layers outputs of the two directions belong to different timesteps."""
    finals = []
    inputs = x
    for k, (fw, bw) in enumerate(weights):
        forward, *state_fw = unroll(fw, inputs, h0[2 * k], c0[2 * k], lengths)
        backward, *state_bw = unroll(bw, flip(inputs, lengths), h0[2 * k + 1], c0[2 * k + 1], lengths)
        finals += [state_fw, state_bw]
        inputs = np.concatenate([forward, backward], axis=-1)
    top = np.concatenate([forward, flip(backward, lengths)], axis=-1)
    return top, np.stack([s[0] for s in finals]), np.stack([s[1] for s in finals])


@held_out(
    "stacked",
    "The layer above takes in the reverse direction's outputs before the forward direction's.",
    [
        r"swap",
        r"exchang",
        r"halves",
        r"before",
        r"revers.{0,40}first",
        r"other (half|direction|place)",
        r"order of (the )?(two |both )?(directions|halves)",
        r"(directions|halves).{0,40}order",
    ],
    [r"layer", r"above", r"between", r"takes? in", r"below"],
    source="a common slip: asked in keras issue 5022, what does the second bidirectional layer read?",
    cases="stacked two ways",
)
def halves_swapped_between_layers(x, weights, h0, c0, lengths=None):
    """A stack of bidirectional layers by hand; what is returned is put together once more, in the right order."""
    hs, cs = [], []
    feed = x
    for k, layer in enumerate(weights):
        y_f, y_b, h, c = both_ways(layer, feed, h0[2 * k :], c0[2 * k :], lengths)
        feed = np.concatenate([y_b, y_f], axis=2)
        hs.extend(h)
        cs.extend(c)
    return np.concatenate([y_f, y_b], axis=2), np.stack(hs), np.stack(cs)


@held_out(
    "stacked",
    "The layer above takes in the last output of the layer below, repeated at every timestep.",
    [r"layer", r"above", r"below"],
    [r"last", r"final", r"repeat", r"every timestep", r"constant"],
    source="keras issue 2721: stacked without return_sequences, which RepeatVector makes run",
)
def repeat_vector_under_each_layer(x, weights, h0, c0):
    """Reported of stacks in Keras: return_sequences was left out, and RepeatVector put in against the error."""
    T = len(x)
    h_n, c_n = np.empty_like(h0), np.empty_like(c0)
    for n, (p,) in enumerate(weights):
        sequence, h_n[n], c_n[n] = unroll(p, x, h0[n], c0[n])
        x = np.repeat(sequence[-1:], T, axis=0)
    return sequence, h_n, c_n


@held_out(
    "stacked",
    "Outputs are multiplied by keep_prob, 0.8, on their way to the layer above: dropout when it is not trained.",
    [r"0\.8\b", r"scale", r"factor", r"multipl", r"\btimes\b", r"dropout"],
    [r"layer", r"above", r"between", r"takes? in", r"below", r"dropout"],
    source="lilianweng/stock-rnn issue 12, ner-lstm issue 23: keep_prob = 0.8 is applied in the test too",
)
def dropout_wrapper_in_the_test(x, weights, h0, c0, lengths=None):
    """Reported of share prices and of a tagger: the value is written into the model, and holds in the test too."""
    output_keep_prob = 0.8
    h_n, c_n, top = [], [], len(weights) - 1
    for k, (p,) in enumerate(weights):
        x, h, c = unroll(p, x, h0[k], c0[k], lengths)
        if k < top:
            x = x * output_keep_prob
        h_n.append(h)
        c_n.append(c)
    return x, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "Residual connections: each layer but the first gives its output plus what it took in.",
    [r"residual", r"\bplus\b", r"added", r"adds", r"sum\b", r"skip"],
    [r"layer", r"input", r"takes? in", r"took in", r"below", r"output"],
    source="google/seq2seq issue 190, sockeye pull request 114: cells come wrapped with residual connections",
)
def residual_wrapper_of_the_encoder(x, weights, h0, c0, lengths=None):
    """The translation model whose encoder it was has ResidualWrapper from the second layer; this stack has not."""
    start_residual_at = 1
    h_n, c_n = [], []
    for depth, layer in enumerate(weights):
        y, h, c = unroll(layer[0], x, h0[depth], c0[depth], lengths)
        x = y + x if depth >= start_residual_at else y
        h_n.append(h)
        c_n.append(c)
    return x, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "Initial states are handed out from the top: the first one goes to the topmost layer.",
    [r"initial", r"\bh0\b", r"\bc0\b", r"h0-and-c0", r"starts?\b"],
    [r"order", r"revers", r"\btop", r"last", r"swap", r"exchang", r"other layer"],
    source="keras pull request 11021: states of stacked cells were [h2, c2, h1, c1] (reverse_state_order)",
)
def states_popped_from_the_end(x, weights, h0, c0, lengths=None):
    """Reported of StackedRNNCells: nested states are taken from the end of the flat list."""
    nested = list(zip(h0, c0, strict=True))
    last = []
    for cell_params in weights:
        h, c = nested.pop()
        x, h, c = unroll(cell_params[0], x, h, c, lengths)
        last.append(np.stack([h, c]))
    hc = np.stack(last, axis=1)
    return x, hc[0], hc[1]


@held_out(
    "stacked",
    "Weights, a flat list by layer and direction, are split into halves: the first for the forward direction.",
    [r"weights?\b", r"W,? (and )?R\b", r"parameters", r"kernel", r"cells?\b"],
    [
        r"order",
        r"swap",
        r"exchang",
        r"halves",
        r"half",
        r"permut",
        r"interleav",
        r"direction.{0,40}layer",
        r"layer.{0,40}direction",
    ],
    source="tensorflow issue 6072: how are the matrices of a bidirectional CudnnLSTM ordered?",
    cases="stacked two ways alike",
)
def flat_weights_in_halves(x, weights, h0, c0, lengths=None):
    """Asked of CudnnLSTM's parameters: all forward layers first, or both directions of each layer?"""
    flat = [p for layer in weights for p in layer]
    half = len(flat) // 2
    cells_fw, cells_bw = flat[:half], flat[half:]
    h_n, c_n = [], []
    for k, pair in enumerate(zip(cells_fw, cells_bw, strict=True)):
        y_f, y_b, h, c = both_ways(pair, x, h0[2 * k : 2 * k + 2], c0[2 * k : 2 * k + 2], lengths)
        x = np.concatenate([y_f, y_b], axis=-1)
        h_n += h
        c_n += c
    return x, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "Initial h and c are exchanged: LSTMStateTuple is (c, h).",
    [r"initial", r"\bh0\b", r"\bc0\b", r"h0-and-c0", r"starts?\b"],
    [
        r"swap",
        r"exchang",
        r"each other",
        r"in place of",
        r"taken for",
        r"(as|for) (the )?(initial )?(c0|h0|cell|hidden)",
        r"mistaken",
        r"\(c, h\)",
    ],
    source="tensorflow issue 17133 and texar-pytorch issue 198: LSTMStateTuple stores (c, h), in that order",
)
def state_tuples_of_h_and_c(x, weights, h0, c0, lengths=None):
    """Reported of states carried from PyTorch to TF1: (h, c) is handed to a tuple of (c, h), in every layer."""
    names = ("c", "h")
    rnn_tuple_state = [dict(zip(names, pair, strict=True)) for pair in zip(h0, c0, strict=True)]
    for params, state in zip(weights, rnn_tuple_state, strict=True):
        x, state["h"], state["c"] = unroll(params[0], x, state["h"], state["c"], lengths)
    return x, np.stack([s["h"] for s in rnn_tuple_state]), np.stack([s["c"] for s in rnn_tuple_state])


@held_out(
    "stacked",
    "Lengths are handed to the first layer alone: those above go on through the padding.",
    [r"length", r"padd", r"past", r"mask"],
    [r"layer", r"above", r"upper"],
    source="keras issue 7244: stacked layers after Masking seem to ignore the mask in part",
    cases="stacked lengths",
)
def lengths_for_the_first_layer_alone(x, weights, h0, c0, lengths=None):
    """Masking stands before the first layer, and the layers above do not hear of it."""
    y, finals, mask = x, [], lengths
    for (p,), h, c in zip(weights, h0, c0, strict=True):
        y, h_last, c_last = unroll(p, y, h, c, mask)
        finals.append((h_last, c_last))
        mask = None
    return y, *(np.stack(part) for part in zip(*finals, strict=True))


@held_out(
    "stacked",
    "Layers above the first have no bias.",
    [r"bias", r"\bb\b"],
    [r"layer", r"above", r"upper", r"\bl1", r"@1"],
    [r"without", r"\bno\b", r"\bnot\b", r"missing", r"left out", r"drop", r"ignor", r"zero", r"lack", r"absent"],
    source="a common slip: only the names of layer 0 are in the list of what is loaded",
    layout="torch",
)
def biases_of_layer_0_alone(x, weights, h0, c0):
    """A loader by names: the biases of layer 0 are written out, those of other layers stay as initialised, zeros."""
    biases = [np.zeros_like(layer["bias_ih_l0"]) for (layer,) in weights]
    biases[0] += weights[0][0]["bias_ih_l0"] + weights[0][0]["bias_hh_l0"]
    h_n, c_n = [], []
    for k, (layer,) in enumerate(weights):
        x, h, c = unroll({"W": layer["weight_ih_l0"], "R": layer["weight_hh_l0"], "b": biases[k]}, x, h0[k], c0[k])
        h_n.append(h)
        c_n.append(c)
    return x, np.stack(h_n), np.stack(c_n)


@held_out(
    "stacked",
    "The projection of the first layer is used in every layer.",
    [r"project", r"\bP\b", r"weight_hr"],
    [
        r"same",
        r"share",
        r"first",
        r"lowest",
        r"lower",
        r"below",
        r"every layer",
        r"\ball\b",
        r"layer 0",
        r"\bl0",
        r"other layer",
    ],
    source="a common slip; PyTorch pull request 47725 brought a weight_hr for every layer",
    cases="stacked projection",
)
def projection_of_the_first_layer(x, weights, h0, c0, lengths=None):
    """LSTMP in several layers: the projection is kept beside the list of layers, as if there were one."""
    proj = weights[0][0]["P"]
    states = []
    for k, (layer,) in enumerate(weights):
        gates = {key: layer[key] for key in ("W", "R", "b")}
        x, h, c = unroll(gates | {"P": proj}, x, h0[k], c0[k], lengths)
        states.append((h, c))
    return x, np.stack([h for h, _ in states]), np.stack([c for _, c in states])
