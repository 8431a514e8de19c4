"""Both directions of one layer, as reported: wrappers, encoders, exported graphs, loaded weights."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def cell(x_t, h, c, p):
    """One step of an LSTM, right in itself, with a projection where there is one."""
    i, f, g, o = np.split(x_t @ p["W"].T + h @ p["R"].T + p["b"], 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h @ p["P"].T if "P" in p else h), c


def dynamic_rnn(p, inputs, state, sequence_length=None):
    """Outputs (T, B, H) and the final state: past a sequence's length outputs are 0 and the state stays."""
    h, c = state
    outputs = []
    for t in range(len(inputs)):
        h_next, c_next = cell(inputs[t], h, c, p)
        if sequence_length is None:
            h, c = h_next, c_next
            outputs.append(h)
        else:
            going = (t < np.asarray(sequence_length))[:, np.newaxis]
            h, c = np.where(going, h_next, h), np.where(going, c_next, c)
            outputs.append(h_next * going)
    return np.array(outputs), (h, c)


def reverse_sequence(a, sequence_length):
    """Each sequence turned within its length, the padding left where it is."""
    if sequence_length is None:
        return a[::-1]
    T = len(a)
    steps = np.arange(T)[:, None]
    lengths = np.asarray(sequence_length)[None, :]
    index = np.where(steps < lengths, lengths - 1 - steps, steps)
    return np.take_along_axis(a, index[:, :, None], axis=0)


@held_out(
    "two ways",
    "The outputs of the reverse direction stand in the order of computing, last timestep first.",
    [r"revers", r"backward", r"0r"],
    [r"turn", r"flip", r"order", r"not revers", r"in time", r"time.reversed", r"mirror"],
    source="onnxruntime issue 4187, keras issue 1431: outputs of the backward LSTM are op3 op2 op1",
)
def go_backwards_exported(x, weights, h0, c0, lengths=None):
    """Reported of exported models: go_backwards reads from the end, and nothing turns its outputs."""

    def lstm(d, go_backwards):
        y, (h, c) = dynamic_rnn(
            weights[0][d], reverse_sequence(x, lengths) if go_backwards else x, (h0[d], c0[d]), lengths
        )
        return y, h, c

    forward, backward = lstm(0, go_backwards=False), lstm(1, go_backwards=True)
    y, h, c = zip(forward, backward, strict=True)
    return np.concatenate(y, axis=2), np.stack(h), np.stack(c)


@held_out(
    "two ways",
    "The reverse direction is given the inputs as they are: it goes forward in time too.",
    [r"revers", r"backward", r"0r", r"directions?\b"],
    [
        r"forward in time",
        r"inputs?\b.{0,40}not (be )?(turn|revers|flip)",
        r"first timestep",
        r"from the (start|front|first)",
        r"(runs|goes|reads|walks|scans).{0,40}forward",
        r"(in|the) (order of time|input order|same order)",
        r"forward.*(order|in time)",
        r"order of (the )?time",
        r"same (direction|input)",
        r"inputs?\b.{0,40}(never |un)(turned|reversed|flipped)",
        r"ascending",
    ],
    source="stanfordmlgroup/nlc issue 8 and keras issue 10175: the inputs of forward and backward RNN are the same",
)
def bidirectional_of_the_same_inputs(x, weights, h0, c0, lengths=None):
    """Reported of a move to dynamic_rnn: the line that reversed the inputs of the backward cell was lost."""
    fw_cell, bw_cell = weights[0]
    fw_output, fw_state = dynamic_rnn(fw_cell, x, (h0[0], c0[0]), lengths)
    inputs_bw = x
    bw_output, bw_state = dynamic_rnn(bw_cell, inputs_bw, (h0[1], c0[1]), lengths)
    hidden, memory = zip(fw_state, bw_state, strict=True)
    return np.concatenate([fw_output, bw_output], -1), np.array(hidden), np.array(memory)


