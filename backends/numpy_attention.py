"""An attention decoder as the plainest loop in NumPy: the equations forward, and the chain rule backward.

Canonical equations and weights (``harness.reference.attention``). Every operation is done in the case's dtype;
``backends.numpy_operations`` tells how.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lockstep.backends import numpy_backward, numpy_loop
from lockstep.backends.numpy_operations import matmul, sigmoid
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import DecoderProblem, DecoderWeights
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.problem import Weights
from lockstep.harness.cases.tensors import Lane, has_weight_steps

REQUIRES = ("numpy",)
MODEL = "attention_decoder"


class Step(NamedTuple):
    """What one step gives, and what it was given."""

    x: Array  # (B, A), or (B, E + A), what the cell takes in
    h_before: Array  # (B, H)
    c_before: Array
    gates: tuple[Array, Array, Array, Array]  # i, f, g, o
    c: Array
    h: Array
    scores: Array  # (B, S)
    attention: Array
    context: Array  # (B, E)
    y: Array  # (B, A)
    logit: Array  # (B, O)
    hidden: Array | None  # (B, S, U), the tanh of additive scores


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return None


def run(problem: DecoderProblem) -> Trace:
    """Run the decoder of ``problem``.

    Returns:
        c, h, scores, attention, context, y and logit of each step, the encoder outputs if there is an encoder, and
        gradients if they are asked for.
    """
    p = problem
    stopwatch = Stopwatch()
    arrays: Arrays = {}
    with stopwatch("run"), np.errstate(over="ignore", invalid="ignore"):
        encoder = _encode(p) if p.enc is None else None
        enc = p.enc if encoder is None else encoder[1]
        assert enc is not None
        source = np.ascontiguousarray(enc.swapaxes(0, 1))  # (B, S, E)
        if p.valid is not None:
            # What is not attended to has weight 0, and 0 times NaN would be NaN.
            source = np.where(p.valid[..., None], source, source.dtype.type(0))
        steps = _decode(p, source)
        if encoder is not None:
            arrays["enc"] = enc
        arrays |= {
            name: np.stack([getattr(step, name) for step in steps])
            for name in ("c", "h", "scores", "attention", "context", "y", "logit")
        }
        if p.dy is not None:
            arrays |= _gradients(p, source, steps, None if encoder is None else encoder[0])
    return Trace(seconds=stopwatch.seconds, **arrays)  # type: ignore[arg-type]


def _encode(p: DecoderProblem) -> tuple[numpy_backward.Walk, Array]:
    """Run the encoder from zeros: its walk, and its outputs (S, B, E)."""
    w, lstm = p.weights, p.decoder.encoder
    assert lstm is not None
    assert p.x is not None
    assert w.W_encoder is not None
    assert w.R_encoder is not None
    assert w.b_encoder is not None
    weights = Weights(w.W_encoder, w.R_encoder, w.b_encoder)
    zero = np.zeros((p.x.shape[1], lstm.hidden_size), p.x.dtype)
    steps, tensors = numpy_loop.run_lane(lstm, weights, p.x, zero, zero, p.lengths, reverse=False)
    return numpy_backward.Walk(Lane(0, reverse=False), weights, p.x, steps, tensors["h"]), tensors["h"]


def _decode(p: DecoderProblem, source: Array) -> list[Step]:
    w, into_cell = p.weights, p.decoder.context == "input"
    h, c, y = p.h0, p.c0, p.y0
    steps = []
    for _ in range(p.case.run.timesteps):
        x, attended = y, None
        if into_cell:
            attended = _attend(p, source, h)
            x = np.concatenate([attended[2], y], axis=-1)
        z_i, z_f, z_g, z_o = split_gates(matmul(x, w.W.T) + matmul(h, w.R.T) + w.b)
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        c_new = f * c + i * g
        h_new = o * np.tanh(c_new)
        scores, attention, context, hidden = attended or _attend(p, source, h_new)
        y_new = np.tanh(matmul(np.concatenate([context, h_new], axis=-1), w.W_tilde.T) + w.b_tilde)
        logit = matmul(y_new, w.W_target.T)
        steps.append(Step(x, h, c, (i, f, g, o), c_new, h_new, scores, attention, context, y_new, logit, hidden))
        h, c, y = h_new, c_new, y_new
    return steps


def _attend(p: DecoderProblem, source: Array, h: Array) -> tuple[Array, Array, Array, Array | None]:
    """Scores, attention and context of a state; of additive scores the tanh too."""
    w, valid, hidden = p.weights, p.valid, None
    if w.v_a is not None and w.W_q is not None and w.W_k is not None:
        hidden = np.tanh(matmul(source, w.W_k.T) + matmul(h, w.W_q.T)[:, None])
        scores = matmul(hidden, w.v_a.T)[..., 0]
    else:
        query = h if w.W_a is None else matmul(h, w.W_a.T)
        scores = matmul(source, query[..., None])[..., 0]
    scores = scores if valid is None else np.where(valid, scores, np.zeros_like(scores))
    attention = _softmax(scores, valid)
    return scores, attention, matmul(attention[:, None], source)[:, 0], hidden


def _softmax(scores: Array, valid: Array | None) -> Array:
    """exp(z - max) over its sum, over what is valid; the sum is kept in float32 at least."""
    wide = np.promote_types(scores.dtype, np.float32)
    z = scores.astype(wide) if valid is None else np.where(valid, scores.astype(wide), -np.inf)
    raised = np.exp(z - z.max(axis=-1, keepdims=True))
    return (raised / raised.sum(axis=-1, keepdims=True)).astype(scores.dtype)


def _gradients(p: DecoderProblem, source: Array, steps: list[Step], encoder: numpy_backward.Walk | None) -> Arrays:
    """The gradients of sum(dy * y) + sum(dlogit * logit), by their names in a trace."""
    assert p.dy is not None
    assert p.dlogit is not None
    dtype = source.dtype
    wide = np.promote_types(dtype, np.float32)  # sums over steps: in bfloat16 256 + 1 is 256
    named = {name: a for name, a in p.weights.arrays().items() if not name.endswith("_encoder")}
    if not p.case.lstm.bias:
        del named["b"]
    sums = {name: np.zeros(array.shape, wide) for name, array in named.items()}
    parts: dict[str, list[Array]] = {name: [] for name in named}
    d_source = np.zeros(source.shape, wide)
    dy_after, dh, dc = np.zeros_like(p.y0), np.zeros_like(p.h0), np.zeros_like(p.c0)
    for t in reversed(range(len(steps))):
        added, of_source, dy_after, dh, dc = _step(p, source, steps[t], p.dy[t] + dy_after, p.dlogit[t], dh, dc)
        d_source += of_source
        for name, array in added.items():
            if name in sums:
                sums[name] += array
                parts[name].append(array)
    named_gradients = {f"d{name}": total.astype(dtype) for name, total in sums.items()}
    if has_weight_steps(p.case):
        named_gradients |= {f"d{name}_t": np.stack(of_steps[::-1]) for name, of_steps in parts.items()}
    named_gradients |= {"dy0": dy_after, "dh0": dh, "dc0": dc}
    denc = np.ascontiguousarray(d_source.astype(dtype).swapaxes(0, 1))
    if encoder is None:
        return {**named_gradients, "denc": denc}
    lstm = p.decoder.encoder
    assert lstm is not None
    zero = np.zeros((denc.shape[1], lstm.hidden_size), dtype)
    of_encoder = numpy_backward.lane_gradients(lstm, encoder, denc, zero, p.lengths, steps_too=False)
    return {
        **named_gradients,
        "dx": of_encoder["dx"],
        **{f"d{name}_encoder": of_encoder[f"d{name}"] for name in "WRb" if f"d{name}" in of_encoder},
    }


def _step(
    p: DecoderProblem, source: Array, step: Step, dy: Array, dlogit: Array, dh: Array, dc: Array
) -> tuple[Arrays, Array, Array, Array, Array]:
    """Go back through one step.

    Returns:
        What it adds to the gradients of weights; its part of that of the source (B, S, E); and dy, dh, dc of the step
        before.
    """
    w: DecoderWeights = p.weights
    E = source.shape[-1]
    added: Arrays = {"W_target": matmul(dlogit.T, step.y)}
    dy = dy + matmul(dlogit, w.W_target)
    d_bare = dy * (1 - step.y * step.y)
    joined = np.concatenate([step.context, step.h], axis=-1)
    added |= {"W_tilde": matmul(d_bare.T, joined), "b_tilde": _over_batch(d_bare)}
    d_joined = matmul(d_bare, w.W_tilde)
    d_context, dh = d_joined[:, :E], dh + d_joined[:, E:]
    if p.decoder.context == "input":
        of_cell, dx, dh_before, dc_before = _cell_back(w, step, dh, dc)
        of_scores, of_source, d_query = _attend_back(w, source, step, d_context + dx[:, :E], step.h_before)
        return {**added, **of_cell, **of_scores}, of_source, dx[:, E:], dh_before + d_query, dc_before
    of_scores, of_source, d_query = _attend_back(w, source, step, d_context, step.h)
    of_cell, dx, dh_before, dc_before = _cell_back(w, step, dh + d_query, dc)
    return {**added, **of_cell, **of_scores}, of_source, dx, dh_before, dc_before


def _attend_back(
    w: DecoderWeights, source: Array, step: Step, d_context: Array, h: Array
) -> tuple[Arrays, Array, Array]:  # fmt: skip
    """Go back through attention from ``d_context``: gradients of weights, of the source, and of the h it was of."""
    a = step.attention
    da = matmul(source, d_context[..., None])[..., 0]
    d_scores = a * (
        da - (a * da).sum(axis=-1, keepdims=True, dtype=np.promote_types(a.dtype, np.float32)).astype(a.dtype)
    )
    of_source = a[..., None] * d_context[:, None]
    if step.hidden is not None and w.v_a is not None and w.W_q is not None and w.W_k is not None:
        d_hidden = d_scores[..., None] * w.v_a[0] * (1 - step.hidden * step.hidden)
        d_query = matmul(np.ones((len(h), 1, a.shape[1]), a.dtype), d_hidden)[:, 0]
        d_keys, keys = _rows(d_hidden), _rows(source)
        added = {"v_a": matmul(d_scores.reshape(1, -1), _rows(step.hidden)), "W_k": matmul(d_keys.T, keys)}
        added["W_q"] = matmul(d_query.T, h)
        return added, of_source + matmul(d_hidden, w.W_k), matmul(d_query, w.W_q)
    query = h if w.W_a is None else matmul(h, w.W_a.T)
    d_query = matmul(d_scores[:, None], source)[:, 0]
    of_source = of_source + d_scores[..., None] * query[:, None]
    return ({}, of_source, d_query) if w.W_a is None else (
        {"W_a": matmul(d_query.T, h)}, of_source, matmul(d_query, w.W_a)
    )  # fmt: skip


def _cell_back(w: DecoderWeights, step: Step, dh: Array, dc: Array) -> tuple[Arrays, Array, Array, Array]:
    """Go back through the cell: gradients of its weights, of what it takes in, and of the state before it."""
    i, f, g, o = step.gates
    u = np.tanh(step.c)
    dc = dc + dh * o * (1 - u * u)
    dz = np.concatenate(
        [dc * g * i * (1 - i), dc * step.c_before * f * (1 - f), dc * i * (1 - g * g), dh * u * o * (1 - o)], axis=-1
    )
    added = {"W": matmul(dz.T, step.x), "R": matmul(dz.T, step.h_before), "b": _over_batch(dz)}
    return added, matmul(dz, w.W), matmul(dz, w.R), dc * f


def _rows(array: Array) -> Array:
    """Sequences and source as rows of one matrix."""
    return array.reshape(-1, array.shape[-1])


def _over_batch(array: Array) -> Array:
    return matmul(np.ones((1, len(array)), array.dtype), array)[0]
