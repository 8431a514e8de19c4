"""Healthy attention decoders: one decoder in as many styles as engineers write it, none of them wrong.

Each gives every tensor of a problem's case by name. A style is a way to do each part of a step, and to go back through
it; the loop around the parts is written once, apart from the backends and from the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from healthy_ports import (
    add_backward,
    add_compensated,
    add_forward,
    add_lanes,
    add_pairwise,
    add_shuffled,
    sigmoid_plain,
    sigmoid_stable,
    sigmoid_tanh,
    tanh_exp,
    update_leaky,
    update_plain,
    wider,
)

from lockstep.harness.cases.tensors import tensors_of

Arrays = dict[str, np.ndarray]

# -- z of the cell: (w, y, h) -> (B, 4H) ----


def cell_split(w, y, h):
    return y @ w["W"].T + h @ w["R"].T + w["b"]


def cell_fused(w, y, h):
    return np.concatenate([h, y], axis=1) @ np.concatenate([w["R"], w["W"]], axis=1).T + w["b"]


def cell_with_bias(w, y, h):
    """The bias is one more column, of an input that is always 1."""
    ones = np.ones_like(y[:, :1])
    return np.concatenate([y, h, ones], axis=1) @ np.concatenate([w["W"], w["R"], w["b"][:, None]], axis=1).T


def cell_columns(w, y, h):
    return (w["W"] @ y.T + (w["R"] @ h.T + w["b"][:, None])).T


def cell_summed(add_up):
    """Products first, then added up one way."""

    def z(w, y, h):
        terms = np.concatenate([y.T[:, :, None] * w["W"].T[:, None], h.T[:, :, None] * w["R"].T[:, None]])
        return add_up(terms) + w["b"]

    return z


# -- scores: (w, source (B, S, E), h (B, H)) -> (B, S) ----


def query_of(w, h):
    return h @ w["W_a"].T if "W_a" in w else h


def additive(scores):
    """Additive scores are the same product, of their tanh with v_a: a style of products is one of both."""

    def either(w, source, h):
        if "v_a" not in w:
            return scores(w, source, h)
        hidden = hidden_of(w, source, h)
        return scores({}, hidden, np.broadcast_to(w["v_a"], (len(hidden), w["v_a"].size)))

    return either


def hidden_of(w, source, h):
    return np.tanh(source @ w["W_k"].T + (h @ w["W_q"].T)[:, None])


def scores_matmul(w, source, h):
    return (source @ query_of(w, h)[..., None])[..., 0]


def scores_einsum(w, source, h):
    return np.einsum("bse,be->bs", source, query_of(w, h))


def scores_elementwise(w, source, h):
    return (source * query_of(w, h)[:, None]).sum(axis=-1)


def scores_summed(add_up):
    return lambda w, source, h: add_up(np.moveaxis(source * query_of(w, h)[:, None], -1, 0))


def scores_time_major(w, source, h):
    """The source as it is given, (S, B, E), and the query spread over it."""
    return np.einsum("sbe,be->sb", source.swapaxes(0, 1).copy(), query_of(w, h), optimize=True).T


def scores_keys_projected(w, source, h):
    """The keys take W_a in, once for all steps: the query is h itself."""
    keys = source @ w["W_a"] if "W_a" in w else source
    return (keys * h[:, None]).sum(axis=-1)


def scores_all_pairs(w, source, h):
    """Every query against every source, of which the diagonal is wanted."""
    B = len(h)
    flat = source.reshape(-1, source.shape[-1]) @ query_of(w, h).T
    return flat.reshape(B, -1, B)[np.arange(B), :, np.arange(B)]


# -- attention: (scores, valid) -> (B, S) ----


def softmax_plain(scores, valid):
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True)) * valid
    return raised / raised.sum(axis=-1, keepdims=True)


def softmax_bare(scores, valid):
    """Without the maximum, where that does not overflow."""
    raised = np.exp(np.where(valid, scores, -np.inf))
    return raised / raised.sum(axis=-1, keepdims=True) if np.isfinite(raised).all() else softmax_plain(scores, valid)


def softmax_logarithm(scores, valid):
    z = np.where(valid, scores, -np.inf)
    top = z.max(axis=-1, keepdims=True)
    return np.exp(z - (top + np.log(np.exp(z - top).sum(axis=-1, keepdims=True))))


def softmax_powers_of_two(scores, valid):
    """As fused kernels do: exp2 of scores times log2(e)."""
    z = np.where(valid, scores * scores.dtype.type(np.log2(np.e)), -np.inf)
    raised = np.exp2(z - z.max(axis=-1, keepdims=True))
    return raised * (1 / raised.sum(axis=-1, keepdims=True))


def softmax_large_negative(scores, valid):
    """Masked by a large negative score."""
    z = scores + np.where(valid, 0, scores.dtype.type(-1e9)).astype(scores.dtype)
    raised = np.exp(z - z.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def softmax_wide(scores, valid):
    return softmax_plain(scores.astype(wider(scores.dtype)), valid).astype(scores.dtype)


def softmax_running(scores, valid):
    """One pass: the maximum and the sum so far are mended whenever a larger score comes."""
    z = np.where(valid, scores, -np.inf)
    top = np.full(len(z), -np.inf, z.dtype)
    total = np.zeros_like(top)
    for column in z.T:
        larger = np.maximum(top, column)
        total = total * np.exp(top - larger) + np.exp(column - larger)
        top = larger
    return np.exp(z - top[:, None]) / total[:, None]


# -- context: (source, attention) -> (B, E) ----


def context_matmul(source, a):
    return (a[:, None] @ source)[:, 0]


def context_einsum(source, a):
    return np.einsum("bs,bse->be", a, source)


def context_summed(add_up):
    return lambda source, a: add_up(np.moveaxis(a[..., None] * source, 1, 0))


def context_columns(source, a):
    return (source.swapaxes(1, 2) @ a[..., None])[..., 0]


# -- before tanh: (w, context, h) -> (B, A) ----


def joined_whole(w, context, h):
    return np.concatenate([context, h], axis=1) @ w["W_tilde"].T + w["b_tilde"]


def joined_in_two(w, context, h):
    E = context.shape[1]
    return context @ w["W_tilde"][:, :E].T + h @ w["W_tilde"][:, E:].T + w["b_tilde"]


def joined_bias_first(w, context, h):
    E = context.shape[1]
    return (w["b_tilde"] + h @ w["W_tilde"][:, E:].T) + context @ w["W_tilde"][:, :E].T


def joined_state_first(w, context, h):
    E = context.shape[1]
    kernel = np.concatenate([w["W_tilde"][:, E:], w["W_tilde"][:, :E]], axis=1)
    return np.concatenate([h, context], axis=1) @ kernel.T + w["b_tilde"]


def joined_einsum(w, context, h):
    return np.einsum("bj,aj->ba", np.concatenate([context, h], axis=1), w["W_tilde"]) + w["b_tilde"]


# -- back through the softmax: (a, da, context, d_context) -> (B, S) ----


def unsoftmax_plain(a, da, _context, _d_context):
    return a * (da - (a * da).sum(axis=-1, keepdims=True))


def unsoftmax_products(a, da, _context, _d_context):
    weighted = a * da
    return weighted - a * weighted.sum(axis=-1, keepdims=True)


def unsoftmax_by_context(a, da, context, d_context):
    """As fused kernels do: sum_s a_s da_s is context . d_context."""
    return a * (da - (context * d_context).sum(axis=-1, keepdims=True))


def unsoftmax_jacobian(a, da, _context, _d_context):
    jacobian = a[:, :, None] * np.eye(a.shape[1], dtype=a.dtype) - a[:, :, None] * a[:, None]
    return (jacobian @ da[..., None])[..., 0]


# -- sums over steps ----


def over_steps_last_first(terms):
    return add_backward(np.stack(terms))


def over_steps_first_first(terms):
    return add_forward(np.stack(terms))


def over_steps_pairwise(terms):
    return add_pairwise(np.stack(terms))


def over_steps_lanes(terms):
    return add_lanes(np.stack(terms))


@dataclass(frozen=True)
class Parts:
    """A way to do each part of a decoder."""

    cell: Callable[..., np.ndarray] = cell_split
    sigmoid: Callable[[np.ndarray], np.ndarray] = sigmoid_plain
    tanh: Callable[[np.ndarray], np.ndarray] = np.tanh
    update: Callable[..., np.ndarray] = update_plain
    scores: Callable[..., np.ndarray] = scores_matmul
    softmax: Callable[..., np.ndarray] = softmax_plain
    context: Callable[..., np.ndarray] = context_matmul
    joined: Callable[..., np.ndarray] = joined_whole
    unsoftmax: Callable[..., np.ndarray] = unsoftmax_plain
    over_steps: Callable[..., np.ndarray] = over_steps_last_first


STYLES = {
    "plain": Parts(),
    "einsum": Parts(scores=scores_einsum, context=context_einsum, joined=joined_einsum),
    "softmax without its maximum": Parts(softmax=softmax_bare),
    "softmax by logarithm": Parts(softmax=softmax_logarithm, unsoftmax=unsoftmax_products),
    "softmax by powers of two": Parts(softmax=softmax_powers_of_two, unsoftmax=unsoftmax_by_context),
    "softmax in one pass": Parts(softmax=softmax_running, context=context_columns),
    "softmax kept wide": Parts(softmax=softmax_wide, unsoftmax=unsoftmax_jacobian),
    "masked by a large number": Parts(softmax=softmax_large_negative),
    "keys by elements": Parts(scores=scores_elementwise, over_steps=over_steps_first_first),
    "keys summed forward": Parts(scores=scores_summed(add_forward)),
    "keys summed backward": Parts(scores=scores_summed(add_backward), over_steps=over_steps_pairwise),
    "keys summed in pairs": Parts(scores=scores_summed(add_pairwise), context=context_summed(add_pairwise)),
    "keys summed shuffled": Parts(scores=scores_summed(add_shuffled), sigmoid=sigmoid_tanh),
    "keys summed with care": Parts(scores=scores_summed(add_compensated), context=context_summed(add_compensated)),
    "keys projected before": Parts(scores=scores_keys_projected, joined=joined_in_two),
    "all pairs, the diagonal": Parts(scores=scores_all_pairs, unsoftmax=unsoftmax_jacobian),
    "time-major": Parts(scores=scores_time_major, over_steps=over_steps_lanes),
    "context step by step": Parts(context=context_summed(add_forward)),
    "context from the last step": Parts(context=context_summed(add_backward), joined=joined_bias_first),
    "concatenation in two products": Parts(joined=joined_in_two),
    "state before context": Parts(joined=joined_state_first, cell=cell_fused),
    "bias as a column": Parts(cell=cell_with_bias, sigmoid=sigmoid_stable),
    "columns": Parts(cell=cell_columns, context=context_columns, tanh=tanh_exp),
    "cell summed forward": Parts(cell=cell_summed(add_forward), update=update_leaky),
    "cell summed in lanes": Parts(cell=cell_summed(add_lanes), softmax=softmax_bare),
}


def takes(case):
    """Whether the styles run a case: a decoder, in a dtype that NumPy computes in."""
    return case.attention_decoder is not None and case.run.dtype in {"float32", "float64"}


@dataclass(frozen=True)
class CellStep:
    """What a step of a cell took in and gave, as the way back needs it."""

    x: np.ndarray
    h_before: np.ndarray
    c_before: np.ndarray
    gates: tuple[np.ndarray, ...]
    c: np.ndarray
    h: np.ndarray


def cell_forward(parts, w, x, h, c):
    z_i, z_f, z_g, z_o = np.split(parts.cell(w, x, h), 4, axis=1)
    i, f, g, o = parts.sigmoid(z_i), parts.sigmoid(z_f), parts.tanh(z_g), parts.sigmoid(z_o)
    c_new = parts.update(f, c, i, g)
    return CellStep(x, h, c, (i, f, g, o), c_new, o * parts.tanh(c_new))


def cell_backward(parts, w, step, dh, dc):
    """What a step hands on: its part of each weight's gradient, and those of x, h and c before."""
    i, f, g, o = step.gates
    u = parts.tanh(step.c)
    dc = dc + dh * o * (1 - u * u)
    of_gates = (dc * g * i * (1 - i), dc * step.c_before * f * (1 - f), dc * i * (1 - g * g), dh * u * o * (1 - o))
    dz = np.concatenate(of_gates, axis=1)
    weights = {"W": dz.T @ step.x, "R": dz.T @ step.h_before, "b": dz.sum(axis=0)}
    return weights, dz @ w["W"], dz @ w["R"], dc * f


