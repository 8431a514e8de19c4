"""Both directions of one layer once more, in the ways people write them: converters, engines, encoders, wrappers."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_cell(x, h, c, W, R, b):
    """PyTorch's equations: gates i, f, g, o."""
    i, f, g, o = np.split(x @ W.T + h @ R.T + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def keras_lstm(inputs, layer, h, c, recurrent_activation=sigmoid):
    """Keras' LSTM(return_sequences=True, return_state=True), time first: gates i, f, c, o."""
    kernel, recurrent_kernel, bias = (layer[name] for name in ("kernel", "recurrent_kernel", "bias"))
    sequence = []
    for step in inputs:
        z_i, z_f, z_c, z_o = np.split(step @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        c = recurrent_activation(z_f) * c + recurrent_activation(z_i) * np.tanh(z_c)
        h = recurrent_activation(z_o) * np.tanh(c)
        sequence.append(h)
    return np.stack(sequence), h, c


def run(xs, lane, h, c):
    """All hidden states, in the order of the steps given, and the last state."""
    outputs = []
    for x_t in xs:
        h, c = lstm_cell(x_t, h, c, lane["W"], lane["R"], lane["b"])
        outputs.append(h)
    return np.array(outputs), h, c


@held_out(
    "two ways",
    "The outputs of the backward branch are joined as computed, last timestep first: they are not reversed back.",
    [r"revers", r"backward", r"0r"],
    [r"turn", r"flip", r"order", r"not revers", r"in time", r"time.reversed", r"mirror", r"last timestep first"],
    source="qjadud1994/CRNN-Keras issue 26, sbillburg/CRNN-with-STN issue 12: go_backwards reverses the input only",
    layout="keras",
)
def crnn_with_a_go_backwards_branch(x, weights, h0, c0):
    """Reported of CRNNs: LSTM(go_backwards=True) is joined with LSTM(), and its output is never reversed."""
    rnn_1, rnn_1b = weights[0]
    sequence, h, c = keras_lstm(x, rnn_1, h0[0], c0[0])
    sequence_b, h_b, c_b = keras_lstm(x[::-1], rnn_1b, h0[1], c0[1])
    return np.concatenate([sequence, sequence_b], axis=-1), np.stack([h, h_b]), np.stack([c, c_b])


@held_out(
    "two ways",
    "The reverse direction walks through time from the first timestep to the last, like the forward one.",
    [r"revers", r"backward", r"0r", r"directions?\b"],
    [
        r"forward in time",
        r"inputs?\b.{0,40}not (be )?(turn|revers|flip)",
        r"not (turn|revers|flip)",
        r"first timestep",
        r"from the (start|front|first)",
        r"(runs|goes|reads|walks|scans).{0,40}forward",
        r"(in|the) (order of time|input order|same order)",
        r"forward.*(order|in time)",
        r"order of (the )?time",
        r"same (direction|input|order)",
    ],
    source="kraiskil/onnx2c issue 95: the loop over input features is reversed where that over time should be",
    layout="onnx",
)
def generated_c_with_the_wrong_loop_reversed(x, weights, h0, c0):
    """Reported of onnx2c: in the reverse direction the loop over features counts down, that over time counts up."""
    seq_length, batch, data_size = x.shape
    hidden = h0.shape[2]
    Y = np.zeros((seq_length, 2, batch, hidden))
    Y_h, Y_c = np.array(h0, dtype=float), np.array(c0, dtype=float)
    for d in range(2):
        W, R, B = (weights[0][d][name][0] for name in "WRB")
        features = range(data_size - 1, -1, -1) if d else range(data_size)
        for s in range(seq_length):
            acc = Y_h[d] @ R.T + B[: 4 * hidden] + B[4 * hidden :]
            for di in features:
                acc += np.outer(x[s, :, di], W[:, di])
            it, ot, ft, ct = (acc[:, k * hidden : (k + 1) * hidden] for k in range(4))
            Y_c[d] = sigmoid(ft) * Y_c[d] + sigmoid(it) * np.tanh(ct)
            Y_h[d] = sigmoid(ot) * np.tanh(Y_c[d])
            Y[s, d] = Y_h[d]
    return Y.transpose(0, 2, 1, 3).reshape(seq_length, batch, -1), Y_h, Y_c


@held_out(
    "two ways",
    "The backward direction starts at the end of the padded batch: its state has read the padding of short sequences.",
    [r"revers", r"backward", r"0r"],
    [r"padd", r"length", r"past the end", r"end of (the|each|a) (batch|sequence)"],
    source="shiyybua/NER issue 47: without each sequence's length the backward results are wrong",
    cases="two ways lengths",
)
def tagger_without_lengths_going_back(x, weights, h0, c0, lengths=None):
    """Reported of a tagger: all is computed over the padded batch, and what lies past the ends is cut off later."""
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    mask = (np.arange(T)[:, None] < lengths)[:, :, None]
    hs, cs = np.zeros((2, 2, T, B, h0.shape[2]))
    for d, steps in enumerate((range(T), range(T - 1, -1, -1))):
        p = weights[0][d]
        h, c = h0[d], c0[d]
        for t in steps:
            h, c = lstm_cell(x[t], h, c, p["W"], p["R"], p["b"])
            hs[d, t], cs[d, t] = h, c
    ends = lengths - 1, np.arange(B)
    outputs = np.concatenate([hs[0], hs[1]], axis=2) * mask
    return outputs, np.stack([hs[0][ends], hs[1][0]]), np.stack([cs[0][ends], cs[1][0]])


@held_out(
    "two ways",
    "Both directions get the forward direction's weights and biases; those named _reverse are never read.",
    [r"forward", r"0f", r"both", r"same", r"share", r"other direction", r"one direction", r"first"],
    [r"weights?\b", r"W,? (and )?R\b", r"W, R", r"parameters", r"kernel", r"same cell"],
    source="NVIDIA-AI-IOT/torch2trt issue 144: getattr(module, 'weight_ih_l%s' % i) alone; how to set reverse weights?",
    layout="torch",
)
def converter_that_reads_no_reverse_names(x, weights, h0, c0):
    """Reported of a converter to TensorRT: it sets weight_ih_l0 and its like for each gate of both directions."""
    state_dict = {}
    for suffix, lane in zip(("", "_reverse"), weights[0], strict=True):
        state_dict.update({name + suffix: array for name, array in lane.items()})
    layers = []
    for _direction in ("forward", "backward"):
        iw, hw = state_dict["weight_ih_l0"], state_dict["weight_hh_l0"]
        layers.append((iw, hw, state_dict["bias_ih_l0"] + state_dict["bias_hh_l0"]))
    y, h_n, c_n = np.zeros((len(x), x.shape[1], 2 * h0.shape[2])), h0.copy(), c0.copy()
    for d, layer in enumerate(layers):
        half = slice(d * h0.shape[2], (d + 1) * h0.shape[2])
        for t in range(len(x))[:: -1 if d else 1]:
            h_n[d], c_n[d] = lstm_cell(x[t], h_n[d], c_n[d], *layer)
            y[t, :, half] = h_n[d]
    return y, h_n, c_n


@held_out(
    "two ways",
    "The one bias of Keras is stored as Wb and as Rb, and their sum is added: the bias counts twice.",
    [r"bias", r"\bb\b"],
    [r"twice", r"two times", r"doubl", r"2 ?[x*·] ?b", r"both", r"added again"],
    source="onnx/keras-onnx pull request 103: the R biases were set to the bias too, where they should be zero",
    layout="keras",
)
def exported_with_the_bias_on_both_sides(x, weights, h0, c0):
    """Reported of keras2onnx: B of shape (directions, 8H) is filled with the bias and the bias again."""
    B = np.stack([np.concatenate([layer["bias"], layer["bias"]]) for layer in weights[0]])
    W = np.stack([layer["kernel"].T for layer in weights[0]])
    R = np.stack([layer["recurrent_kernel"].T for layer in weights[0]])
    size = R.shape[1]
    Y, Y_h, Y_c = [], [], []
    for d in range(2):
        h, c, out = h0[d], c0[d], [None] * len(x)
        times = list(range(len(x)))
        for t in times if d == 0 else times[::-1]:
            h, c = lstm_cell(x[t], h, c, W[d], R[d], B[d, :size] + B[d, size:])
            out[t] = h
        Y.append(out)
        Y_h.append(h)
        Y_c.append(c)
    return np.concatenate(np.array(Y), axis=-1), np.array(Y_h), np.array(Y_c)


@held_out(
    "two ways",
    "The forget bias of 1 that TensorFlow's cell adds as it runs is not added, in either direction.",
    [r"forget"],
    [r"bias", r"\b1(\.0)?\b", r"\bone\b"],
    source="tensorflow issue 14223: the variable's biases do not show forget_bias, which the cell adds itself",
    layout="tf1",
)
def restored_checkpoint_of_bidirectional_rnn(x, weights, h0, c0):
    """Asked of BasicLSTMCell: the stored bias is all that the new code takes; forget_bias=1.0 is in no variable."""
    outputs, states = [], []
    for d, name in enumerate(("fw", "bw")):
        variables, h, c = weights[0][d], h0[d], c0[d]
        seq = x if name == "fw" else np.flip(x, axis=0)
        hs = []
        for inputs in seq:
            gate_inputs = np.hstack([inputs, h]) @ variables["kernel"] + variables["bias"]
            i, j, f, o = np.split(gate_inputs, 4, axis=1)
            c = c * sigmoid(f) + sigmoid(i) * np.tanh(j)
            h = np.tanh(c) * sigmoid(o)
            hs.append(h)
        hs = np.array(hs)
        outputs.append(hs if name == "fw" else np.flip(hs, axis=0))
        states.append((h, c))
    (h_fw, c_fw), (h_bw, c_bw) = states
    return np.concatenate(outputs, 2), np.array([h_fw, h_bw]), np.array([c_fw, c_bw])


@held_out(
    "two ways",
    "The gates are taken in the order i, f, o, g where the weights stand as i, f, g, o, in both directions.",
    [r"gate", r"ifog", r"i, ?f, ?o, ?g"],
    [r"order", r"swap", r"exchang", r"ifog", r"i, ?f, ?o, ?g", r"permut", r"interchang"],
    source="apple/coremltools pull request 93: documented as i, f, z, o, the code takes i, f, o, z",
)
def core_ml_gate_order(x, weights, h0, c0):
    """Reported of Core ML: the documentation's order of the gates is not that of the code."""

    def one_way(steps, w, h, c):
        n = h.shape[1]
        for t in steps:
            z = x[t] @ w["W"].T + h @ w["R"].T + w["b"]
            ifo, block_input = sigmoid(z[:, : 3 * n]), np.tanh(z[:, 3 * n :])
            c = ifo[:, n : 2 * n] * c + ifo[:, :n] * block_input
            h = ifo[:, 2 * n :] * np.tanh(c)
            yield t, h, c

    T, B, _ = x.shape
    H = h0.shape[-1]
    y = np.empty((T, B, 2, H))
    h_n, c_n = np.empty_like(h0), np.empty_like(c0)
    for d, steps in enumerate([range(T), reversed(range(T))]):
        for t, h, c in one_way(steps, weights[0][d], h0[d], c0[d]):
            y[t, :, d], h_n[d], c_n[d] = h, h, c
    return y.reshape(T, B, 2 * H), h_n, c_n


@held_out(
    "two ways",
    "The initial states are mixed up: forward starts from both h0 (as its h and c), backward from both c0.",
    [r"h0", r"c0", r"initial", r"start"],
    [
        r"swap",
        r"exchang",
        r"interchang",
        r"order",
        r"mix",
        r"instead of",
        r"in place of",
        r"for each other",
        r"pair",
        r"group",
        r"confus",
        r"other (direction|lane)",
        r"revers\w*.{0,20}h0",
        r"forward.{0,20}c0",
    ],
    source="tensorflow pull request 37017: the first half of initial_state goes to forward, the last half to backward",
    layout="keras",
)
def initial_state_list_in_torch_order(x, weights, h0, c0):
    """Warned of in Keras' documentation: the list is h, c of forward, then h, c of backward, not h, h, c, c."""

    def bidirectional(inputs, initial_state):
        pivot = len(initial_state) // 2
        y, *forward_state = keras_lstm(inputs, weights[0][0], *initial_state[:pivot])
        y_rev, *backward_state = keras_lstm(inputs[::-1], weights[0][1], *initial_state[pivot:])
        return [np.concatenate([y, y_rev[::-1]], axis=-1), *forward_state, *backward_state]

    output, forward_h, forward_c, backward_h, backward_c = bidirectional(x, [*h0, *c0])
    return output, np.stack([forward_h, backward_h]), np.stack([forward_c, backward_c])


@held_out(
    "two ways",
    "The backward direction starts from zeros: its initial state is never passed on.",
    [r"revers", r"backward", r"0r"],
    [r"initial", r"h0", r"c0", r"starts?\b", r"first state"],
    [r"zero", r"ignor", r"drop", r"not (used|passed|taken)", r"never", r"left out", r"missing"],
    source="tensorflow issue 4336: there is initial_state_fw and initial_state_bw; a common slip is to pass the first",
)
def only_initial_state_fw_is_passed(x, weights, h0, c0, lengths=None):
    """A common slip with bidirectional_dynamic_rnn: its two initial states are two arguments."""
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    cell_fw, cell_bw = weights[0]

    def bidirectional_dynamic_rnn(initial_state_fw=None, initial_state_bw=None):
        zero_state = (np.zeros((B, h0.shape[2])), np.zeros((B, h0.shape[2])))
        out, states = [], []
        for cell, initial_state, steps in (
            (cell_fw, initial_state_fw, range(T)),
            (cell_bw, initial_state_bw, range(T - 1, -1, -1)),
        ):
            state = initial_state or zero_state
            ys = np.zeros((T, B, h0.shape[2]))
            for t in steps:
                new = lstm_cell(x[t], *state, cell["W"], cell["R"], cell["b"])
                alive = (t < lengths)[:, None]
                state = tuple(np.where(alive, after, before) for after, before in zip(new, state, strict=True))
                ys[t] = np.where(alive, new[0], 0)
            out.append(ys)
            states.append(state)
        return out, states

    out, (fw, bw) = bidirectional_dynamic_rnn(initial_state_fw=(h0[0], c0[0]))
    return np.concatenate(out, axis=2), np.stack([fw[0], bw[0]]), np.stack([fw[1], bw[1]])


@held_out(
    "two ways",
    "The backward direction goes on from the state in which the forward one ended, not from its own initial state.",
    [r"initial", r"h0", r"c0", r"starts?\b", r"state"],
    [
        r"(final|last|end|left|stopp).{0,40}forward",
        r"forward.{0,40}(final|last|end|left|stopp)",
        r"carried",
        r"goes on",
        r"continues",
        r"not reset",
        r"previous direction",
    ],
    source="a common slip in C++ ports: the two state buffers are set before the loop over directions",
)
def state_buffers_set_once(x, weights, h0, c0):
    """A common slip: h and c are filled outside of the loop over directions, and the second goes on with them."""
    T, B, _ = x.shape
    H = h0.shape[2]
    out = np.zeros((T, B, 2 * H))
    final_h, final_c = np.zeros_like(h0), np.zeros_like(c0)
    h, c = h0[0].copy(), c0[0].copy()
    for way in range(2):
        W, R, b = weights[0][way]["W"], weights[0][way]["R"], weights[0][way]["b"]
        for step in range(T):
            t = T - 1 - step if way == 1 else step
            gates = x[t] @ W.T + h @ R.T + b
            for n in range(B):
                for q in range(H):
                    ig, fg = sigmoid(gates[n, q]), sigmoid(gates[n, H + q])
                    gg, og = np.tanh(gates[n, 2 * H + q]), sigmoid(gates[n, 3 * H + q])
                    c[n, q] = fg * c[n, q] + ig * gg
                    h[n, q] = og * np.tanh(c[n, q])
                    out[t, n, way * H + q] = h[n, q]
        final_h[way], final_c[way] = h, c
    return out, final_h, final_c


@held_out(
    "two ways",
    "h_n of the backward direction is its output at the last timestep, which it computed first.",
    [r"revers", r"backward", r"0r"],
    [r"h_n", r"final", r"last state", r"hidden state"],
    [
        r"last (timestep|time step|step|output|position)",
        r"output\w*.{0,20}(last|end)",
        r"end of the (outputs|sequence)",
        r"first (step|state|computed)",
        r"\[-1\]",
        r"y\[T",
        r"timestep",
    ],
    source="yunjey/pytorch-tutorial pull request 174, prabhuomkar/pytorch-cpp pull request 13: out[:, -1] of both",
)
def last_output_for_both_directions(x, weights, h0, c0):
    """Reported of tutorials: out[:, -1, :] is taken as the last hidden state of both directions."""
    fwd, _, c_fwd = run(x, weights[0][0], h0[0], c0[0])
    bwd, _, c_bwd = run(x[::-1], weights[0][1], h0[1], c0[1])
    out = np.concatenate([fwd, bwd[::-1]], axis=2)
    last = out[-1]
    hidden = h0.shape[2]
    return out, np.stack([last[:, :hidden], last[:, hidden:]]), np.stack([c_fwd, c_bwd])


@held_out(
    "two ways",
    "The final states, kept as (batch, directions, H), are reshaped to (directions, batch, H), not transposed.",
    [r"final", r"h_n", r"c_n", r"states?\b"],
    [
        r"reshape",
        r"view",
        r"transpos",
        r"mix",
        r"permut",
        r"axes",
        r"scrambl",
        r"shuffl",
        r"interleav",
        r"batch.{0,30}direction",
        r"direction.{0,30}batch",
    ],
    source="graykode/nlp-tutorial issue 38, timbmg/Sentence-VAE issue 15: view mixes the examples of a batch",
)
def final_states_by_view(x, weights, h0, c0):
    """Reported of encoders: .view() changes the shape of the hidden state and mixes directions and examples."""
    batch, hidden = h0.shape[1:]
    y_f, h_f, c_f = run(x, weights[0][0], h0[0], c0[0])
    y_b, h_b, c_b = run(x[::-1], weights[0][1], h0[1], c0[1])
    encoded_h = np.concatenate([h_f, h_b], axis=1)  # one row for each example
    encoded_c = np.concatenate([c_f, c_b], axis=1)
    h_n, c_n = (encoded.reshape(2, batch, hidden) for encoded in (encoded_h, encoded_c))
    return np.concatenate([y_f, y_b[::-1]], axis=-1), h_n, c_n


@held_out(
    "two ways",
    "The outputs of the directions alternate unit by unit, since Y is permuted by 0, 2, 3, 1 before it is flattened.",
    [r"output", r"\by\b", r"feature", r"unit", r"direction", r"turn-out", r"join"],
    [
        r"interleav",
        r"alternat",
        r"unit by unit",
        r"reshape",
        r"transpos",
        r"permut",
        r"axes",
        r"order of (the )?(features|units|columns)",
        r"in turns?",
        r"zip",
    ],
    source="pytorch issue 10838 and pull request 11368: perm_i=[0, 2, 3, 1] where it should be [0, 2, 1, 3]",
    layout="onnx",
)
def onnx_output_permuted(x, weights, h0, c0):
    """Reported of PyTorch's export: (seq, directions, batch, hidden) becomes (seq, batch, hidden, directions)."""
    hidden = h0.shape[2]
    Y, Y_h, Y_c = [], [], []
    for d in (0, 1):
        W, R, B = (np.squeeze(weights[0][d][key], axis=0) for key in ("W", "R", "B"))
        H_t, C_t, collected = h0[d], c0[d], []
        for X_t in x if d == 0 else x[::-1]:
            gates = X_t @ W.T + H_t @ R.T + B[: 4 * hidden] + B[4 * hidden :]
            i, o, f, c = np.split(gates, 4, -1)
            C_t = sigmoid(f) * C_t + sigmoid(i) * np.tanh(c)
            H_t = sigmoid(o) * np.tanh(C_t)
            collected.append(H_t)
        Y.append(collected if d == 0 else collected[::-1])
        Y_h.append(H_t)
        Y_c.append(C_t)
    Y = np.array(Y).swapaxes(0, 1)
    perm = [0, 2, 3, 1]
    return Y.transpose(perm).reshape(len(x), x.shape[1], -1), np.array(Y_h), np.array(Y_c)


@held_out(
    "two ways",
    "The outputs are joined with the backward direction first.",
    [r"output", r"\by\b", r"concat", r"join", r"half", r"halves", r"directions?\b", r"turn-out"],
    [
        r"swap",
        r"exchang",
        r"interchang",
        r"order of (the )?(directions|halves)",
        r"(revers|backward)\w*.{0,30}(first|before|ahead)",
        r"0r.{0,20}0f",
        r"(wrong|other) (order|way round)",
        r"before (the )?forward",
    ],
    source="soumith/cudnn.torch issue 357: F then B, or B then F, in each timestep's output?",
)
def cudnn_halves_guessed(x, weights, h0, c0):
    """Asked of cuDNN: the order of the halves is documented nowhere, and this port guessed it."""
    steps = len(x)
    states = {"F": (h0[0], c0[0]), "B": (h0[1], c0[1])}
    parameters = dict(zip("FB", weights[0], strict=True))
    seen = {"F": {}, "B": {}}
    for k in range(steps):
        for name, t in (("F", k), ("B", steps - 1 - k)):
            p = parameters[name]
            states[name] = lstm_cell(x[t], *states[name], p["W"], p["R"], p["b"])
            seen[name][t] = states[name][0]
    y = np.array([np.concatenate([seen["B"][t], seen["F"][t]], axis=1) for t in range(steps)])
    return y, np.array([states["F"][0], states["B"][0]]), np.array([states["F"][1], states["B"][1]])


@held_out(
    "two ways",
    "The final states of the forward direction are returned for both directions.",
    [r"final", r"h_n", r"c_n", r"last state"],
    [r"forward", r"0f", r"first", r"both", r"same", r"twice", r"other direction", r"\ball\b"],
    source="tflearn pull request 522: it returned (o, states_fw, states_fw)",
)
def forward_states_returned_twice(x, weights, h0, c0, lengths=None):
    """Reported of tflearn's bidirectional_rnn: (o, states_fw, states_fw) was returned."""
    batch = x.shape[1]
    ends = [len(x)] * batch if lengths is None else list(lengths)
    o = np.zeros((len(x), batch, 2 * h0.shape[2]))
    states_fw, states_bw = [], []
    for n, end in enumerate(ends):
        sequence = x[:end, n]
        fw, *state_fw = run(sequence, weights[0][0], h0[0, n], c0[0, n])
        bw, *state_bw = run(sequence[::-1], weights[0][1], h0[1, n], c0[1, n])
        o[:end, n] = np.concatenate([fw, bw[::-1]], axis=1)
        states_fw.append(state_fw)
        states_bw.append(state_bw)
    states = np.array([states_fw, states_fw])  # (directions, batch, h and c, hidden)
    return o, states[:, :, 0], states[:, :, 1]


@held_out(
    "two ways",
    "The input is made batch-major by a reshape, which mixes timesteps and examples, not by a transposition.",
    [r"input", r"\bx\b", r"batch"],
    [
        r"reshape",
        r"view",
        r"transpos",
        r"axes",
        r"batch.{0,3}(major|first)",
        r"mix",
        r"time and batch",
        r"batch and time",
    ],
    source="HHTseng/video-classification issue 42, jessicayung/blog-code-snippets issue 6: view is not transpose",
)
def batch_first_by_view(x, weights, h0, c0):
    """Reported of video classifiers: both have the same shape, but only transpose(0, 1) keeps the sequences."""
    T, B, features = x.shape
    x = x.reshape(B, T, features)
    out = np.zeros((B, T, 2, h0.shape[2]), dtype=h0.dtype)
    h_n, c_n = np.zeros_like(h0), np.zeros_like(c0)
    for d in range(2):
        p = weights[0][d]
        projected = x @ p["W"].T + p["b"]
        h, c = h0[d], c0[d]
        for t in np.arange(T)[:: 1 - 2 * d]:
            i, f, g, o = np.split(projected[:, t] + h @ p["R"].T, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            out[:, t, d] = h
        h_n[d], c_n[d] = h, c
    return out.reshape(B, T, -1).transpose(1, 0, 2), h_n, c_n


@held_out(
    "two ways",
    "The mask is not reversed with the input going backward: steps of padding count, and the first timesteps do not.",
    [r"revers", r"backward", r"0r"],
    [r"mask", r"padd", r"length"],
    source="keras pull request 1934, issue 3737: the reversed input is used with the mask in non-reversed order",
    cases="two ways lengths",
    layout="keras",
)
def mask_not_reversed(x, weights, h0, c0, lengths=None):
    """Reported of Keras on TensorFlow: K.rnn(go_backwards=True) reverses the input, but not the mask."""
    T, B, _ = x.shape
    mask = np.ones((T, B), bool) if lengths is None else np.arange(T)[:, None] < np.asarray(lengths)

    def rnn(layer, state, go_backwards):
        inputs, taken = x, mask
        if go_backwards:
            inputs = inputs[::-1]
        ys = []
        for step, on in zip(inputs, taken[:, :, None], strict=True):
            _, h, c = keras_lstm(step[None], layer, *state)
            ys.append(np.where(on, h, 0))
            state = [np.where(on, h, state[0]), np.where(on, c, state[1])]
        return np.array(ys), *state

    y, h, c = rnn(weights[0][0], [h0[0], c0[0]], go_backwards=False)
    y_rev, h_rev, c_rev = rnn(weights[0][1], [h0[1], c0[1]], go_backwards=True)
    return np.concatenate([y, y_rev[::-1]], axis=2), np.stack([h, h_rev]), np.stack([c, c_rev])


@held_out(
    "two ways",
    "The final states stay in the order of the sorted lengths; only the outputs are put back in the batch's order.",
    [r"final", r"h_n", r"c_n", r"hidden", r"states?\b"],
    [r"sort", r"order", r"permut", r"restor"],
    source="Lizhen0628/text_classification issue 12: output is put back in the batch's order, hidden_state is not",
    cases="two ways lengths",
)
def packed_and_half_unsorted(x, weights, h0, c0, lengths=None):
    """Reported of text classifiers: sorted for pack_padded_sequence, and the hidden state is never unsorted."""
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    sort_indices = np.argsort(-lengths, kind="stable")
    unsort_indices = np.argsort(sort_indices)
    packed, sizes = x[:, sort_indices], [(lengths > t).sum() for t in range(T)]
    hidden, cell = h0[:, sort_indices].copy(), c0[:, sort_indices].copy()
    output = np.zeros((T, B, 2, h0.shape[2]))
    for d, p in enumerate(weights[0]):
        for t in range(T) if d == 0 else reversed(range(T)):
            n = sizes[t]  # sequences that are still going
            hidden[d, :n], cell[d, :n] = lstm_cell(packed[t, :n], hidden[d, :n], cell[d, :n], p["W"], p["R"], p["b"])
            output[t, :n, d] = hidden[d, :n]
    output = output.reshape(T, B, -1)[:, unsort_indices]
    return output, hidden, cell


@held_out(
    "two ways",
    "The recurrent kernels of both directions are reshaped to (4H, H), not transposed.",
    [r"\bR\b", r"recurrent", r"weight_hh", r"\bh2h\b"],
    [r"transpos", r"reshape", r"view", r"rows?\b", r"columns?\b", r"layout", r"order of (the )?(values|elements)"],
    source="huggingface/transformers pull request 10712: recurrent_kernel needs to be transposed like kernel",
    layout="keras",
)
def loaded_without_the_transposition(x, weights, h0, c0):
    """Reported of loading TF weights in PyTorch: names that end in kernel are transposed, others are reshaped."""

    def to_torch(name, array, shape):
        if name == "kernel":
            array = array.T
        return array if array.shape == shape else np.reshape(array, shape)

    H = h0.shape[2]
    shapes = {"kernel": (4 * H, x.shape[2]), "recurrent_kernel": (4 * H, H), "bias": (4 * H,)}
    outputs, h_n, c_n = [], [], []
    for d in range(2):
        W, R, b = (to_torch(name, weights[0][d][name], shape) for name, shape in shapes.items())
        hs, h, c = run(x[::-1] if d else x, {"W": W, "R": R, "b": b}, h0[d], c0[d])
        outputs.append(hs[::-1] if d else hs)
        h_n.append(h)
        c_n.append(c)
    return np.concatenate(outputs, -1), np.stack(h_n), np.stack(c_n)


@held_out(
    "two ways",
    "The gates use the hard sigmoid of old Keras, 0.2 z + 0.5 cut to 0 to 1, in both directions.",
    [r"hard.?sigmoid", r"0\.2", r"piecewise"],
    source="minimaxir/textgenrnn issue 153: Keras 2.3 changed the default from hard_sigmoid to sigmoid",
    layout="keras",
)
def default_of_keras_before_2_3(x, weights, h0, c0):
    """Reported of Keras 2.3: the default of recurrent_activation was hard_sigmoid, and this code goes on with it."""

    def hard_sigmoid(z):
        return np.clip(0.2 * z + 0.5, 0, 1)

    y, state_h, state_c = keras_lstm(x, weights[0][0], h0[0], c0[0], hard_sigmoid)
    y_rev, rev_h, rev_c = keras_lstm(np.flip(x, 0), weights[0][1], h0[1], c0[1], hard_sigmoid)
    return np.concatenate([y, np.flip(y_rev, 0)], -1), np.stack([state_h, rev_h]), np.stack([state_c, rev_c])
