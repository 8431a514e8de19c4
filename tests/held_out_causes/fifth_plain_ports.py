"""One layer, one direction, as reported: implementations from scratch, and weights taken over from frameworks."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "plain",
    "The initial states are exchanged: h starts from c0 and c from h0.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"swap", r"exchang", r"order", r"other", r"in the place", r"each other"],
    source="burn pull request 5234: LstmState::new takes (cell, hidden), and was given (hidden, cell)",
)
def arguments_of_the_state(x, weights, h0, c0):
    """Mended in an example in Rust: both halves of the state have one shape, so nothing complains."""

    class LstmState:
        def __init__(self, cell, hidden):
            self.cell, self.hidden = cell, hidden

    def forward(inp, state):
        gates = inp @ weights["W"].T + state.hidden @ weights["R"].T + weights["b"]
        i, f, g, o = np.split(gates, 4, axis=1)
        cell = sigmoid(f) * state.cell + sigmoid(i) * np.tanh(g)
        return LstmState(cell=cell, hidden=sigmoid(o) * np.tanh(cell))

    state = LstmState(h0, c0)
    states = []
    for inp in x:
        state = forward(inp, state)
        states.append(state)
    return np.stack([s.hidden for s in states]), np.stack([s.cell for s in states])


@held_out(
    "plain",
    "Both halves of the state start as one array: c starts from h0, and c0 is not used.",
    [r"\bc\b", r"c0", r"cell"],
    [r"h0", r"hidden", r"\bh\b", r"same (array|state|values|memory)", r"one (array|state)"],
    source="High-frequency-Stereo-Matching-Network issue 16: the initial net_c and net_h share memory",
)
def one_memory_for_both(x, weights, h0, c0):
    """Reported of a network for stereo matching: the initial states of h and c are the same tensor."""
    context = h0
    net_h, net_c = context, context
    assert net_c.shape == c0.shape
    outs = []
    for inp in x:
        cat = (
            np.concatenate([inp, net_h], axis=1) @ np.concatenate([weights["W"], weights["R"]], axis=1).T + weights["b"]
        )
        i, f, g, o = np.split(cat, 4, axis=1)
        net_c = sigmoid(f) * net_c + sigmoid(i) * np.tanh(g)
        net_h = sigmoid(o) * np.tanh(net_c)
        outs.append((net_h, net_c))
    h_seq, c_seq = map(np.stack, zip(*outs, strict=True))
    return h_seq, c_seq


@held_out(
    "plain",
    "The blocks are read as forget, input, output, change; they are stored as i, f, g, o.",
    [r"fiog", r"f, i, o, g", r"forget.*input.*output"],
    source="the lstm of Knet issue 57 and ADBench pull request 3: forget, ingate, outgate, change, in that order",
)
def forget_first_and_change_last(x, weights, h0, c0):
    """A function that stands in several benchmarks, with weights of a framework that has another order."""
    weight = np.vstack([weights["W"].T, weights["R"].T])
    hsize = h0.shape[1]

    def lstm(hidden, cell, inp):
        gates = np.hstack([inp, hidden]) @ weight + weights["b"]
        forget = sigmoid(gates[:, :hsize])
        ingate = sigmoid(gates[:, hsize : 2 * hsize])
        outgate = sigmoid(gates[:, 2 * hsize : 3 * hsize])
        change = np.tanh(gates[:, 3 * hsize :])
        cell = cell * forget + ingate * change
        return outgate * np.tanh(cell), cell

    states = [(h0, c0)]
    for inp in x:
        states.append(lstm(*states[-1], inp))
    return np.stack([h for h, _ in states[1:]]), np.stack([c for _, c in states[1:]])


@held_out(
    "plain",
    "The biases stand in another order than the kernels: b is read as i, g, f, o, W and R as i, f, g, o.",
    [r"bias", r"\bb\b", r"b:"],
    [
        r"order",
        r"swap",
        r"exchang",
        r"igfo",
        r"i, g, f, o",
        r"read as",
        r"f.*g",
        r"forget.*candidate",
        r"candidate.*forget",
    ],
    source="magenta pull request 1015: the order of the biases in BackwardCompatibleCudnnLSTMSaveable",
)
def biases_in_tf_order(x, weights, h0, c0):
    """Mended in a model of music: the kernels were reordered for the other cell, and the biases were not."""
    kernel_blocks = dict(zip(("i", "f", "j", "o"), np.split(weights["W"], 4), strict=True))
    recurrent_blocks = dict(zip(("i", "f", "j", "o"), np.split(weights["R"], 4), strict=True))
    bias_blocks = dict(zip(("i", "j", "f", "o"), np.split(weights["b"], 4), strict=True))
    hs, cs, h, c = [], [], h0, c0
    for x_t in x:
        z = {k: x_t @ kernel_blocks[k].T + h @ recurrent_blocks[k].T + bias_blocks[k] for k in "ifjo"}
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["j"])
        h = sigmoid(z["o"]) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The bias is added twice: once to the inputs of all timesteps, once more in the step.",
    [r"bias", r"\bb\b", r"b:"],
    [r"twice", r"two times", r"doubl", r"\b2\b", r"two biases", r"both"],
    source="DeepLearningTutorials issue 81 and arctic-captions issue 7: the bias is in state_below and in _step",
)
def bias_in_state_below_too(x, weights, h0, c0):
    """Reported twice of code for Theano: state_below has the bias already, and _step adds it."""
    n = h0.shape[1]
    U, b = weights["R"].T, weights["b"]
    state_below = x @ weights["W"].T + b

    def _slice(_x, k):
        return _x[:, k * n : (k + 1) * n]

    def _step(x_, h_, c_):
        preact = h_ @ U
        preact = preact + x_
        preact = preact + b
        i, f, o = (sigmoid(_slice(preact, k)) for k in (0, 1, 3))
        c = f * c_ + i * np.tanh(_slice(preact, 2))
        return o * np.tanh(c), c

    out_h, out_c = np.empty((len(x), *h0.shape), x.dtype), np.empty((len(x), *c0.shape), x.dtype)
    h, c = h0, c0
    for t in range(len(x)):
        h, c = _step(state_below[t], h, c)
        out_h[t], out_c[t] = h, c
    return out_h, out_c


@held_out(
    "plain",
    "Zoneout is on at inference: a tenth of the state before is mixed into the new h and c.",
    [
        r"zoneout",
        r"mixed",
        r"mix",
        r"0\.1",
        r"0\.9",
        r"averag",
        r"weighted",
        r"tenth",
        r"blend",
        r"smooth",
        r"interpolat",
    ],
    [r"previous", r"before", r"\bold\b", r"state", r"last"],
    source="Tacotron-2 pull request 45: at inference time zoneout is a weighted sum with the previous state",
)
def zoneout_at_inference(x, weights, h0, c0):
    """A cell of a speech model that was trained with zoneout; the network asked for is the plain one."""
    zoneout = 0.1

    def zoneout_cell(inp, h_prev, c_prev):
        i, f, g, o = np.split(inp @ weights["W"].T + h_prev @ weights["R"].T + weights["b"], 4, axis=-1)
        new_c = sigmoid(f) * c_prev + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        return zoneout * h_prev + (1 - zoneout) * new_h, zoneout * c_prev + (1 - zoneout) * new_c

    h_seq, c_seq = np.zeros((len(x), *h0.shape), x.dtype), np.zeros((len(x), *c0.shape), x.dtype)
    h, c = h0, c0
    for t, inp in enumerate(x):
        h, c = zoneout_cell(inp, h, c)
        h_seq[t], c_seq[t] = h, c
    return h_seq, c_seq


@held_out(
    "plain",
    "The gates take the hard sigmoid 0.2 z + 0.5 of older Keras; the network's is the sigmoid.",
    [r"hard.?sigmoid", r"0\.2"],
    source="what is told of Keras' LSTM before 2.3 (read-it-later issue 2302): its gates have a hard sigmoid",
    layout="keras",
)
def gates_of_old_keras(x, weights, h0, c0):
    """A reimplementation after the source of an older Keras, whose recurrent activation was another by default."""

    def inner_activation(z):
        return np.clip(0.2 * z + 0.5, 0, 1)

    units = h0.shape[-1]
    h_tm1, c_tm1, hs, cs = h0, c0, [], []
    for x_t in x:
        z = np.dot(x_t, weights["kernel"]) + np.dot(h_tm1, weights["recurrent_kernel"]) + weights["bias"]
        z0, z1, z2, z3 = z[:, :units], z[:, units : 2 * units], z[:, 2 * units : 3 * units], z[:, 3 * units :]
        i, f = inner_activation(z0), inner_activation(z1)
        c_tm1 = f * c_tm1 + i * np.tanh(z2)
        h_tm1 = inner_activation(z3) * np.tanh(c_tm1)
        hs.append(h_tm1)
        cs.append(c_tm1)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The blocks are read as i, c, f, o, the order of Keras' first version; they are i, f, c, o.",
    [r"order", r"read as", r"igfo", r"i, g, f, o", r"swap", r"exchang"],
    [r"igfo", r"i, [gc], f, o", r"\bf\b.*\bg\b", r"\bg\b.*\bf\b", r"forget.*candidate", r"candidate.*forget"],
    source="keras issue 3088: which order the weights have for a C implementation, by which gate's bias is 1",
    layout="keras",
)
def order_for_a_c_port(x, weights, h0, c0):
    """A question about an export to C: the order of the blocks is taken from a version that had another."""
    T, B, _ = x.shape
    H = h0.shape[1]
    hs, cs = np.zeros((T, B, H), np.float32), np.zeros((T, B, H), np.float32)
    for n in range(B):
        h, c = h0[n].copy(), c0[n].copy()
        for t in range(T):
            z = weights["bias"] + x[t, n] @ weights["kernel"] + h @ weights["recurrent_kernel"]
            for u in range(H):
                in_gate = sigmoid(z[u])
                candidate = np.tanh(z[H + u])
                forget = sigmoid(z[2 * H + u])
                out_gate = sigmoid(z[3 * H + u])
                c[u] = forget * c[u] + in_gate * candidate
                h[u] = out_gate * np.tanh(c[u])
            hs[t, n], cs[t, n] = h, c
    return hs, cs


@held_out(
    "plain",
    "The forget gate lacks the constant 1 (forget_bias) that TensorFlow's cell adds when it runs.",
    [r"forget", r"\bf\b"],
    [r"constant", r"\b1\b", r"\b1\.0\b", r"\bone\b", r"forget.?bias", r"bias"],
    source="keras issue 10179: TensorFlow's weights fed to another LSTM do not give the same result",
    layout="tf1",
)
def no_forget_bias_at_run_time(x, weights, h0, c0):
    """Asked often: TF1's kernel is split as i, j, f, o, and still the numbers are others."""
    kernel, bias = weights["kernel"], weights["bias"]
    forget_bias = 0.0
    h, c = h0, c0
    outputs, cells = [], []
    for inputs in x:
        gate_inputs = np.matmul(np.concatenate([inputs, h], 1), kernel) + bias
        i, j, f, o = np.split(gate_inputs, 4, axis=1)
        c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        outputs.append(h)
        cells.append(c)
    return np.stack(outputs), np.stack(cells)


