"""Cells with something more or other: projections, peepholes, clips, coupled gates, activations."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def unrolled(step, x, h, c):
    """Carry h and c through time."""
    h_seq, c_seq = [], []
    for x_t in x:
        h, c = step(x_t, h, c)
        h_seq.append(h)
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq)


@held_out(
    "cell",
    "The peepholes are not used: no gate sees the cell state.",
    [r"peephole", r"\bp\b"],
    [
        r"not (used|added|read|applied)",
        r"ignor",
        r"left out",
        r"without",
        r"no peephole",
        r"missing",
        r"zero",
        r"\b0\b",
        r"none",
    ],
    source="Convolutional-LSTM-in-Tensorflow issue 11: the cell state C is not passed to _conv_linear",
    cases="peepholes",
)
def gates_without_c(x, weights, h0, c0):
    """Reported of a cell after a paper with peepholes: only the input and h are passed to the gates' layer."""

    def _linear(args):
        return np.concatenate(args, 1) @ np.concatenate([weights["W"], weights["R"]], 1).T + weights["b"]

    def step(inputs, h, c):
        i, f, j, o = np.split(_linear([inputs, h]), 4, axis=1)
        wi, wf, wo = np.zeros_like(weights["p"])
        new_c = c * sigmoid(f + wf * c) + sigmoid(i + wi * c) * np.tanh(j)
        return np.tanh(new_c) * sigmoid(o + wo * new_c), new_c

    return unrolled(step, x, h0, c0)


@held_out(
    "cell",
    "The output gate's peephole sees the cell state before the step, as i's and f's do; it should see the new one.",
    [r"peephole", r"\bp\b"],
    [r"before", r"previous", r"\bold\b", r"last"],
    [r"output gate", r"\bo\b", r"o's"],
    source="ConvLSTM-Pytorch issue 1: by the formula it should be c_next and not c_cur",
    cases="peepholes",
)
def three_peepholes_alike(x, weights, h0, c0):
    """Reported of a convolutional cell, whose three peepholes all read the state before; here in one line."""
    wci, wcf, wco = weights["p"]
    peep = np.concatenate([wci, wcf, np.zeros_like(wci), wco])

    def step(x_t, h, c):
        z = x_t @ weights["W"].T + h @ weights["R"].T + weights["b"] + np.tile(c, 4) * peep
        zi, zf, zg, zo = np.split(z, 4, axis=1)
        c = sigmoid(zf) * c + sigmoid(zi) * np.tanh(zg)
        return sigmoid(zo) * np.tanh(c), c

    return unrolled(step, x, h0, c0)


