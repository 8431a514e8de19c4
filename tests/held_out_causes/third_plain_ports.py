# ruff: noqa: ARG001, N801, RUF059 (code as people write it)
"""One plain layer by hand, as reported: gates, activations, states and padding."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


@held_out(
    "plain",
    "The bias is added twice: to the input's product beforehand, and again in every step.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"twice", r"double", r"2 ?b\b", r"two times", r"2 times", r"again", r"\b2\b"],
    source="lisa-lab/DeepLearningTutorials, issue 81: Bias term be added twice in lstm.py",
)
def theano_tutorial(x, weights, h0, c0):
    tparams = {"lstm_W": weights["W"].T, "lstm_U": weights["R"].T, "lstm_b": weights["b"]}
    dim = h0.shape[1]

    def _slice(_x, n):
        return _x[:, n * dim : (n + 1) * dim]

    def _step(x_, h_, c_):
        preact = np.dot(h_, tparams["lstm_U"])
        preact += x_
        preact += tparams["lstm_b"]
        i = sigmoid(_slice(preact, 0))
        f = sigmoid(_slice(preact, 1))
        o = sigmoid(_slice(preact, 3))
        c = np.tanh(_slice(preact, 2))
        c = f * c_ + i * c
        h = o * np.tanh(c)
        return h, c

    state_below = np.dot(x, tparams["lstm_W"]) + tparams["lstm_b"]
    h, c, rval = h0, c0, []
    for x_ in state_below:
        h, c = _step(x_, h, c)
        rval.append((h, c))
    return np.array([r[0] for r in rval]), np.array([r[1] for r in rval])


@held_out(
    "plain",
    "The step gives (h, c) and is unpacked as (c, h): the two states change places at every step.",
    [r"\bh\b.*\bc\b", r"\bc\b.*\bh\b", r"states?"],
    [r"exchang", r"swap", r"change places", r"order", r"instead of", r"for the other", r"place of"],
    source="microsoft/nni, issue 2839: Is StackedLSTMCell correct implementation?",
)
def stacked_cell_of_enas(x, weights, h0, c0):
    def lstm_cell(inputs, prev):
        hx, cx = prev
        gates = inputs @ weights["W"].T + hx @ weights["R"].T + weights["b"]
        ingate, forgetgate, cellgate, outgate = np.split(gates, 4, axis=1)
        cy = sigmoid(forgetgate) * cx + sigmoid(ingate) * np.tanh(cellgate)
        return sigmoid(outgate) * np.tanh(cy), cy

    prev_h, prev_c = h0, c0
    outs, cells = [], []
    for inputs in x:
        prev_c, prev_h = lstm_cell(inputs, (prev_h, prev_c))
        outs.append(prev_h)
        cells.append(prev_c)
    return np.stack(outs), np.stack(cells)


class sLSTMLayer:
    def __init__(self, weights):
        names = ("igate", "fgate", "zgate", "ogate")
        blocks = (np.split(weights[key], 4) for key in ("W", "R", "b"))
        self.params = dict(zip(names, zip(*blocks, strict=True), strict=True))

    def gate(self, name, x, h):
        W, R, b = self.params[name]
        return x @ W.T + h @ R.T + b

    def step(self, x, h, c):
        i, f, z, o = (
            self.gate("fgate", x, h),
            self.gate("igate", x, h),
            self.gate("zgate", x, h),
            self.gate("ogate", x, h),
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        return sigmoid(o) * np.tanh(c), c


@held_out(
    "plain",
    "The input gate and the forget gate are exchanged: i is computed with f's weights and bias, f with i's.",
    [r"f, i, g, o", r"\bi\b.*\bf\b", r"\bf\b.*\bi\b", r"figo", r"input.*forget", r"forget.*input"],
    source="NX-AI/xlstm, issue 98: Gate assignment mismatch in sLSTMLayer (igate/fgate swapped)",
)
def igate_fgate_by_name(x, weights, h0, c0):
    layer, h, c = sLSTMLayer(weights), h0, c0
    hs, cs = [], []
    for x_t in x:
        h, c = layer.step(x_t, h, c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The output gate's pre-activation goes through tanh first, and then through the sigmoid.",
    [r"\bo\b", r"output gate"],
    [r"tanh", r"sigmoid\(tanh", r"twice"],
    source="google/e3d_lstm, issue 17: About the src/layers/rnn_cell.py",
)
def eidetic_output_gate(x, weights, h0, c0):
    H = h0.shape[1]
    new_hidden, new_cell, hiddens, cells = h0, c0, [], []
    for t in range(x.shape[0]):
        new = x[t] @ weights["W"].T + weights["b"]
        rec = new_hidden @ weights["R"].T
        i_x, f_x, g_x, o_x = (new[:, k * H : (k + 1) * H] for k in range(4))
        i_h, f_h, g_h, o_h = (rec[:, k * H : (k + 1) * H] for k in range(4))
        new_cell = sigmoid(f_x + f_h) * new_cell + sigmoid(i_x + i_h) * np.tanh(g_x + g_h)
        output_gate = np.tanh(o_x + o_h)
        new_hidden = np.tanh(new_cell) * sigmoid(output_gate)
        hiddens.append(new_hidden)
        cells.append(new_cell)
    return np.asarray(hiddens), np.asarray(cells)


@held_out(
    "plain",
    "The output gate is used without its sigmoid.",
    [r"\bo\b", r"output gate"],
    [r"linear", r"identity", r"(without|no|missing|left out).*", r"bare", r"not .*sigmoid"],
    source="tam17aki/multiplicative-lstm-tensorflow, issue 3: sigmoid of output",
)
def multiplicative_output(x, weights, h0, c0):
    kernel = np.concatenate([weights["W"].T, weights["R"].T])
    state, out_h, out_c = (c0, h0), [], []
    for inputs in x:
        c, h = state
        lstm_matrix = np.concatenate([inputs, h], 1) @ kernel + weights["b"]
        i, f, j, o = np.split(lstm_matrix, 4, 1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(j)
        new_h = np.tanh(new_c) * o
        state = new_c, new_h
        out_c.append(new_c)
        out_h.append(new_h)
    return np.stack(out_h), np.stack(out_c)


@held_out(
    "plain",
    "The input gate goes through tanh instead of the sigmoid.",
    [r"\bi\b", r"input gate"],
    [r"tanh"],
    source="suriyadeepan/rnn-from-scratch, issue 4: input gate should use tanh for activation",
)
def input_gate_as_advised(x, weights, h0, c0):
    U = np.split(weights["W"].T, 4, axis=1)
    W = np.split(weights["R"].T, 4, axis=1)
    b = np.split(weights["b"], 4)
    st_1, ct_1, states = h0, c0, []
    for x_t in x:
        i = np.tanh(x_t @ U[0] + st_1 @ W[0] + b[0])
        f = sigmoid(x_t @ U[1] + st_1 @ W[1] + b[1])
        g = np.tanh(x_t @ U[2] + st_1 @ W[2] + b[2])
        o = sigmoid(x_t @ U[3] + st_1 @ W[3] + b[3])
        ct_1 = ct_1 * f + g * i
        st_1 = np.tanh(ct_1) * o
        states.append([st_1, ct_1])
    return np.array([s for s, _ in states]), np.array([c for _, c in states])


@held_out(
    "plain",
    "The candidate goes through the sigmoid instead of tanh.",
    [r"\bg\b", r"candidate", r"cell (input|gate)"],
    [r"sigmoid"],
    source="llSourcell/How-to-Learn-from-Little-Data, pull request 4: Update Model.py",
)
def controller_of_memory(x, weights, h0, c0):
    def controller(x_t, h_tm1, c_tm1, Wx, Wh, b):
        nb = h_tm1.shape[1]
        pre = np.einsum("bi,zi->bz", x_t, Wx) + np.einsum("bh,zh->bz", h_tm1, Wh) + b
        i, f, u, o = (sigmoid(pre[:, k * nb : (k + 1) * nb]) for k in range(4))
        c_t = f * c_tm1 + i * u
        return o * np.tanh(c_t), c_t

    out = [(h0, c0)]
    for x_t in x:
        out.append(controller(x_t, *out[-1], weights["W"], weights["R"], weights["b"]))
    return np.stack([h for h, _ in out[1:]]), np.stack([c for _, c in out[1:]])


@held_out(
    "plain",
    "The states are never updated in the loop: every step starts from h0 and c0.",
    [r"\bh0\b", r"initial", r"carr", r"every (time)?step", r"state"],
    [r"every", r"each", r"carr", r"reset", r"never", r"anew", r"start"],
    source="ChenRocks/fast_abs_rl, issue 14: is it a bug in model/rl.py",
)
def pointer_scorer(x, weights, h0, c0):
    lstm_states = (h0, c0)
    scores, cells = [], []
    for lstm_in in x:
        h, c = lstm_states
        g = lstm_in @ weights["W"].T + h @ weights["R"].T + weights["b"]
        i, f, z, o = np.hsplit(g, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
        scores.append(h)
        cells.append(c)
    return np.stack(scores), np.stack(cells)


@held_out(
    "plain",
    "h is made with the cell state from before the step, tanh(c), not tanh(c').",
    [r"\bc\b", r"cell state"],
    [r"before", r"previous", r"\bold\b", r"c_in", r"t ?[-\N{MINUS SIGN}] ?1", r"start"],
    source="a common slip; pytorch/pytorch, pull request 6951: fix typo in the LSTMCell math definition",
)
def as_the_formula_stood(x, weights, h0, c0):
    W_ii, W_if, W_ig, W_io = np.split(weights["W"], 4)
    W_hi, W_hf, W_hg, W_ho = np.split(weights["R"], 4)
    b_i, b_f, b_g, b_o = np.split(weights["b"], 4)
    h, c = h0, c0
    hx, cx = [], []
    for x_ in x:
        i = sigmoid(x_ @ W_ii.T + b_i + h @ W_hi.T)
        f = sigmoid(x_ @ W_if.T + b_f + h @ W_hf.T)
        g = np.tanh(x_ @ W_ig.T + b_g + h @ W_hg.T)
        o = sigmoid(x_ @ W_io.T + b_o + h @ W_ho.T)
        c_next = f * c + i * g
        h = o * np.tanh(c)
        c = c_next
        hx.append(h)
        cx.append(c)
    return np.stack(hx), np.stack(cx)


@held_out(
    "plain",
    "The input gate multiplies the old cell state instead of the candidate: c' = f c + i c.",
    [r"\bc\b", r"cell state"],
    [r"candidate", r"\bg\b", r"i \* c", r"i c\b", r"add"],
    source="pytorch/pytorch, pull request 525: fix documentation of LSTM cell",
)
def as_documented_once(x, weights, h0, c0):
    T, B, _ = x.shape
    H = h0.shape[1]
    h_all, c_all = np.zeros((T + 1, B, H), x.dtype), np.zeros((T + 1, B, H), x.dtype)
    h_all[0], c_all[0] = h0, c0
    for t in range(T):
        z = x[t].dot(weights["W"].T) + h_all[t].dot(weights["R"].T) + weights["b"]
        i, f, g, o = np.split(z, 4, axis=1)
        i, f, o = sigmoid(i), sigmoid(f), sigmoid(o)
        c_all[t + 1] = f * c_all[t] + i * c_all[t]
        h_all[t + 1] = o * np.tanh(c_all[t + 1])
    return h_all[1:], c_all[1:]


@held_out(
    "plain",
    "h is o times the sigmoid of the cell state instead of its tanh.",
    [r"sigmoid"],
    [r"\bc\b", r"cell state", r"\bh\b", r"output", r"tanh"],
    source="yandexdataschool/AgentNet, issue 80: canonicalize LSTM",
)
def gate_nonlinearity_for_all(x, weights, h0, c0):
    gate_nonlinearity, output_nonlinearity = sigmoid, sigmoid
    hid, cell, history = h0, c0, []
    for inp in x:
        gates = inp @ weights["W"].T + hid @ weights["R"].T + weights["b"]
        ingate, forgetgate, cell_input, outgate = np.split(gates, 4, axis=-1)
        ingate, forgetgate, outgate = map(gate_nonlinearity, (ingate, forgetgate, outgate))
        cell = forgetgate * cell + ingate * np.tanh(cell_input)
        hid = outgate * output_nonlinearity(cell)
        history.append(SimpleNamespace(hid=hid, cell=cell))
    return np.stack([p.hid for p in history]), np.stack([p.cell for p in history])


@held_out(
    "plain",
    "h goes through one more tanh: tanh(o tanh(c)).",
    [r"tanh"],
    [r"\bh\b", r"output", r"twice", r"once more", r"again", r"further"],
    source="apache/tvm, pull request 19633: Add LSTM and SVDF converter (activation in the wrong places)",
)
def fused_activation_at_the_end(x, weights, h0, c0):
    outputs, cells = [], []
    output_state, cell_state = h0, c0
    for data in x:
        lin = data @ weights["W"].T + output_state @ weights["R"].T + weights["b"]
        in_gate, forget, cell_gate, out_gate = np.split(lin, 4, 1)
        cell_state = sigmoid(forget) * cell_state + sigmoid(in_gate) * np.tanh(cell_gate)
        h_new = sigmoid(out_gate) * np.tanh(cell_state)
        output_state = np.tanh(h_new)
        outputs.append(output_state)
        cells.append(cell_state)
    return np.stack(outputs), np.stack(cells)


@held_out(
    "plain",
    "The first step takes h as zeros (c0 is used): the initial h is not handed on.",
    [r"\bh0\b", r"initial h\b", r"\bh\b.*(start|initial)", r"(start|initial).*\bh\b", r"hidden"],
    [r"zero", r"\b0\b", r"ignor", r"not used", r"left out"],
    source="ARM-software/CMSIS-NN, pull request 219: Fixed LSTM (hidden_in is set to NULL)",
)
def hidden_in_null(x, weights, h0, c0):
    hidden_in, cell_state = None, c0
    data_out, cells = [], []
    for t in range(len(x)):
        acc = np.matmul(x[t], np.transpose(weights["W"])) + weights["b"]
        if hidden_in is not None:
            acc = acc + np.matmul(hidden_in, np.transpose(weights["R"]))
        i, f, c_tilde, o = np.split(acc, 4, axis=-1)
        cell_state = sigmoid(f) * cell_state + sigmoid(i) * np.tanh(c_tilde)
        hidden_in = sigmoid(o) * np.tanh(cell_state)
        data_out.append(hidden_in)
        cells.append(cell_state)
    return np.stack(data_out), np.stack(cells)


@held_out(
    "plain",
    "The input gate lacks its recurrent product, and h lacks the tanh of the cell state.",
    [r"\bi\b", r"input gate"],
    [
        r"tanh.*(left out|missing|not applied|without)",
        r"(without|no|lacks|leaves out).*tanh",
        r"linear",
        r"identity",
        r"bare",
    ],
    source="a common slip; h = s * o: nicodjimenez/lstm, issue 9: about tan(s)",
)
def node_without_tanh(x, weights, h0, c0):
    w = {k: np.split(weights[k], 4) for k in ("W", "R", "b")}
    h, s, trace = h0, c0, []
    for x_t in x:
        gate = [x_t @ w["W"][k].T + h @ w["R"][k].T + w["b"][k] for k in range(4)]
        gate[0] = x_t @ w["W"][0].T + w["b"][0]
        s = np.tanh(gate[2]) * sigmoid(gate[0]) + s * sigmoid(gate[1])
        h = s * sigmoid(gate[3])
        trace.append((h, s))
    hs, cs = zip(*trace, strict=True)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The bias is added twice, and the candidate goes through the sigmoid instead of tanh.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"sigmoid"],
    source="kelvinxu/arctic-captions, issue 7: bias term has been added twice in LSTM layer, with a common slip",
)
def captions_layer(x, weights, h0, c0):
    W, U, b = weights["W"].T, weights["R"].T, weights["b"]
    dim = U.shape[0]

    def _step(x_, h_, c_):
        preact = x_ + h_ @ U + b
        gate = sigmoid(preact)
        i, f, o = gate[:, :dim], gate[:, dim : 2 * dim], gate[:, 3 * dim :]
        c = gate[:, 2 * dim : 3 * dim]
        c = f * c_ + i * c
        return o * np.tanh(c), c

    seq = [(h0, c0)]
    for x_ in np.dot(x, W) + b:
        seq.append(_step(x_, *seq[-1]))
    h_seq, c_seq = zip(*seq[1:], strict=True)
    return np.stack(h_seq), np.stack(c_seq)