def encode(parts, w, x, lengths):
    """Run the encoder: its steps, which of them are valid, and its outputs (S, B, E)."""
    h = c = np.zeros((x.shape[1], w["R"].shape[1]), x.dtype)
    steps, masks = [], []
    for s, x_s in enumerate(x):
        valid = np.ones((len(h), 1), bool) if lengths is None else (s < lengths)[:, None]
        steps.append(cell_forward(parts, w, x_s, h, c))
        h, c = np.where(valid, steps[-1].h, h), np.where(valid, steps[-1].c, c)
        masks.append(valid)
    return steps, masks, np.stack([np.where(valid, step.h, 0) for step, valid in zip(steps, masks, strict=True)])


def unencode(parts, w, steps, masks, d_outputs):
    """Go back through the encoder: gradients of x and of its weights, (S, ...) each."""
    dh = dc = np.zeros_like(d_outputs[0])
    rows = []
    for step, valid, d in zip(steps[::-1], masks[::-1], d_outputs[::-1], strict=True):
        weights, dx, dh_before, dc_before = cell_backward(
            parts, w, step, np.where(valid, dh + d, 0), np.where(valid, dc, 0)
        )
        dh, dc = np.where(valid, dh_before, dh), np.where(valid, dc_before, dc)
        rows.append(weights | {"x": dx})
    return {name: np.stack([row[name] for row in rows[::-1]]) for name in rows[0]}