@held_out(
    "two ways",
    "Both directions use the forward direction's cell: all its weights and its bias.",
    [r"forward", r"0f", r"both", r"same", r"share", r"other direction", r"one direction"],
    [r"weights?\b", r"W,? (and )?R\b", r"parameters", r"kernel", r"same cell"],
    source="fordDeepDSP/deepSpeech issue 20: the weights of forward and backward passes are shared",
)
def same_cell_passed_as_fw_and_bw(x, weights, h0, c0, lengths=None):
    """Reported of a speech recogniser: bidirectional_dynamic_rnn(cell, cell, ...)."""
    lstm_cell = weights[0][0]
    cells = {"fw": lstm_cell, "bw": lstm_cell}
    y_fw, s_fw = dynamic_rnn(cells["fw"], x, (h0[0], c0[0]), lengths)
    y_bw, s_bw = dynamic_rnn(cells["bw"], reverse_sequence(x, lengths), (h0[1], c0[1]), lengths)
    y = np.concatenate((y_fw, reverse_sequence(y_bw, lengths)), axis=2)
    return y, np.stack((s_fw[0], s_bw[0])), np.stack((s_fw[1], s_bw[1]))


@held_out(
    "two ways",
    "The input weights W of the forward direction are used in both; R and b are each direction's own.",
    [r"forward", r"0f", r"both", r"same", r"share", r"other direction", r"one direction"],
    [r"\bW\b", r"input.{0,12}(weight|kernel)", r"weight_ih", r"kernel"],
    source="pytorch-kaldi issue 240: inputs, flipped, go through the same input-to-hidden matrices",
)
def input_weights_once_for_the_stacked_batch(x, weights, h0, c0):
    """Reported of pytorch-kaldi: the flipped sequence is put beside the batch, before one product with W."""
    n, hidden = x.shape[1], h0.shape[2]
    doubled = np.concatenate([x, x[::-1]], axis=1)
    wx = np.tensordot(doubled, weights[0][0]["W"], axes=(2, 1))
    halves, finals = [], []
    for d, part in enumerate((wx[:, :n], wx[:, n:])):
        h, c, ys = h0[d], c0[d], []
        for step in part:
            z = step + weights[0][d]["b"] + h @ weights[0][d]["R"].T
            gates = sigmoid(z)
            it, ft, ot = gates[:, :hidden], gates[:, hidden : 2 * hidden], gates[:, 3 * hidden :]
            c = it * np.tanh(z[:, 2 * hidden : 3 * hidden]) + ft * c
            h = ot * np.tanh(c)
            ys.append(h)
        halves.append(np.stack(ys[::-1] if d else ys))
        finals.append((h, c))
    return np.dstack(halves).reshape(len(x), n, -1), *map(np.stack, zip(*finals, strict=True))


@held_out(
    "two ways",
    "The final state of the reverse direction is replaced by the forward direction's.",
    [r"h_n", r"c_n", r"final", r"state"],
    [r"forward", r"0f", r"twice", r"both", r"same", r"other direction"],
    source="tflearn pull request 522: (o, states_fw, states_fw) was returned, for (o, states_fw, states_bw)",
)
def tuple_with_states_fw_twice(x, weights, h0, c0, lengths=None):
    """Reported of tflearn's bidirectional_rnn: one letter in what is returned."""
    states_fw, states_bw = (h0[0], c0[0]), (h0[1], c0[1])
    o_fw, states_fw = dynamic_rnn(weights[0][0], x, states_fw, lengths)
    o_bw, states_bw = dynamic_rnn(weights[0][1], reverse_sequence(x, lengths), states_bw, lengths)
    o = np.concatenate([o_fw, reverse_sequence(o_bw, lengths)], axis=-1)
    pair = (states_fw, states_fw)
    return o, np.stack([s[0] for s in pair]), np.stack([s[1] for s in pair])


