"""TF1's LSTM cells through ``dynamic_rnn`` and ``bidirectional_dynamic_rnn``, time-major.

The cell state of each timestep and the layers below the top are not exposed: the trace has ``h`` and the final
states. Source: TensorFlow 2.21, ``tf.compat.v1.nn.dynamic_rnn``; cells and weights as ``backends.tf_cells`` says,
layers and directions as ``backends.tf_layers`` does.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from lockstep.backends import tf1_graph, tf_cells, tf_layers
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
# TF 2.16 and later offer the rnn cells through tf-keras only.
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"

tf1 = tf.compat.v1


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return tf_cells.unsupported(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), the final states of all layers and directions, and gradients if they are asked for.
    """
    return tf1_graph.run(problem, _unroll)


def _unroll(network: tf1_graph.Network) -> tf1_graph.Unrolled:
    return tf_layers.unroll(network, _one_way, _both_ways)


def _one_way(cell: Any, x: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
    return tf1.nn.dynamic_rnn(cell, x, initial_state=state, sequence_length=lengths, time_major=True)


def _both_ways(cells: list[Any], x: Any, states: list[Any], lengths: Any) -> tuple[Any, list[Any]]:
    outputs, final = tf1.nn.bidirectional_dynamic_rnn(
        *cells,
        x,
        sequence_length=lengths,
        initial_state_fw=states[0],
        initial_state_bw=states[1],
        time_major=True,
    )
    return tf.concat(outputs, axis=-1), list(final)
