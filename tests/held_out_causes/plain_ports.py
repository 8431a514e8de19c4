# ruff: noqa: ARG001, FBT003, N802, RUF059 (code as people write it)
"""One plain layer, as reported: what somebody wrote in a framework, a converter or a course, here in NumPy."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def by_gate(weights):
    """Canonical weights as separate arrays, as courses have them."""
    names = "ifgo"
    W = dict(zip(names, np.split(weights["W"], 4), strict=True))
    R = dict(zip(names, np.split(weights["R"], 4), strict=True))
    b = dict(zip(names, np.split(weights["b"], 4), strict=True))
    return W, R, b


@held_out(
    "plain",
    "The input and the forget gate add the output gate's bias instead of their own.",
    [r"\bbo\b", r"bias.*output", r"output.*bias", r"\bb\b.*\bo\b", r"b:.*o"],
    source="https://github.com/ddbourgin/numpy-ml/issues/42",
)
def copied_bias(x, weights, h0, c0):
    W, R, b = by_gate(weights)
    Wc = {k: np.concatenate([R[k], W[k]], axis=1) for k in "ifgo"}
    h, c = h0, c0
    H, C = [], []
    for t in range(x.shape[0]):
        zt = np.hstack([h, x[t]])
        go = sigmoid(zt @ Wc["o"].T + b["o"])
        gf = sigmoid(zt @ Wc["f"].T + b["o"])
        gu = sigmoid(zt @ Wc["i"].T + b["o"])
        cc = np.tanh(zt @ Wc["g"].T + b["g"])
        c = gf * c + gu * cc
        h = go * np.tanh(c)
        H.append(h)
        C.append(c)
    return np.array(H), np.array(C)


@held_out(
    "plain",
    "h is o times c: the tanh of the cell state is missing.",
    [r"tanh.*(left out|missing|not applied|without|leaves out)", r"(without|no) .*tanh", "linear", "identity", "cell-"],
    source="https://github.com/nicodjimenez/lstm/issues/47",
)
def no_tanh_of_state(x, weights, h0, c0):
    T, B, _ = x.shape
    n = h0.shape[1]
    h_seq, c_seq = np.empty((T, B, n), x.dtype), np.empty((T, B, n), x.dtype)
    for b in range(B):
        s_prev, h_prev = c0[b], h0[b]
        for t in range(T):
            xc = np.hstack((x[t, b], h_prev))
            z = np.hstack([weights["W"], weights["R"]]).dot(xc) + weights["b"]
            i, f, g, o = sigmoid(z[:n]), sigmoid(z[n : 2 * n]), np.tanh(z[2 * n : 3 * n]), sigmoid(z[3 * n :])
            s_prev = g * i + s_prev * f
            h_prev = s_prev * o
            h_seq[t, b], c_seq[t, b] = h_prev, s_prev
    return h_seq, c_seq


@held_out(
    "plain",
    "The input gate and the candidate are added instead of multiplied.",
    [r"\badded\b.*(instead|product|multipl)", r"\bplus\b", r"i \+ g", r"\bsum\b", r"add.*i.*g"],
    source="https://github.com/MartinuzziFrancesco/torchrecurrent/issues/22",
)
def gate_added(x, weights, h0, c0):
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        gates = xt @ weights["W"].T + h @ weights["R"].T + weights["b"]
        input_gate, forget_gate, cell_gate, output_gate = np.split(gates, 4, axis=1)
        c = sigmoid(forget_gate) * c + (sigmoid(input_gate) + np.tanh(cell_gate))
        h = sigmoid(output_gate) * np.tanh(c)
        hs.append(h), cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The candidate is multiplied by the forget gate instead of the input gate.",
    [
        r"forget gate's block.*input gate",
        r"forget gate.*(candidate|\bg\b)",
        r"\bf\b.*(place|instead|for) .*\bi\b",
        r"f \* g",
        r"add\.i:f",
        r"\bi\b.*\bf\b",
    ],
    source="https://github.com/ARM-software/CMSIS-NN/pull/181",
)
def forget_gate_twice(x, weights, h0, c0, lengths=None):
    cy, hy, out_h, out_c = c0, h0, [], []
    for t in range(len(x)):
        gates = np.matmul(x[t], weights["W"].T) + np.matmul(hy, weights["R"].T) + weights["b"]
        ingate, forgetgate, cellgate, outgate = np.split(gates, 4, 1)
        forgetgate, cellgate, outgate = sigmoid(forgetgate), np.tanh(cellgate), sigmoid(outgate)
        cnew = (forgetgate * cy) + (forgetgate * cellgate)
        hnew = outgate * np.tanh(cnew)
        keep = np.ones((len(hy), 1), bool) if lengths is None else t < np.reshape(lengths, (-1, 1))
        cy, hy = np.where(keep, cnew, cy), np.where(keep, hnew, hy)
        out_h.append(np.where(keep, hnew, 0))
        out_c.append(cy)
    return np.stack(out_h), np.stack(out_c)


@held_out(
    "plain",
    "The output gate is made of the forget gate's pre-activation.",
    [r"\bo\b.*(reads|of|is|from).*\bf\b", r"output gate.*forget", r"o:.*f", r"forget gate.*output", "o-reads-f"],
    source="https://github.com/tensorflow/tensorflow/issues/8325",
)
def output_gate_typo(x, weights, h0, c0):
    cs_prev, h_prev, hs, cs = c0, h0, [], []
    for xt in x:
        icfo = xt @ weights["W"].T + h_prev @ weights["R"].T + weights["b"]
        i, f, ci, o = np.split(icfo, 4, axis=-1)
        i = sigmoid(i)
        ci = np.tanh(ci)
        cs_prev = ci * i + cs_prev * sigmoid(f)
        o = sigmoid(f)
        h_prev = np.tanh(cs_prev) * o
        hs.append(h_prev)
        cs.append(cs_prev)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "Every gate reads the input gate's weights and bias.",
    [r"(every|each|all|other).*(gate|block).*\bi\b", r"\bi\b.*(every|each|all)", r"iiii", r"input gate.*(all|every)"],
    source="https://github.com/stanfordnlp/stanza/issues/88",
)
def one_linear_for_all(x, weights, h0, c0):
    W, R, b = by_gate(weights)
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        rec_input = np.concatenate([x_t, h], 1)
        Wi = np.concatenate([W["i"], R["i"]], 1).T
        i = sigmoid(rec_input @ Wi + b["i"])
        f = sigmoid(rec_input @ Wi + b["i"])
        o = sigmoid(rec_input @ Wi + b["i"])
        g = np.tanh(rec_input @ Wi + b["i"])
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "ONNX's blocks i, o, f, c are read as i, f, g, o.",
    [r"i, f, g, o", r"\bifgo\b", r"read-", r"order of the gates"],
    source="https://github.com/CrispStrobe/CrispASR/pull/106",
    layout="onnx",
)
def onnx_read_as_torch(X, weights, h0, c0):  # the first argument is x under another name
    W, R, B = weights["W"][0], weights["R"][0], weights["B"][0]
    Wb, Rb = np.split(B, 2)
    return _gates_of(X, W, R, Wb + Rb, h0, c0, "ifgo")


def _gates_of(x, W, R, b, h, c, order):
    hs, cs = [], []
    for xt in x:
        z = dict(zip(order, np.split(xt @ W.T + h @ R.T + b, 4, axis=-1), strict=True))
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
        h = sigmoid(z["o"]) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "TF1's kernel (i, g, f, o) is read as Keras has it (i, f, g, o); the forget bias is added to what is taken for f.",
    [r"i, f, (g|c), o", r"i, g, f, o", r"exchang", r"igfo", r"f-g"],
    source="https://github.com/keras-team/keras/issues/10179",
    layout="tf1",
)
def tf1_read_as_keras(x, weights, h0, c0):
    kernel, bias = weights["kernel"], weights["bias"]
    I = x.shape[2]
    units = h0.shape[1]
    k, rk = kernel[:I], kernel[I:]
    hs, cs = [], []
    h, c = h0, c0
    for xt in x:
        z = xt @ k + h @ rk + bias
        i = sigmoid(z[:, :units])
        f = sigmoid(z[:, units : 2 * units] + 1.0)
        g = np.tanh(z[:, 2 * units : 3 * units])
        o = sigmoid(z[:, 3 * units :])
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "TF1's weights are used without the forget bias of 1 that TF1 adds at run time.",
    [r"forget.?bias", r"bias of (the )?forget", r"b.*\bf\b.*(1|one)", r"\+ ?1"],
    source="https://github.com/tensorflow/tensorflow/issues/29622",
    layout="tf1",
)
def forget_bias_missing(x, weights, h0, c0, lengths=None):
    h, c = h0, c0
    hs, cs = [], []
    for t, xt in enumerate(x):
        i, j, f, o = np.split(np.concatenate([xt, h], 1) @ weights["kernel"] + weights["bias"], 4, 1)
        new_c = c * sigmoid(f) + sigmoid(i) * np.tanh(j)
        new_h = np.tanh(new_c) * sigmoid(o)
        run = np.full((len(h), 1), True) if lengths is None else (t < lengths)[:, None]
        h, c = np.where(run, new_h, h), np.where(run, new_c, c)
        hs.append(np.where(run, new_h, 0 * new_h))
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The forget bias of 1 is added at the first timestep only.",
    [r"forget.?bias", r"bias.*forget", r"\bb\b.*\bf\b", r"b:.*f"],
    [r"timestep", r"after the first", r"from .*1 on", r"first"],
    source="https://github.com/apple/coremltools/issues/309",
    layout="tf1",
)
def forget_bias_once(x, weights, h0, c0):
    h, c = h0, c0
    hs, cs = [], []
    for t in range(len(x)):
        i, j, f, o = np.split(np.concatenate([x[t], h], 1) @ weights["kernel"] + weights["bias"], 4, 1)
        forget_bias = 1.0 if t == 0 else 0.0
        c = c * sigmoid(f + x.dtype.type(forget_bias)) + sigmoid(i) * np.tanh(j)
        h = np.tanh(c) * sigmoid(o)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "Of ONNX's two biases only the first, of W, is added.",
    [r"(second|recurrent|Rb|two|other).*bias", r"bias.*(second|recurrent|first|of two|\bB\b)", "bias-"],
    source="https://github.com/PINTO0309/onnx2tf/pull/291",
    layout="onnx",
)
def recurrent_bias_ignored(x, weights, h0, c0):
    hidden = h0.shape[1]
    return _gates_of(x, weights["W"][0], weights["R"][0], weights["B"][0, : 4 * hidden], h0, c0, "iofg")


@held_out(
    "plain",
    "torch's blocks i, f, g, o are unpacked as i, f, o, g.",
    [r"i, f, o, g", r"ifog", r"exchang", r"g-o", r"\bg\b and \bo\b"],
    source="https://github.com/ndrplz/ConvLSTM_pytorch/issues/6",
    layout="torch",
)
def conv_lstm_split(x, weights, h0, c0, lengths=None):
    h_cur, c_cur = h0, c0
    output_inner, cells = [], []
    for t in range(x.shape[0]):
        combined = (
            x[t] @ weights["weight_ih_l0"].T
            + weights["bias_ih_l0"]
            + h_cur @ weights["weight_hh_l0"].T
            + weights["bias_hh_l0"]
        )
        cc_i, cc_f, cc_o, cc_g = np.split(combined, 4, axis=1)
        c_next = sigmoid(cc_f) * c_cur + sigmoid(cc_i) * np.tanh(cc_g)
        h_next = sigmoid(cc_o) * np.tanh(c_next)
        if lengths is not None:
            live = (t < lengths)[:, None]
            c_cur, h_cur = np.where(live, c_next, c_cur), np.where(live, h_next, h_cur)
            output_inner.append(np.where(live, h_next, 0))
        else:
            c_cur, h_cur = c_next, h_next
            output_inner.append(h_next)
        cells.append(c_cur)
    return np.stack(output_inner), np.stack(cells)


@held_out(
    "plain",
    "Lengths are ignored: the state runs on through the padding.",
    [r"length", r"padding"],
    source="https://github.com/ray-project/ray/issues/21392",
)
def padding_runs_on(x, weights, h0, c0, lengths=None):
    return _gates_of(x, weights["W"], weights["R"], weights["b"], h0, c0, "ifgo")


@held_out(
    "plain",
    "Past a sequence's end h repeats its last valid value instead of being 0 (as Keras does).",
    [r"(length|padding|end).*(kept|repeat|last|held|zero)", r"(kept|repeat|held).*(length|padding|end)", "h-kept"],
    source="https://github.com/microsoft/onnxruntime/issues/12492",
)
def output_repeated(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    hid = h0.shape[1]
    mask = np.ones((T, B), bool) if lengths is None else np.arange(T)[:, None] < np.asarray(lengths)[None]
    states_h, states_c, prev_output = h0, c0, np.zeros((B, hid), x.dtype)
    outputs, cells = [], []
    for t in range(T):
        z = x[t] @ weights["W"].T + states_h @ weights["R"].T + weights["b"]
        i, f, c, o = (z[:, n * hid : (n + 1) * hid] for n in range(4))
        new_c = sigmoid(f) * states_c + sigmoid(i) * np.tanh(c)
        new_h = sigmoid(o) * np.tanh(new_c)
        m = mask[t][:, None]
        output = np.where(m, new_h, prev_output)
        prev_output = output
        states_h, states_c = np.where(m, new_h, states_h), np.where(m, new_c, states_c)
        outputs.append(output)
        cells.append(states_c)
    return np.stack(outputs), np.stack(cells)


@held_out(
    "plain",
    "x (T, B, I) is reshaped to (B, T, I) instead of transposed, and the results are reshaped back.",
    [r"reshap", r"B, T", r"(time|batch).*(batch|time)"],
    source="https://github.com/HHTseng/video-classification/issues/42",
)
def view_for_transpose(x, weights, h0, c0):
    T, B, I = x.shape
    x_rnn = x.reshape(B, T, I)
    hs, cs = _gates_of(x_rnn.transpose(1, 0, 2), weights["W"], weights["R"], weights["b"], h0, c0, "ifgo")
    return hs.transpose(1, 0, 2).reshape(T, B, -1), cs.transpose(1, 0, 2).reshape(T, B, -1)


@held_out(
    "plain",
    "The cell state starts as h0 instead of c0.",
    [r"c0.*h0", r"initial.*(cell|\bc\b).*(hidden|h0|\bh\b)", r"h0.*c0"],
    source="https://github.com/onnx/onnx-tensorflow/issues/408",
    layout="onnx",
)
def initial_c_from_h(x, weights, h0, c0):
    Wb, Rb = np.split(weights["B"][0], 2)
    return _gates_of(x, weights["W"][0], weights["R"][0], Wb + Rb, h0, h0, "iofg")


@held_out(
    "plain",
    "The initial state is not used: h and c start at zero.",
    [r"initial.*(zero|ignored|not used|0)", r"(h0|c0).*zero", r"zero.*(initial|h0|c0)"],
    source="https://github.com/alibaba/MNN/issues/589",
    layout="torch",
)
def stateless(x, weights, h0, c0):
    b = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    zeros = np.zeros_like(h0)
    return _gates_of(x, weights["weight_ih_l0"], weights["weight_hh_l0"], b, zeros, zeros.copy(), "ifgo")


@held_out(
    "plain",
    "The gates go through Keras' old hard sigmoid, clip(0.2 z + 0.5), instead of the sigmoid.",
    [r"hard.?sigmoid"],
    source="https://github.com/minimaxir/textgenrnn/issues/153",
    layout="keras",
)
def old_keras_default(x, weights, h0, c0):
    def inner(z):
        return np.clip(0.2 * z + 0.5, 0.0, 1.0).astype(z.dtype)

    h, c, hs, cs = h0, c0, [], []
    u = h0.shape[-1]
    for xt in x:
        z = xt @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
        i, f = inner(z[:, :u]), inner(z[:, u : 2 * u])
        c = f * c + i * np.tanh(z[:, 2 * u : 3 * u])
        h = inner(z[:, 3 * u :]) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "Each gate's part of Keras' kernel (I, H) is reshaped to (H, I) instead of transposed.",
    [r"reshap", r"transpos"],
    [r"kernel", r"\bW\b", r"W[-:]"],
    source="https://github.com/keras-team/keras/issues/8720",
    layout="keras",
)
def kernel_reshaped(x, weights, h0, c0):
    kernels = np.hsplit(weights["kernel"], 4)
    weight_ih = np.vstack([k.reshape(k.T.shape) for k in kernels])
    weight_hh = np.vstack([k.T for k in np.hsplit(weights["recurrent_kernel"], 4)])
    return _gates_of(x, weight_ih, weight_hh, weights["bias"], h0, c0, "ifgo")


@held_out(
    "plain",
    "tanh is a rational approximation, for the candidate and for the cell state.",
    [r"tanh", r"pad[eé]", r"approximat", r"rational", r"curve"],
    source="https://github.com/ooples/AiDotNet.Tensors/pull/587",
)
def fast_tanh(x, weights, h0, c0):
    def FastTanh(v):
        v2 = v * v
        return np.clip(v * (27 + v2) / (27 + 9 * v2), -1, 1)

    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * FastTanh(g)
        h = sigmoid(o) * FastTanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "Keras' bias holds the forget bias already, and 1 is added to the forget gate once more.",
    [r"forget.?bias", r"bias.*forget", r"b.*\bf\b.*(1|one)", r"\+ ?1"],
    source="https://github.com/pytorch/pytorch/issues/750",
    layout="keras",
)
def forget_bias_again(x, weights, h0, c0):
    h, c, hs, cs = h0, c0, [], []
    for xt in x:
        z = np.dot(xt, weights["kernel"])
        z += np.dot(h, weights["recurrent_kernel"])
        z = z + weights["bias"]
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "A sequence runs one timestep longer than its length (t <= length).",
    [r"length.*(one|more|long|1)", r"one.*(more|long|late).*length", r"padding.*one"],
    source="https://github.com/jax-ml/jax/pull/15169",
)
def off_by_one_length(x, weights, h0, c0, lengths=None):
    seq_lengths = np.full(x.shape[1], len(x)) if lengths is None else np.asarray(lengths)
    h, c, hs, cs = h0, c0, [], []
    for t in range(len(x)):
        i, f, g, o = np.split(x[t] @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        c_t = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_t = sigmoid(o) * np.tanh(c_t)
        mask = (seq_lengths >= t)[:, None]
        h, c = np.where(mask, h_t, h), np.where(mask, c_t, c)
        hs.append(np.where(mask, h_t, 0))
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The forget gate is 1 - i: input and forget gate are coupled, though the case has both.",
    [r"1 ?[-\N{MINUS SIGN}] ?i", r"coupl"],
    source="https://github.com/glample/tagger/issues/3",
)
def coupled(x, weights, h0, c0):
    W, R, b = by_gate(weights)
    h_t, c_t, hs, cs = h0, c0, [], []
    for x_t in x:
        i_t = sigmoid(x_t.dot(W["i"].T) + h_t.dot(R["i"].T) + b["i"])
        c_t = (1 - i_t) * c_t + i_t * np.tanh(x_t.dot(W["g"].T) + h_t.dot(R["g"].T) + b["g"])
        o_t = sigmoid(x_t.dot(W["o"].T) + h_t.dot(R["o"].T) + b["o"])
        h_t = o_t * np.tanh(c_t)
        hs.append(h_t)
        cs.append(c_t)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "TF1's kernel (i, g, f, o) is read as i, f, g, o, and the forget bias of 1 is not added.",
    [r"i, f, (g|c), o", r"i, g, f, o", r"exchang", r"igfo", r"f-g"],
    [r"forget.?bias", r"bias.*forget"],
    source="https://github.com/tensorflow/tensorflow/issues/29308",
    layout="tf1",
)
def tf1_taken_for_cudnn(x, weights, h0, c0):
    I = x.shape[-1]
    W, R = weights["kernel"][:I].T, weights["kernel"][I:].T
    return _gates_of(x, np.ascontiguousarray(W), np.ascontiguousarray(R), weights["bias"], h0, c0, "ifgo")


@held_out(
    "plain",
    "The initial state is left at zero, and the tanh of the cell state is missing.",
    [r"initial.*(zero|ignored|not used|0)", r"(h0|c0).*zero", r"zero.*(initial|h0|c0)"],
    [r"tanh.*(left out|missing|not applied|without)", r"(without|no) .*tanh", "linear", "identity", "cell-"],
    source="https://github.com/nicodjimenez/lstm/issues/47",
)
def first_node(x, weights, h0, c0):
    s, h = np.zeros_like(c0), np.zeros_like(h0)
    hs, cs = [], []
    for xt in x:
        i, f, g, o = np.split(xt @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        s = np.tanh(g) * sigmoid(i) + s * sigmoid(f)
        h = s * sigmoid(o)
        hs.append(h)
        cs.append(s)
    return np.stack(hs), np.stack(cs)
