"""TF1's LSTM cells unrolled by ``static_rnn`` and ``static_bidirectional_rnn``.

The cell state of each timestep and the layers below the top are not exposed: the trace has ``h`` and the final
states. Source: TensorFlow 2.21, ``tf.compat.v1.nn.static_rnn``; cells and weights as ``backends.tf_cells`` says,
layers and directions as ``backends.tf_layers`` does.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from lockstep.backends import refusals, tf1_graph, tf_cells, tf_layers
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tensorflow", "tf_keras")
MAIN = False
INSTALL = "lockstep-rnn[tf]"
# TF 2.16 and later offer the rnn cells through tf-keras only.
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"

tf1 = tf.compat.v1


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {"static_rnn says: Argument `inputs` must not be empty": not case.run.timesteps}
    return refusals.of(reasons, first=tf_cells.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), the final states of all layers and directions, and gradients if they are asked for.
    """
    return tf1_graph.run(problem, _unroll)


def _unroll(network: tf1_graph.Network) -> tf1_graph.Unrolled:
    return tf_layers.unroll(network, _one_way, _both_ways)


def _one_way(cell: Any, x: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
    outputs, final = tf1.nn.static_rnn(cell, tf.unstack(x), initial_state=state, sequence_length=lengths)
    return tf.stack(outputs), final


def _both_ways(cells: list[Any], x: Any, states: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
    outputs, *final = tf1.nn.static_bidirectional_rnn(
        *cells, tf.unstack(x), initial_state_fw=states[0], initial_state_bw=states[1], sequence_length=lengths
    )
    return tf.stack(outputs), final
