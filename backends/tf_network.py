"""Layers and directions in TensorFlow 2, and their gradients by ``tf.GradientTape``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lockstep.backends import lanes
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialect import Dialect

Weights = dict[str, Any]
# From the network, a lane's weights, the lane, x (T, B, I), its first state and where sequences end: what
# ``lanes.RunLane`` gives.
RunLane = Callable[[LSTM, Weights, Lane, Any, lanes.State, lanes.Ends], lanes.Tensors]

# Names as in a case, ``harness.cases.case.Activation``.
ACTIVATIONS: dict[str, Any] = {
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "hard_sigmoid_0.2": lambda z: tf.clip_by_value(0.2 * z + 0.5, 0, 1),
    "hard_sigmoid_1/6": lambda z: tf.nn.relu6(z + 3) / 6,
    "relu": tf.nn.relu,
    "linear": lambda z: z,
}


def network(
    run_lane: RunLane, lstm: LSTM, weights: list[Weights], x: Any, h0: Any, c0: Any, ends: lanes.Ends
) -> tuple[lanes.State, lanes.Tensors]:
    """Run all lanes, as ``lanes.network`` does."""
    return lanes.network(
        lstm, lambda k, lane, x, first: run_lane(lstm, weights[k], lane, x, first, ends), x, h0, c0,
        concatenate=lambda parts: tf.concat(parts, -1), stack=tf.stack,
    )  # fmt: skip


def valid_steps(x: Any, lengths: Any) -> Any:
    """Which timesteps of x (T, B, I) are within their sequence's length: (T, B, 1); None if all are."""
    return None if lengths is None else (tf.range(x.shape[0], dtype=lengths.dtype)[:, None] < lengths)[..., None]


def steps_anew(ends: lanes.Ends) -> Any:
    """Where sequences start anew, (T, B, 1); None if none does."""
    return None if ends.resets is None else ends.resets[..., None]


def turned(array: Any, lengths: Any) -> Any:
    """(T, B, n) turned round, each sequence within its own length; what lies past it stays where it is."""
    return tf.reverse(array, [0]) if lengths is None else tf.reverse_sequence(array, lengths, seq_axis=0, batch_axis=1)


def both_ways(
    run_lane: RunLane, lstm: LSTM, weights: list[Weights], x: Any, h0: Any, c0: Any, ends: lanes.Ends, dh: Any, dc: Any
) -> tuple[lanes.Tensors, Any]:
    """Run all lanes; give every tensor by its name in a trace, and the gradients of weights, x, h0 and c0."""
    sources = (weights, x, h0, c0)
    with tf.GradientTape() as tape:
        tape.watch(tf.nest.flatten(sources))
        outputs, tensors = network(run_lane, lstm, weights, x, h0, c0, ends)
    flat = tape.gradient(list(outputs), tf.nest.flatten(sources), output_gradients=[dh, dc])
    return tensors, tf.nest.pack_sequence_as(sources, flat)


def run(
    problem: Problem, stored: list[Arrays], dialect: Dialect, forward: Callable[..., Any], backward: Callable[..., Any]
) -> Trace:
    """Run ``problem``.

    Args:
        problem: What to run.
        stored: The weights of all lanes, under the dialect.
        dialect: That of the weights.
        forward: Of weights, x, h0, c0 and ends: what ``network`` gives.
        backward: Of the same and dh, dc: what ``both_ways`` gives.
    """
    p = problem
    stopwatch = Stopwatch()
    with stopwatch("run"):
        inputs = tf.nest.map_structure(tf.constant, (stored, p.x, p.states("h0"), p.states("c0")))
        ends = lanes.Ends.of(p, tf.constant)
        if p.dh is None:
            (_, tensors), gradients = forward(*inputs, ends), None
        else:
            tensors, gradients = backward(*inputs, ends, tf.constant(p.dh), tf.constant(p.states("dc")))
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
        if gradients is not None:
            arrays |= lanes.gradients(
                p.case.lstm, dialect, *tf.nest.map_structure(lambda tensor: tensor.numpy(), gradients)
            )
    return Trace(device=inputs[1].device, seconds=stopwatch.seconds, **arrays)