def run(problem, parts=STYLES["plain"]):
    """Every tensor of a problem by name, each part computed in the way that is asked for."""
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = tensors_of(problem.case)
        return {name: array for name, array in _run(problem, parts).items() if name in wanted}


def _run(problem, parts):
    p, weights = problem, problem.weights.arrays()
    w = {name: array for name, array in weights.items() if not name.endswith("_encoder")}
    w_encoder = {name.removesuffix("_encoder"): array for name, array in weights.items() if name not in w}
    found: Arrays = {}
    enc = p.enc
    if enc is None:
        encoder_steps, masks, enc = encode(parts, w_encoder, p.x, p.lengths)
        found["enc"] = enc
    S, B, _ = enc.shape
    valid = np.ones((B, S), bool) if p.valid is None else p.valid
    source = np.where(valid[..., None], enc.swapaxes(0, 1), 0)
    h, c, y = p.h0, p.c0, p.y0
    steps = []
    into_cell = p.decoder.context == "input"

    def attend(h):
        scores = np.where(valid, additive(parts.scores)(w, source, h), 0)
        attention = parts.softmax(scores, valid)
        return {"scores": scores, "attention": attention, "context": parts.context(source, attention)}

    for _ in range(p.case.run.timesteps):
        attended = attend(h) if into_cell else {}
        cell = cell_forward(parts, w, np.concatenate([attended["context"], y], axis=1) if into_cell else y, h, c)
        h, c = cell.h, cell.c
        attended = attended or attend(h)
        y = parts.tanh(parts.joined(w, attended["context"], h))
        steps.append((cell, attended | {"y": y, "logit": y @ w["W_target"].T, "c": c, "h": h}))
    found |= {name: np.stack([step[name] for _, step in steps]) for name in steps[0][1]}
    if p.dy is None:
        return found
    gradients, d_source = go_back(p, parts, w, source, steps)
    d_enc = d_source.swapaxes(0, 1)
    if p.enc is not None:
        return found | gradients | {"denc": d_enc}
    of_encoder = unencode(parts, w_encoder, encoder_steps, masks, d_enc)
    gradients["dx"] = of_encoder.pop("x")
    return found | gradients | {f"d{name}_encoder": parts.over_steps(rows) for name, rows in of_encoder.items()}