@held_out(
    "plain",
    "The input is reshaped to batch-major where its axes should change places: timesteps and sequences are mixed.",
    [r"reshap", r"\bview", r"transpos", r"ax(i|e)s", r"mixed", r"batch.first", r"batch.major", r"(T, B|B, T)"],
    [r"\bx\b", r"input", r"timestep", r"sequence", r"batch"],
    source="discuss.pytorch.org, 'Do not use view() or reshape() to swap dimensions of tensors'",
)
def viewed_as_batch_first(x, weights, h0, c0):
    """Warned of on PyTorch's forum: view() gives the right shape and the wrong numbers."""
    seq_len, batch, width = x.shape
    batch_first = x.reshape(batch, seq_len, width)
    W_t, R_t = weights["W"].T, weights["R"].T
    h, c = h0, c0
    outs, cells = [], []
    for step in range(seq_len):
        i, f, g, o = np.split(batch_first[:, step] @ W_t + h @ R_t + weights["b"], 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outs.append(h)
        cells.append(c)
    out = np.stack(outs, axis=1)
    return out.transpose(1, 0, 2), np.stack(cells)


@held_out(
    "plain",
    "Past a sequence's end the last valid output is repeated, as Keras' masking does; it should be 0.",
    [r"past", r"end", r"padd", r"length", r"mask"],
    [r"repeat", r"\bheld\b", r"\bhold", r"\bkept\b", r"keeps", r"carried", r"not (0|zero)", r"stays", r"last"],
    source="keras pull request 1282: rnn returns the last valid output for any masked step",
    cases="plain lengths",
)
def masked_output_repeats(x, weights, h0, c0, lengths=None):
    """Keras without zero_output_for_mask: a masked step gives the output before it once more."""
    mask = np.ones(x.shape[:2], bool) if lengths is None else np.arange(len(x))[:, None] < np.asarray(lengths)[None]
    h, c = h0, c0
    successive_outputs, successive_states = [], []
    for inp, mask_t in zip(x, mask, strict=True):
        z = inp @ weights["W"].T + h @ weights["R"].T + weights["b"]
        i, f, g, o = np.split(z, 4, axis=1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        keep = mask_t[:, None]
        h, c = np.where(keep, new_h, h), np.where(keep, new_c, c)
        output = h
        successive_outputs.append(output)
        successive_states.append(c)
    return np.stack(successive_outputs), np.stack(successive_states)


@held_out(
    "plain",
    "Each gate's recurrent weights are used without being transposed: they are square, so nothing complains.",
    [r"transpos"],
    [r"\bR\b", r"R:", r"recurrent", r"hidden"],
    source="transformers pull request 10712: the recurrent_kernel has to be transposed too",
)
def square_blocks_not_transposed(x, weights, h0, c0):
    """Mended in a conversion of models: the recurrent kernel was not transposed as the input kernel was."""
    hidden = h0.shape[-1]
    w_ih, w_hh, b = weights["W"], weights["R"], weights["b"]

    def pre(k, x_t, h):
        rows = slice(k * hidden, (k + 1) * hidden)
        return x_t.dot(w_ih[rows].T) + h.dot(w_hh[rows]) + b[rows]

    H_all, C_all = [h0], [c0]
    for x_t in x:
        h, c = H_all[-1], C_all[-1]
        c_next = sigmoid(pre(1, x_t, h)) * c + sigmoid(pre(0, x_t, h)) * np.tanh(pre(2, x_t, h))
        H_all.append(sigmoid(pre(3, x_t, h)) * np.tanh(c_next))
        C_all.append(c_next)
    return np.array(H_all[1:]), np.array(C_all[1:])


@held_out(
    "plain",
    "All timesteps of h_seq are the last one: the same array is written again and again, and appended each time.",
    [r"last", r"final", r"same array", r"in place", r"overwrit", r"alias", r"one array"],
    [r"every", r"\ball\b", r"each", r"in place", r"overwrit", r"alias"],
    source="the question why every element of a list of NumPy arrays is the last one; a common slip",
)
def one_buffer_appended(x, weights, h0, c0):
    """Asked often on Stack Overflow: appending an array that is then changed in place appends no copy."""
    h, c = h0.copy(), c0.copy()
    h_seq, c_seq = [], []
    for t in range(x.shape[0]):
        z = np.einsum("bi,gi->bg", x[t], weights["W"]) + np.einsum("bh,gh->bg", h, weights["R"]) + weights["b"]
        i, f, g, o = z.reshape(len(h), 4, -1).swapaxes(0, 1)
        c[...] = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h[...] = sigmoid(o) * np.tanh(c)
        h_seq.append(h)
        c_seq.append(c.copy())
    return np.stack(h_seq), np.stack(c_seq)


@held_out(
    "plain",
    "The state is not reset between the sequences of a batch: each starts where the one before ended.",
    [r"sequence", r"batch", r"\brow", r"sample"],
    [
        r"carr",
        r"reset",
        r"starts? (from|where)",
        r"(sequence|row|sample|one) before",
        r"previous (sequence|row|sample)",
        r"first sequence",
        r"ended",
        r"between",
    ],
    source="tensorflow issue 51561 has the symptom: of a batch only the first result is correct; a common slip",
)
def not_reset_between_samples(x, weights, h0, c0):
    """An inference class as for C++: its state is a member, and samples are run one after the other."""

    class Lstm:
        def __init__(self, W, R, b):
            self.W, self.R, self.b = W, R, b
            self.h = self.c = None

        def reset(self, h, c):
            self.h, self.c = h, c

        def feed(self, sample):
            trace = []
            for v in sample:
                i, f, g, o = np.split(self.W @ v + self.R @ self.h + self.b, 4)
                self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
                self.h = sigmoid(o) * np.tanh(self.c)
                trace.append((self.h, self.c))
            return trace

    net = Lstm(weights["W"], weights["R"], weights["b"])
    result = np.empty((2, len(x), *h0.shape), x.dtype)
    for n in range(x.shape[1]):
        if n == 0:
            net.reset(h0[n], c0[n])
        for t, pair in enumerate(net.feed(x[:, n])):
            result[:, t, n] = pair
    return result[0], result[1]