@held_out(
    "two ways",
    "h_n of the reverse direction is taken from the outputs at the last timestep, where it has only begun.",
    [r"h_n", r"final", r"hidden state"],
    [r"last", r"first", r"begun", r"begin", r"start", r"\bend\b", r"one (time)?step", r"h_seq"],
    source="yunjey/pytorch-tutorial issue 149: out[:, -1, :] has the reverse direction after one input alone",
)
def hidden_from_the_last_output(x, weights, h0, c0):
    """Reported of the PyTorch tutorial: the last output is taken for the last hidden state of both directions."""
    lstm_out = np.empty((*x.shape[:2], 2 * h0.shape[2]), x.dtype)
    n, cells = h0.shape[2], []
    for d, times in enumerate((range(len(x)), reversed(range(len(x))))):
        h, c = h0[d], c0[d]
        for t in times:
            h, c = cell(x[t], h, c, weights[0][d])
            lstm_out[t, :, d * n : (d + 1) * n] = h
        cells.append(c)
    hidden = lstm_out[-1, :, :n], lstm_out[-1, :, n:]
    return lstm_out, np.stack(hidden), np.stack(cells)


@held_out(
    "two ways",
    "The reversed input goes with the mask that is not reversed: the reverse direction begins with the padding.",
    [r"padd", r"past", r"length", r"mask", r"whole", r"valid"],
    [r"revers", r"backward", r"0r", r"turn", r"flip"],
    source="keras pull request 1934: reversed input is used with the mask in non-reversed order",
    cases="two ways lengths",
)
def mask_kept_going_forward(x, weights, h0, c0, lengths=None):
    """Reported of Keras' TensorFlow backend: results of backward RNNs were dramatically lower than Theano's."""
    mask = np.ones(x.shape[:2], bool) if lengths is None else np.arange(len(x))[:, None] < lengths

    def rnn(inputs, p, h, c, go_backwards):
        time_mask, ys = mask, []
        if go_backwards:
            inputs = inputs[::-1]
        for x_t, m in zip(inputs, time_mask, strict=True):
            new_h, new_c = cell(x_t, h, c, p)
            h, c = np.where(m[:, None], new_h, h), np.where(m[:, None], new_c, c)
            ys.append(np.where(m[:, None], new_h, 0))
        return np.stack(ys[::-1] if go_backwards else ys), h, c

    y, h, c = zip(*(rnn(x, weights[0][d], h0[d], c0[d], d == 1) for d in (0, 1)), strict=True)
    return np.concatenate(y, -1), np.stack(h), np.stack(c)


@held_out(
    "two ways",
    "The lengths are not used at all: both directions go through the padding.",
    [r"length", r"padd", r"past", r"mask"],
    source="shiyybua/NER issue 47: without sequence_length bidirectional_dynamic_rnn gives wrong backward results",
    cases="two ways lengths",
)
def sequence_length_never_given(x, weights, h0, c0, lengths=None):
    """Reported of a tagger of names: it took long to find that sequence_length was missing."""
    feed = {"seq": x, "seq_length": lengths}
    y_f, (h_f, c_f) = dynamic_rnn(weights[0][0], feed["seq"], (h0[0], c0[0]))
    y_b, (h_b, c_b) = dynamic_rnn(weights[0][1], reverse_sequence(feed["seq"], None), (h0[1], c0[1]))
    y_b = reverse_sequence(y_b, None)
    return np.concatenate([y_f, y_b], axis=2), np.stack([h_f, h_b]), np.stack([c_f, c_b])


@held_out(
    "two ways",
    "Inputs are turned within their lengths, the outputs of the reverse direction over the whole padded array.",
    [r"revers", r"backward", r"0r", r"turn", r"flip"],
    [r"padd", r"length", r"whole", r"shift", r"align", r"array"],
    source="keras pull request 1282: outputs of the reverse RNN have to be shifted too, to be aligned",
    cases="two ways lengths",
)
def outputs_flipped_with_the_padding(x, weights, h0, c0, lengths=None):
    """Reported of a first Bidirectional of Keras: outputs of shorter sequences stand at the end of the array."""
    fw_p, bw_p = weights[0]
    x_rev = reverse_sequence(x, lengths)
    Y, (h_f, c_f) = dynamic_rnn(fw_p, x, (h0[0], c0[0]), lengths)
    Y_rev, (h_b, c_b) = dynamic_rnn(bw_p, x_rev, (h0[1], c0[1]), lengths)
    Y_rev = np.flip(Y_rev, axis=0)
    return np.concatenate((Y, Y_rev), -1), np.stack((h_f, h_b)), np.stack((c_f, c_b))