def go_back(p, parts, w, source, steps):
    """Go back through all steps: the gradients of weights and of the start, and that of the source."""
    dy_after, dh, dc = np.zeros_like(p.y0), np.zeros_like(p.h0), np.zeros_like(p.c0)
    rows, of_source = [], []
    for (cell, step), dy, dlogit in zip(steps[::-1], p.dy[::-1], p.dlogit[::-1], strict=True):
        context, y, h = step["context"], step["y"], cell.h
        E = context.shape[1]
        row = {"W_target": dlogit.T @ y}
        d_bare = (dy + dy_after + dlogit @ w["W_target"]) * (1 - y * y)
        row |= {"W_tilde": d_bare.T @ np.concatenate([context, h], axis=1), "b_tilde": d_bare.sum(axis=0)}
        d_joined = d_bare @ w["W_tilde"]
        d_context, dh = d_joined[:, :E], dh + d_joined[:, E:]
        if p.decoder.context == "input":
            of_cell, dx, dh, dc = cell_backward(parts, w, cell, dh, dc)
            d_context, dy_after = d_context + dx[:, :E], dx[:, E:]
            of_attention, of_step, of_query = unattend(parts, w, source, step, d_context, cell.h_before)
            dh = dh + of_query
        else:
            of_attention, of_step, of_query = unattend(parts, w, source, step, d_context, h)
            of_cell, dy_after, dh, dc = cell_backward(parts, w, cell, dh + of_query, dc)
        of_source.append(of_step)
        rows.append(row | of_attention | of_cell)
    found: Arrays = {"dy0": dy_after, "dh0": dh, "dc0": dc}
    for name in rows[0]:
        by_step = np.stack([row[name] for row in rows[::-1]])
        found |= {f"d{name}": parts.over_steps(by_step), f"d{name}_t": by_step}
    return found, parts.over_steps(of_source[::-1])


def unattend(parts, w, source, step, d_context, h):
    """Go back through the attention of a state: parts of weights' gradients, of the source's, and of the state's."""
    attention = step["attention"]
    d_scores = parts.unsoftmax(attention, (source @ d_context[..., None])[..., 0], step["context"], d_context)
    of_values = attention[..., None] * d_context[:, None]
    if "v_a" in w:
        hidden = hidden_of(w, source, h)
        d_bare = d_scores[..., None] * w["v_a"] * (1 - hidden * hidden)
        d_query = d_bare.sum(axis=1)
        row = {
            "v_a": np.einsum("bs,bsu->u", d_scores, hidden)[None],
            "W_k": np.einsum("bsu,bse->ue", d_bare, source),
            "W_q": d_query.T @ h,
        }
        return row, of_values + d_bare @ w["W_k"], d_query @ w["W_q"]
    query, d_query = query_of(w, h), (d_scores[:, None] @ source)[:, 0]
    row = {"W_a": d_query.T @ h} if "W_a" in w else {}
    return row, of_values + d_scores[..., None] * query[:, None], d_query @ w["W_a"] if row else d_query