@held_out(
    "cell",
    "The projection goes through tanh.",
    [r"project", r"\bP\b", r"\bh\b"],
    [r"tanh", r"activation", r"curve"],
    source="Paddle pull request 15605: the default of proj_activation is changed to identity; it was tanh",
    cases="projection",
)
def proj_activation_tanh(x, weights, h0, c0):
    """Mended in an operator, whose projection had an activation that no other framework has."""
    proj_activation = np.tanh
    P = weights["P"]
    state, outputs, cells = (h0, c0), [], []
    for x_t in x:
        r, c = state
        i, f, g, o = np.split(x_t @ weights["W"].T + r @ weights["R"].T + weights["b"], 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        r = proj_activation((sigmoid(o) * np.tanh(c)) @ P.T)
        outputs.append(r)
        cells.append(c)
        state = r, c
    return np.stack(outputs), np.stack(cells)


@held_out(
    "cell",
    "The clip holds the projected h, and should hold the cell state: cell_clip is taken for proj_clip.",
    [r"clip"],
    [r"\bh\b", r"hidden", r"project", r"output"],
    source="ratsgo/embedding issue 49 and allennlp pull request 862: what cell_clip and proj_clip of ELMo's cell clip",
    cases="projection and clip",
)
def clip_on_the_projection(x, weights, h0, c0):
    """ELMo's cell has two clips; a port that has one puts it where the other belongs."""
    memory_cell_clip_value = weights["clip"]

    def clamp(a):
        return np.minimum(np.maximum(a, -memory_cell_clip_value), memory_cell_clip_value)

    def step(timestep_input, previous_state, previous_memory):
        projected_input = timestep_input @ weights["W"].T
        projected_state = previous_state @ weights["R"].T + weights["b"]
        input_gate, forget_gate, memory_init, output_gate = np.split(projected_input + projected_state, 4, axis=-1)
        memory = sigmoid(input_gate) * np.tanh(memory_init) + sigmoid(forget_gate) * previous_memory
        pre_projection = sigmoid(output_gate) * np.tanh(memory)
        return clamp(pre_projection @ weights["P"].T), memory

    return unrolled(step, x, h0, c0)


@held_out(
    "cell",
    "The clip holds the inputs of the gates' activations, as ONNX has it, and should hold the cell state.",
    [r"clip"],
    [r"pre.?activation", r"\bz\b", r"gate", r"inputs? of", r"onnx", r"before the (activation|sigmoid)"],
    source="ONNX's attribute clip beside TensorFlow's cell_clip: one name, two places; a common slip of converters",
    cases="clip",
)
def clip_of_onnx(x, weights, h0, c0):
    """A converter that writes cell_clip into ONNX's clip, whose text says: the input of activations."""
    bound = weights["clip"]

    def f(a):
        return sigmoid(np.clip(a, -bound, bound))

    def g(a):
        return np.tanh(np.clip(a, -bound, bound))

    def step(X, H_t, C_t):
        it, ft, ct, ot = np.split(X @ weights["W"].T + H_t @ weights["R"].T + weights["b"], 4, axis=-1)
        C = f(ft) * C_t + f(it) * g(ct)
        return f(ot) * np.tanh(C), C

    return unrolled(step, x, h0, c0)


@held_out(
    "cell",
    "The projection is multiplied without being transposed: it is square, so nothing complains.",
    [r"\bP\b", r"project"],
    [r"transpos"],
    source="ports between TensorFlow's projection/kernel (H, P) and PyTorch's weight_hr (P, H); a common slip",
    cases="projection square",
)
def kernel_of_projection_as_stored(x, weights, h0, c0):
    """num_proj equal to num_units: the kernel of one framework fits the line of the other."""
    concat_w = np.concatenate([weights["W"], weights["R"]], axis=1).T
    proj_kernel = weights["P"]
    m_prev, c_prev = h0, c0
    ms, cs = np.zeros((len(x), *h0.shape), x.dtype), np.zeros((len(x), *c0.shape), x.dtype)
    for t, inputs in enumerate(x):
        lstm_matrix = np.concatenate([inputs, m_prev], axis=1) @ concat_w + weights["b"]
        i, f, j, o = np.split(lstm_matrix, 4, axis=1)
        c_prev = sigmoid(f) * c_prev + sigmoid(i) * np.tanh(j)
        m_prev = (sigmoid(o) * np.tanh(c_prev)) @ proj_kernel
        ms[t], cs[t] = m_prev, c_prev
    return ms, cs


@held_out(
    "cell",
    "The clip holds what goes to the output alone: the cell state that is carried is not clipped.",
    [r"clip"],
    [r"carried", r"\bfed\b", r"next", r"output", r"alone", r"only", r"returned", r"tanh"],
    source="cuDNN's text on its clip can be read two ways: the state itself, or what reads it; a common slip",
    cases="clip",
)
def clip_for_the_output_alone(x, weights, h0, c0):
    """A clip put where the cell state is read, and not where it is written."""
    limit = weights["clip"]
    wi, wf, wc, wo = np.split(weights["W"], 4)
    ri, rf, rc, ro = np.split(weights["R"], 4)
    bi, bf, bc, bo = np.split(weights["b"], 4)
    Y, Y_c = [], []
    H_t, C_t = h0, c0
    for X_t in x:
        it = sigmoid(X_t @ wi.T + H_t @ ri.T + bi)
        ft = sigmoid(X_t @ wf.T + H_t @ rf.T + bf)
        ct = np.tanh(X_t @ wc.T + H_t @ rc.T + bc)
        ot = sigmoid(X_t @ wo.T + H_t @ ro.T + bo)
        C_t = ft * C_t + it * ct
        clipped = np.clip(C_t, -limit, limit)
        H_t = ot * np.tanh(clipped)
        Y.append(H_t)
        Y_c.append(C_t)
    return np.stack(Y), np.stack(Y_c)


@held_out(
    "cell",
    "The gates are coupled the other way round: i is 1 - f, by the forget gate's weights, where f should be 1 - i.",
    [r"\bi\b", r"input gate"],
    [r"1 - f", r"forget", r"other way", r"\bf\b"],
    source="TensorFlow's CoupledInputForgetGateLSTMCell keeps f, ONNX's input_forget i (aracoref issue 12 asks why)",
    cases="coupled",
)
def coupled_by_the_forget_gate(x, weights, h0, c0):
    """Asked of a parser's custom cell: why 1 - i; cells with coupled gates differ in which gate is kept."""
    blocks = {name: np.split(weights[name], 4) for name in ("W", "R", "b")}

    def gate(k, x_t, h):
        return x_t @ blocks["W"][k].T + h @ blocks["R"][k].T + blocks["b"][k]

    def step(x_t, h, c):
        f = sigmoid(gate(1, x_t, h))
        i = 1 - f
        new_c = f * c + i * np.tanh(gate(2, x_t, h))
        new_h = np.tanh(new_c) * sigmoid(gate(3, x_t, h))
        return new_h, new_c

    return unrolled(step, x, h0, c0)


@held_out(
    "cell",
    "The gates' hard sigmoid is z / 6 + 0.5, and the network's is 0.2 z + 0.5.",
    [r"1/6", r"/ 6", r"sixth", r"slope", r"0\.16"],
    source="keras pull request 19477 and tensorflow issue 65381: the slope of hard_sigmoid changed from 0.2 to 1/6",
    cases="hard sigmoid",
)
def hard_sigmoid_of_keras_3(x, weights, h0, c0):
    """A saved model of Keras 2 with recurrent_activation="hard_sigmoid" under a newer function of that name."""

    def relu6(a):
        return np.minimum(np.maximum(a, 0), 6)

    def hard_sigmoid(a):
        return relu6(a + 3) / 6

    def step(x_t, h_tm1, c_tm1):
        z = x_t @ weights["W"].T + h_tm1 @ weights["R"].T + weights["b"]
        z0, z1, z2, z3 = np.split(z, 4, axis=1)
        c = hard_sigmoid(z1) * c_tm1 + hard_sigmoid(z0) * np.tanh(z2)
        return hard_sigmoid(z3) * np.tanh(c), c

    return unrolled(step, x, h0, c0)


@held_out(
    "cell",
    "The cell state goes to the output by tanh; activation='relu' is for the candidate and for the cell state.",
    [r"tanh", r"relu"],
    [r"cell", r"\bu\b", r"\bc\b", r"output"],
    source="reimplementations of Keras' LSTM(activation='relu') that change the candidate alone; a common slip",
    cases="relu cell",
)
def relu_for_the_candidate_only(x, weights, h0, c0):
    """Keras' activation is used twice in a step, and the second use is easily overlooked."""
    activation = {"g": lambda a: np.maximum(a, 0), "h": np.tanh}
    hs, cs = [h0], [c0]
    for x_t in x:
        i, f, g, o = np.split(x_t @ weights["W"].T + hs[-1] @ weights["R"].T + weights["b"], 4, axis=-1)
        cs.append(sigmoid(f) * cs[-1] + sigmoid(i) * activation["g"](g))
        hs.append(sigmoid(o) * activation["h"](cs[-1]))
    return np.stack(hs[1:]), np.stack(cs[1:])