@held_out(
    "two ways",
    "The outputs of the reverse direction stand before the forward direction's.",
    [r"h_seq", r"output", r"halves", r"directions", r"merge", r"concat"],
    [
        r"swap",
        r"exchang",
        r"before",
        r"revers.{0,40}first",
        r"other (half|direction|place)",
        r"each other",
        r"order of (the )?(two |both )?(directions|halves)",
        r"(directions|halves).{0,40}order",
    ],
    source="a common slip",
)
def concat_bw_fw(x, weights, h0, c0, lengths=None):
    """The dictionary of the two directions is read in the alphabet's order: bw, fw."""
    results = {}
    for name, d in (("fw", 0), ("bw", 1)):
        turn = (lambda a: reverse_sequence(a, lengths)) if name == "bw" else (lambda a: a)
        out, state = dynamic_rnn(weights[0][d], turn(x), (h0[d], c0[d]), lengths)
        results[name] = turn(out), state
    merged = np.concatenate([results[key][0] for key in sorted(results)], axis=-1)
    h_n, c_n = (np.stack([results["fw"][1][k], results["bw"][1][k]]) for k in (0, 1))
    return merged, h_n, c_n


@held_out(
    "two ways",
    "Final states, kept as (B, 2, H), are reshaped to (2, B, H) instead of transposed: rows are mixed.",
    [r"h_n", r"c_n", r"final", r"state"],
    [
        r"mixed",
        r"reshap",
        r"\bview",
        r"ax(i|e)s",
        r"transpos",
        r"layout",
        r"interleav",
        r"batch",
        r"rows?\b",
        r"sequences",
    ],
    source="timbmg/Sentence-VAE issue 15 and graykode/nlp-tutorial issue 38: view mixes examples and directions",
)
def final_states_viewed(x, weights, h0, c0, lengths=None):
    """Reported of several sentence encoders: hidden.view(...) between batch first and directions first."""
    B, H = h0.shape[1:]
    output, hidden, memory = [], np.zeros((B, 2, H), x.dtype), np.zeros((B, 2, H), x.dtype)
    for d in range(2):
        seq = reverse_sequence(x, lengths) if d else x
        y, (hidden[:, d], memory[:, d]) = dynamic_rnn(weights[0][d], seq, (h0[d], c0[d]), lengths)
        output.append(reverse_sequence(y, lengths) if d else y)
    return np.concatenate(output, 2), hidden.reshape(2, B, H), memory.reshape(2, B, H)


@held_out(
    "two ways",
    "The reverse direction starts from zeros: its initial state is not used.",
    [r"initial", r"\bh0\b", r"\bc0\b", r"h0-and-c0", r"starts?\b"],
    [r"zero", r"not used", r"ignor", r"drop", r"unused", r"without", r"not read"],
    source="onnx-tensorflow issue 409: a bidirectional model with initial_h and initial_c gets a wrong result",
)
def initial_state_bw_forgotten(x, weights, h0, c0, lengths=None):
    """Reported of a converter: initial_h and initial_c are split, and one part is handed on."""
    kwargs = {"initial_state_fw": (h0[0], c0[0])}

    def bidirectional(fw, bw, inputs, initial_state_fw=None, initial_state_bw=None):
        zero_state = (np.zeros_like(h0[0]), np.zeros_like(c0[0]))
        a, s = dynamic_rnn(fw, inputs, initial_state_fw or zero_state, lengths)
        b, r = dynamic_rnn(bw, reverse_sequence(inputs, lengths), initial_state_bw or zero_state, lengths)
        return (a, reverse_sequence(b, lengths)), (s, r)

    outputs, states = bidirectional(*weights[0], x, **kwargs)
    Y_h, Y_c = (np.stack(part) for part in zip(*states, strict=True))
    return np.concatenate(outputs, axis=2), Y_h, Y_c


