"""Layers, directions and lengths around TensorFlow's raw ops that run a whole sequence.

As ``tf.contrib.rnn.LSTMBlockFusedCell`` did: all timesteps are computed, outputs past a sequence's end are set to 0
and the states at its end are taken out of all states, before which the initial one stands. The padding is set to 0
first: of what is not taken the gradient is 0, and 0 times NaN would be NaN. The reverse direction is, as its
``TimeReversedFusedRNN`` was, the forward one with the input turned round before it and the output after it, each
sequence within its length. Called eagerly, gradients by ``tf.GradientTape``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from lockstep.backends import lanes, tf_block, tf_network
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.layout import store


def run(problem: Problem, operation: Callable[..., Any], dialect: Dialect) -> Trace:
    """Run ``problem`` by an operation such as ``tf.raw_ops.BlockLSTM``."""
    stored = [store(weights.arrays(), dialect) for _, weights in problem.lanes()]
    run_lane = partial(_lane, operation)
    forward = partial(tf_network.network, run_lane, problem.case.lstm)
    backward = partial(tf_network.both_ways, run_lane, problem.case.lstm)
    return tf_network.run(problem, stored, dialect, forward, backward)


def _lane(
    operation: Callable[..., Any],
    lstm: LSTM,
    weights: tf_network.Weights,
    lane: Lane,
    x: Any,
    first: lanes.State,
    ends: lanes.Ends,
) -> lanes.Tensors:
    lengths = ends.lengths
    arrays, settings = tf_block.weights_and_settings(weights, lstm.cell_clip, tf.zeros(lstm.hidden_size, x.dtype))
    h0, c0 = first
    turned = partial(tf_network.turned, lengths=lengths) if lane.reverse else lambda array: array
    valid = tf_network.valid_steps(x, lengths)
    longest = x.shape[0] if lengths is None else tf.reduce_max(lengths)
    x = x if valid is None else tf.where(valid, x, tf.zeros_like(x))
    out = operation(seq_len_max=tf.cast(longest, tf.int64), x=turned(x), cs_prev=c0, h_prev=h0, **arrays, **settings)
    c_n, h_n = _at_end(out.cs, c0, lengths), _at_end(out.h, h0, lengths)
    tensors, cs = {"h": out.h, "i": out.i, "f": out.f, "g": out.ci, "o": out.o}, out.cs
    if valid is not None:
        tensors = {name: tf.where(valid, tensor, tf.zeros_like(tensor)) for name, tensor in tensors.items()}
        cs = tf.where(valid, cs, c_n)
    return {name: turned(tensor) for name, tensor in {**tensors, "c": cs}.items()} | {"h_n": h_n, "c_n": c_n}


def _at_end(array: Any, first: Any, lengths: Any) -> Any:
    """What stands, of (T, B, H), at the end of each sequence."""
    whole = tf.concat([first[None], array], 0)
    if lengths is None:
        return whole[-1]
    return tf.gather_nd(whole, tf.stack([lengths, tf.range(len(first), dtype=lengths.dtype)], 1))
