"""An attention decoder in TF1 around one cell object, its projections made once before the loop.

Source: TensorFlow 2.21, ``tf.compat.v1.nn.rnn_cell.BasicLSTMCell``; the graph as ``backends.tf1_attention`` says.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from lockstep.backends import tf1_attention
from lockstep.backends.tf1_attention import unsupported as unsupported  # noqa: PLC0414 (both backends refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.cases.tensors import PROJECTIONS

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
# TF 2.16 and later offer the rnn cells through tf-keras only.
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"
MODEL = "attention_decoder"

tf1 = tf.compat.v1


def run(problem: DecoderProblem) -> Trace:
    """Run the decoder of ``problem``.

    Returns:
        c, h, scores, attention, context, y and logit of each step, the encoder outputs if there is an encoder, and
        gradients if they are asked for.
    """
    return tf1_attention.run(problem, _parts)


def _parts(lstm: LSTM, shapes: dict[str, tuple[int, ...]], dtype: Any) -> tf1_attention.Parts:
    names = [name for name in PROJECTIONS if name in shapes]
    with tf1.variable_scope("decoder"):
        variables = {name: tf.Variable(tf.zeros(shapes[name], dtype), name=name) for name in names}
        cell = tf1.nn.rnn_cell.BasicLSTMCell(
            lstm.hidden_size, forget_bias=lstm.forget_bias, dtype=dtype, name="lstm_cell"
        )
        cell.build((None, shapes["W"][1]))
    # Each step reads the variables for itself.
    return tf1_attention.Parts(cell, lambda: {name: v.read_value() for name, v in variables.items()})