@held_out(
    "two ways",
    "Both directions start from the forward direction's initial state.",
    [r"initial", r"\bh0\b", r"\bc0\b", r"h0-and-c0", r"starts?\b"],
    [r"forward", r"0f", r"both", r"same", r"first", r"other direction", r"one direction"],
    source="yzhangcs/parser issue 48: the initial state has to be one for each layer and direction",
)
def initial_state_without_directions(x, weights, h0, c0, lengths=None):
    """Reported of a parser's own LSTM: h and c are indexed by layer alone."""
    outputs, h_n, c_n = [], [], []
    for i, layer in enumerate(weights):
        h, c = h0[i], c0[i]
        for reverse, p in zip((False, True), layer, strict=True):
            seq = reverse_sequence(x, lengths) if reverse else x
            y, (h_last, c_last) = dynamic_rnn(p, seq, (h, c), lengths)
            outputs.append(reverse_sequence(y, lengths) if reverse else y)
            h_n.append(h_last)
            c_n.append(c_last)
    return np.concatenate(outputs, -1), np.stack(h_n), np.stack(c_n)


@held_out(
    "two ways",
    "The bias of the forward direction is added in the reverse direction.",
    [r"bias", r"\bb\b"],
    [r"forward", r"0f", r"both", r"same", r"share", r"other direction", r"one direction"],
    source="a common slip; PyTorch pull request 60120: the names with _reverse were not documented",
    layout="torch",
)
def state_dict_bias_without_suffix(x, weights, h0, c0):
    """A state dict is read by name: the suffix _reverse is put to the weights, and forgotten with the biases."""
    suffixes = ("", "_reverse")
    saved = {name + suffix: a for suffix, p in zip(suffixes, weights[0], strict=True) for name, a in p.items()}
    y, h_n, c_n = [], [], []
    for d, suffix in enumerate(suffixes):
        w_ih, w_hh = saved[f"weight_ih_l0{suffix}"], saved[f"weight_hh_l0{suffix}"]
        bias = saved["bias_ih_l0"] + saved["bias_hh_l0"]
        out, (h, c) = dynamic_rnn({"W": w_ih, "R": w_hh, "b": bias}, x[::-1] if d else x, (h0[d], c0[d]))
        y.append(out[::-1] if d else out)
        h_n.append(h)
        c_n.append(c)
    return np.concatenate(y, -1), np.stack(h_n), np.stack(c_n)


@held_out(
    "two ways",
    "The outputs of the reverse direction are turned along the batch instead of along time.",
    [r"revers", r"backward", r"0r"],
    [
        r"batch",
        r"ax(i|e)s",
        r"rows?\b",
        r"order of (the )?sequences",
        r"sequences.{0,40}(order|turn|flip|revers|exchang|swap)",
    ],
    source="tensorflow issue 39635 and EderSantana/seya issue 32: y_rev is reversed on axis 1 where time is axis 0",
)
def y_rev_turned_on_axis_1(x, weights, h0, c0):
    """Reported of tf.keras' Bidirectional with time_major=True: the axis to reverse on was fixed."""
    y, (h, c) = dynamic_rnn(weights[0][0], x, (h0[0], c0[0]))
    y_rev, (h_rev, c_rev) = dynamic_rnn(weights[0][1], x[::-1], (h0[1], c0[1]))
    y_rev = np.flip(y_rev, 1)
    return np.concatenate([y, y_rev], axis=-1), np.stack([h, h_rev]), np.stack([c, c_rev])


@held_out(
    "two ways",
    "The projection of the forward direction is used in the reverse direction too.",
    [r"project", r"\bP\b", r"weight_hr"],
    [r"forward", r"0f", r"both", r"same", r"share", r"other direction", r"one direction"],
    source="a common slip; PyTorch pull request 60120: weight_hr_l0_reverse was not documented",
    cases="two ways projection",
)
def one_projection_for_both(x, weights, h0, c0, lengths=None):
    """LSTMP by hand: the linear layer after the cell is made once, before the loop over directions."""
    W_hr = weights[0][0]["P"]
    outs, hs, cs = [], [], []
    for d, params in enumerate(weights[0]):
        p = {**params, "P": W_hr}
        xs = reverse_sequence(x, lengths) if d == 1 else x
        out, (h, c) = dynamic_rnn(p, xs, (h0[d], c0[d]), lengths)
        outs.append(reverse_sequence(out, lengths) if d == 1 else out)
        hs.append(h)
        cs.append(c)
    return np.concatenate(outs, -1), np.stack(hs), np.stack(cs)
