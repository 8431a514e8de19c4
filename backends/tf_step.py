"""One timestep of any LSTM in TensorFlow 2, and the loop over time as ``tf.function`` makes it of Python's ``for``.

Canonical equations, gate order and weight layout (``harness.reference``): nothing is permuted here. AutoGraph turns the
loop over a range of TensorFlow into a ``tf.while_loop`` with TensorArrays. Source: TensorFlow documentation,
``tf.function``, ``tf.autograph``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tensorflow as tf
from msgspec.structs import replace

from lockstep.backends import lanes, tf_network
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import CANONICAL


def run(problem: Problem, *, jit_compile: bool) -> Trace:
    """Run ``problem`` in a ``tf.function``, compiled by XLA or not."""
    # The forget bias stands in b: networks alike but for it share a graph.
    forward, backward = _functions(replace(problem.case.lstm, forget_bias=0.0), jit_compile)
    return tf_network.run(problem, [w.arrays() for _, w in problem.lanes()], CANONICAL, forward, backward)


@lru_cache(maxsize=32)
def _functions(lstm: LSTM, jit_compile: bool) -> tuple[Any, Any]:  # noqa: FBT001
    """A network's functions, forward and with gradients; each traces anew for another shape."""

    @tf.function(jit_compile=jit_compile)
    def forward(weights: list[Any], x, h0, c0, ends):
        return tf_network.network(_lane, lstm, weights, x, h0, c0, ends)

    @tf.function(jit_compile=jit_compile)
    def backward(weights: list[Any], x, h0, c0, ends, dh, dc):
        return tf_network.both_ways(_lane, lstm, weights, x, h0, c0, ends, dh, dc)

    return forward, backward


def _lane(
    lstm: LSTM, weights: tf_network.Weights, lane: Lane, x, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    h, c = first
    # Its length is known: XLA has no arrays that grow.
    T = x.shape[0]
    hs = tf.TensorArray(x.dtype, T)
    cs = tf.TensorArray(x.dtype, T)
    valid, anew = tf_network.valid_steps(x, ends.lengths), tf_network.steps_anew(ends)
    # Of what is not taken the gradient is 0, and 0 times NaN in the padding would be NaN.
    x = x if valid is None else tf.where(valid, x, tf.zeros_like(x))
    for k in tf.range(T):
        t = T - 1 - k if lane.reverse else k
        if anew is not None:
            h, c = tf.where(anew[t], tf.zeros_like(h), h), tf.where(anew[t], tf.zeros_like(c), c)
        new_h, new_c = step(lstm, weights, x[t], h, c)
        if valid is None:
            out, h, c = new_h, new_h, new_c
        else:
            out = tf.where(valid[t], new_h, tf.zeros_like(new_h))
            h, c = tf.where(valid[t], new_h, h), tf.where(valid[t], new_c, c)
        hs = hs.write(t, out)
        cs = cs.write(t, c)
    all_c = cs.stack()
    if valid is not None:
        # In a trace c is, past a sequence's end, what it was at last.
        all_c = tf.where(valid, all_c, c)
    return {"h": hs.stack(), "c": all_c, "h_n": h, "c_n": c}


def step(lstm: LSTM, weights: tf_network.Weights, x_t: Any, h: Any, c: Any) -> lanes.State:
    """Go one timestep: from x_t (B, I), h (B, P), c (B, H) to the new h and c."""
    W, R, b, P, p = weights["W"], weights["R"], weights["b"], weights.get("P"), weights.get("p")
    gate, candidate, cell = (
        tf_network.ACTIVATIONS[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    )
    z = tf.matmul(x_t, W, transpose_b=True) + tf.matmul(h, R, transpose_b=True) + b
    i, f, g, o = tf.split(z, 4, axis=-1)
    if p is not None:
        i, f = i + p[0] * c, f + p[1] * c
    i, g = gate(i), candidate(g)
    f = 1 - i if lstm.input_forget else gate(f)
    c = f * c + i * g
    if lstm.cell_clip is not None:
        c = tf.clip_by_value(c, -lstm.cell_clip, lstm.cell_clip)
    o = gate(o if p is None else o + p[2] * c)
    h = o * cell(c)
    return h if P is None else tf.matmul(h, P, transpose_b=True), c
