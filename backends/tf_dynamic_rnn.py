"""TF1's ``BasicLSTMCell`` through ``dynamic_rnn``, time-major.

The cell state of each timestep is not exposed: the trace has ``h`` and the final states.
Source: TensorFlow 2.21, ``tf.compat.v1.nn.dynamic_rnn``; weights as ``backends.tf1_graph`` says.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from backends import tf1_graph
from harness.case import Case
from harness.problem import Problem
from harness.trace import Trace

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
# TF 2.16 and later offer the rnn cells through tf-keras only.
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, H), and the final states (B, H).
    """
    return tf1_graph.run(problem, _unroll)


def _unroll(cell: Any, x: Any, state: Any, lengths: Any) -> dict[str, Any]:
    outputs, final = tf.compat.v1.nn.dynamic_rnn(cell, x, initial_state=state, sequence_length=lengths, time_major=True)
    return {"h": outputs, "c_n": final.c, "h_n": final.h}
