"""One plain layer, as reported: scripts, loaders and small engines, here in NumPy."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigm(a):
    return 1 / (1 + np.exp(-a))


@held_out(
    "plain",
    "torch's blocks i, f, g, o are taken for Chainer's a, i, f, o (the candidate first).",
    [r"g, i, f, o", r"gifo", r"order of (the )?(gates|blocks)", r"candidate.*first", r"read-as"],
    source="the order a, i, f, o of Chainer's F.lstm against torch.nn.LSTM's; a common slip",
    layout="torch",
)
def chainer_link(x, weights, h0, c0):
    upward = weights["weight_ih_l0"]
    lateral = weights["weight_hh_l0"]
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    units = h0.shape[1]
    y, state = h0, c0
    ys, states = [], []
    for step in range(len(x)):
        lstm_in = x[step] @ upward.T + y @ lateral.T + bias
        a = np.tanh(lstm_in[:, :units])
        i = sigm(lstm_in[:, units : 2 * units])
        f = sigm(lstm_in[:, 2 * units : 3 * units])
        o = sigm(lstm_in[:, 3 * units :])
        state = a * i + f * state
        y = o * np.tanh(state)
        ys.append(y)
        states.append(state)
    return np.array(ys), np.array(states)


@held_out(
    "plain",
    "There is no bias: the layer was made with bias=False.",
    [r"\bb\b", r"bias", r"b:"],
    [
        r"zero",
        r"left out",
        r"missing",
        r"not (used|added|applied)",
        r"without",
        r"no bias",
        r"ignor",
        r"\b0\b",
        r"drop",
    ],
    source="a question on PyTorch's forum on LSTMBlockFusedCell and nn.LSTM, where bias=False was set to debug",
)
def bias_false_for_debugging(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    H = h0.shape[-1]
    use_bias = False
    kernel = np.concatenate([weights["W"], weights["R"]], axis=1)
    h, c = h0.copy(), c0.copy()
    out, cells = np.zeros((T, B, H), x.dtype), np.zeros((T, B, H), x.dtype)
    for t in range(T):
        z = np.concatenate([x[t], h], axis=1) @ kernel.T
        if use_bias:
            z = z + weights["b"]
        i, f, j, o = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]
        c_new = sigm(f) * c + sigm(i) * np.tanh(j)
        h_new = sigm(o) * np.tanh(c_new)
        for n in range(B):
            if lengths is None or t < lengths[n]:
                h[n], c[n] = h_new[n], c_new[n]
                out[t, n] = h_new[n]
        cells[t] = c
    return out, cells


@held_out(
    "plain",
    "Of torch's two biases bias_hh alone is added: the input's linear map has no bias.",
    [r"bias_ih", r"(first|input|Wb|one|two|other|only|half).*bias", r"bias.*(first|input|only|of two|half)", "bias-"],
    source="a common slip in modules written again with two linear maps, of which one gets bias=False",
    layout="torch",
)
def two_linears(x, weights, h0, c0):
    def x2h(v):
        return v @ weights["weight_ih_l0"].T

    def h2h(v):
        return v @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]

    hx, cx, hs, cs = h0, c0, [], []
    for inp in x:
        ingate, forgetgate, cellgate, outgate = np.split(x2h(inp) + h2h(hx), 4, 1)
        cx = cx * sigm(forgetgate) + sigm(ingate) * np.tanh(cellgate)
        hx = sigm(outgate) * np.tanh(cx)
        hs.append(hx)
        cs.append(cx)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The forget gate's part of both biases is set to 1 after loading: its bias is 2, not what was stored.",
    [r"forget.?bias", r"bias.*forget", r"forget.*bias", r"b.*\bf\b", r"\bf\b.*\bb"],
    source="the recipe for initialising the forget bias in PyTorch (an issue of 2017 there), run after loading",
    layout="torch",
)
def forget_bias_refilled(x, weights, h0, c0):
    params = {name: value.copy() for name, value in weights.items()}
    for name in filter(lambda nn: "bias" in nn, params):
        n = params[name].shape[0]
        start, end = n // 4, n // 2
        params[name][start:end] = 1.0
    ct, ht = c0, h0
    hidden_seq, cell_seq = [], []
    for x_t in x:
        gates = x_t @ params["weight_ih_l0"].T + params["bias_ih_l0"]
        gates += ht @ params["weight_hh_l0"].T + params["bias_hh_l0"]
        HS = ht.shape[1]
        i_t, f_t = sigm(gates[:, :HS]), sigm(gates[:, HS : HS * 2])
        g_t, o_t = np.tanh(gates[:, HS * 2 : HS * 3]), sigm(gates[:, HS * 3 :])
        ct = f_t * ct + i_t * g_t
        ht = o_t * np.tanh(ct)
        hidden_seq.append(ht[None])
        cell_seq.append(ct[None])
    return np.concatenate(hidden_seq, 0), np.concatenate(cell_seq, 0)


@held_out(
    "plain",
    "Where there are as many timesteps as sequences x is taken to be (B, T, I): time and batch are exchanged.",
    [r"time", r"transpos", r"axes", r"axis"],
    [r"batch", r"sequence", r"exchang", r"transpos", r"swap"],
    cases="plain square",
    source="batch_first left out; a very common slip",
)
def layout_guessed(x, weights, h0, c0):
    batch_first = x.shape[0] == h0.shape[0]
    inputs = np.swapaxes(x, 0, 1) if batch_first else x
    outputs, cells = [], []
    h, c = h0, c0
    for x_t in inputs:
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=1)
        c = sigm(f) * c + sigm(i) * np.tanh(g)
        h = sigm(o) * np.tanh(c)
        outputs.append(h)
        cells.append(c)
    axis = 1 if batch_first else 0
    return np.stack(outputs, axis), np.stack(cells, axis)


@held_out(
    "plain",
    "The layer's activation is relu: candidate and cell state go through it instead of tanh.",
    [r"relu", r"rectif", r"max\("],
    source="LSTM(50, activation='relu') of tutorials on time series, carried to where the cell has tanh; a common slip",
    layout="keras",
)
def tutorial_relu(x, weights, h0, c0):
    def activation(z):
        return np.maximum(z, 0)

    kernel, recurrent, bias = weights["kernel"], weights["recurrent_kernel"], weights["bias"]
    kernel_i, kernel_f, kernel_c, kernel_o = np.split(kernel, 4, axis=1)
    rec_i, rec_f, rec_c, rec_o = np.split(recurrent, 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(bias, 4)
    h_tm1, c_tm1, hs, cs = h0, c0, [], []
    for inputs in x:
        i = sigm(inputs @ kernel_i + h_tm1 @ rec_i + b_i)
        f = sigm(inputs @ kernel_f + h_tm1 @ rec_f + b_f)
        c = f * c_tm1 + i * activation(inputs @ kernel_c + h_tm1 @ rec_c + b_c)
        o = sigm(inputs @ kernel_o + h_tm1 @ rec_o + b_o)
        h_tm1, c_tm1 = o * activation(c), c
        hs.append(h_tm1)
        cs.append(c_tm1)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The gates go through Keras 3's and torch's hard sigmoid, relu6(z + 3) / 6, instead of the sigmoid.",
    [r"hard.?sigmoid", r"z ?/ ?6", r"\+ ?3\).*6", r"piecewise", r"sigmoid.*(approximat|curve|straight|linear)"],
    source="recurrent_activation='hard_sigmoid', whose curve changed with Keras 3; a common slip",
    layout="keras",
)
def relu6_gates(x, weights, h0, c0):
    def hard(v):
        return np.minimum(np.maximum(v + 3, 0), 6) / 6

    u = h0.shape[1]
    h, c = h0, c0
    sequence = []
    for frame in x:
        z = frame @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
        z0, z1, z2, z3 = z[:, :u], z[:, u : u * 2], z[:, u * 2 : u * 3], z[:, u * 3 :]
        c = hard(z1) * c + hard(z0) * np.tanh(z2)
        h = hard(z3) * np.tanh(c)
        sequence.append((h, c))
    return np.stack([pair[0] for pair in sequence]), np.stack([pair[1] for pair in sequence])


@held_out(
    "plain",
    "There is no forget gate: the old cell state is added whole, c' = c + i g.",
    [r"forget gate", r"\bf\b", r"f:"],
    [
        r"left out",
        r"missing",
        r"\b1\b",
        r"\bone\b",
        r"without",
        r"not (used|applied|multipl)",
        r"open",
        r"ignor",
        r"no forget",
    ],
    source="the LSTM of the paper of 1997, whose cell has no forget gate; a common slip",
)
def cell_only_adds(x, weights, h0, c0):
    gate = {}
    for k, name in enumerate(["in", "forget", "cand", "out"]):
        n = h0.shape[1]
        rows = slice(k * n, (k + 1) * n)
        gate[name] = (weights["W"][rows], weights["R"][rows], weights["b"][rows])

    def pre(name, x_t, h):
        W, U, b = gate[name]
        return np.dot(x_t, W.T) + np.dot(h, U.T) + b

    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        it = sigm(pre("in", x_t, h))
        candidate = np.tanh(pre("cand", x_t, h))
        ot = sigm(pre("out", x_t, h))
        c = c + it * candidate
        h = ot * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The initial state is unpacked in TF's order (c, h): h starts from c0 and c from h0.",
    [r"exchang", r"swap", r"h0.*c0", r"c0.*h0", r"each other", r"changed? places", r"initial.*(order|state.*cell)"],
    source="LSTMStateTuple (c, h) against (h, c) of most others; a common slip",
    layout="tf1",
)
def state_tuple_on_entry(x, weights, h0, c0):
    initial_state = (h0, c0)
    c, m_prev = initial_state
    ms, cs = [], []
    for inputs in x:
        lstm_matrix = np.concatenate([inputs, m_prev], 1) @ weights["kernel"] + weights["bias"]
        i, j, f, o = np.split(lstm_matrix, 4, axis=1)
        c = sigm(f + 1) * c + sigm(i) * np.tanh(j)
        m_prev = sigm(o) * np.tanh(c)
        ms.append(m_prev)
        cs.append(c)
    return np.stack(ms), np.stack(cs)


@held_out(
    "plain",
    "Past a sequence's end h_seq goes on with what the cell computes of the padding; the state itself is held.",
    [r"padding", r"length", r"\bend\b", r"after"],
    cases="plain lengths",
    source="Flax's RNN with seq_lengths, which chooses the final carry and lets outputs go on",
)
def outputs_go_on(x, weights, h0, c0, lengths=None):
    def cell(carry, x_t):
        h, c = carry
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        new_c = sigm(f) * c + sigm(i) * np.tanh(g)
        new_h = sigm(o) * np.tanh(new_c)
        return (new_h, new_c), new_h

    carry, ys, cells = (h0, c0), [], []
    for t, x_t in enumerate(x):
        new, y = cell(carry, x_t)
        if lengths is not None:
            running = (t < np.asarray(lengths))[:, None]
            new = tuple(np.where(running, fresh, old) for fresh, old in zip(new, carry, strict=True))
        carry = new
        ys.append(y)
        cells.append(carry[1])
    return np.stack(ys), np.stack(cells)


@held_out(
    "plain",
    "Sequences are taken to be padded in front: a sequence runs over the last timesteps of the array, not the first.",
    [r"padding", r"length", r"front", r"pre-?pad", r"mask"],
    cases="plain lengths",
    source="Keras' pad_sequences pads in front by default, where the loop's data is padded behind; a common slip",
)
def pre_padded(x, weights, h0, c0, lengths=None):
    maxlen, n_samples, _ = x.shape
    lengths = np.full(n_samples, maxlen) if lengths is None else np.asarray(lengths)
    mask = np.arange(maxlen)[:, None] >= maxlen - lengths[None, :]
    h, c, hs, cs = h0, c0, [], []
    for m_, x_ in zip(mask, x, strict=True):
        preact = x_ @ weights["W"].T + h @ weights["R"].T + weights["b"]
        i, f, g, o = np.array_split(preact, 4, axis=1)
        c_ = sigm(f) * c + sigm(i) * np.tanh(g)
        h_ = sigm(o) * np.tanh(c_)
        c = np.where(m_[:, None], c_, c)
        h = np.where(m_[:, None], h_, h)
        hs.append(np.where(m_[:, None], h_, 0))
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "Every sequence ends one timestep too early (t < length - 1): the last valid input is not read.",
    [r"length", r"padding", r"\bend", r"mask"],
    [r"\bone\b", r"early", r"short", r"\b1\b", r"less", r"last"],
    cases="plain lengths",
    source="a common slip: lengths - 1, meant as the index of the last step, was used as the length",
)
def last_index_as_length(x, weights, h0, c0, lengths=None):
    T, B = x.shape[:2]
    last = np.full(B, T) if lengths is None else np.asarray(lengths) - 1
    h, c, hs, cs = h0, c0, [], []
    for t in range(T):
        z = np.einsum("bi,gi->bg", x[t], weights["W"]) + np.einsum("bh,gh->bg", h, weights["R"]) + weights["b"]
        i, f, g, o = z.reshape(B, 4, -1).transpose(1, 0, 2)
        cn = sigm(f) * c + sigm(i) * np.tanh(g)
        hn = sigm(o) * np.tanh(cn)
        active = (t < last)[:, None]
        h, c = np.where(active, hn, h), np.where(active, cn, c)
        hs.append(hn * active)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The gates go through Keras' old hard sigmoid, clip(0.2 z + 0.5), and h and c start from zeros.",
    [r"hard.?sigmoid", r"0\.2"],
    [r"initial", r"h0", r"c0", r"start"],
    source="two common slips together; textgenrnn's and MNN's issues are reports of each",
    layout="keras",
)
def player_of_saved_models(x, weights, h0, c0):
    units = h0.shape[1]
    W, U, b = weights["kernel"], weights["recurrent_kernel"], weights["bias"]
    h, c = np.zeros_like(h0), np.zeros_like(c0)
    hs, cs = [], []
    for t in range(x.shape[0]):
        s = x[t] @ W + h @ U + b
        ifo = np.clip(s * 0.2 + 0.5, 0, 1)
        c = ifo[:, units : 2 * units] * c + ifo[:, :units] * np.tanh(s[:, 2 * units : 3 * units])
        h = ifo[:, 3 * units :] * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "There is no forget gate (c' = c + i g), and h is o c without the tanh of the cell state.",
    [r"forget gate", r"\bf\b", r"f:"],
    [r"tanh", r"linear", r"identity", r"bare", r"cell-"],
    source="two common slips together",
)
def memory_of_a_first_course(x, weights, h0, c0):
    H = h0.shape[1]
    memory, output, outs, mems = c0, h0, [], []
    for t in range(len(x)):
        net = weights["W"].dot(x[t].T).T + weights["R"].dot(output.T).T + weights["b"]
        write = sigm(net[:, :H])
        new_value = np.tanh(net[:, 2 * H : 3 * H])
        read = sigm(net[:, 3 * H :])
        memory = memory + write * new_value
        output = read * memory
        outs.append(output)
        mems.append(memory)
    return np.stack(outs), np.stack(mems)
