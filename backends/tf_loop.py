"""TF1's ``BasicLSTMCell`` called in a hand-written loop, the state threaded from step to step.

The right form of the loop in the question this project was born from. Source: TensorFlow 2.21,
``tf.compat.v1.nn.rnn_cell``; weights as ``backends.tf1_graph`` says.
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

tf1 = tf.compat.v1


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c``, each (T, B, H), and the final states.
    """
    return tf1_graph.run(problem, _unroll)


def _unroll(cell: Any, x: Any, state: Any, lengths: Any) -> dict[str, Any]:
    h, c = [], []
    with tf1.variable_scope("for_loop"):
        for t in range(x.shape[0]):
            if t > 0:
                tf1.get_variable_scope().reuse_variables()
            output, new_state = cell(x[t], state)
            if lengths is not None:
                valid = (t < lengths)[:, None]
                output = tf.where(valid, output, tf.zeros_like(output))
                new_state = tf.nest.map_structure(lambda new, old, v=valid: tf.where(v, new, old), new_state, state)
            state = new_state
            h.append(output)
            c.append(state.c)
    return {"h": tf.stack(h), "c": tf.stack(c), "c_n": state.c, "h_n": state.h}
