"""An attention decoder in TF1 as in the question Lockstep was born from, with all of its weights shared.

Each step runs ``static_rnn`` of one timestep around a cell of its own, and makes its projections anew by
``get_variable``, all under one ``variable_scope`` with ``reuse=tf.AUTO_REUSE``: so that there is one variable of each
name. Source: TensorFlow 2.21, ``tf.compat.v1.variable_scope``, ``rnn_cell.LSTMCell``;
the graph as ``backends.tf1_attention`` says.
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
MAIN = False
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
    scope: dict[str, Any] = {"reuse": tf1.AUTO_REUSE, "initializer": tf1.zeros_initializer(), "dtype": dtype}
    names = [name for name in PROJECTIONS if name in shapes]

    def cell(y: Any, state: Any) -> tuple[Any, Any]:
        one_step = tf1.nn.rnn_cell.LSTMCell(
            lstm.hidden_size, forget_bias=lstm.forget_bias, reuse=tf1.AUTO_REUSE, dtype=dtype, name="lstm_cell"
        )
        with tf1.variable_scope("decoder", **scope) as decoder_scope:
            # Its own scope is where static_rnn makes the cell's variables; a name of its own would come between.
            outputs, state = tf1.nn.static_rnn(one_step, [y], initial_state=state, scope=decoder_scope)
        return outputs[0], state

    def projections() -> dict[str, Any]:
        with tf1.variable_scope("decoder", **scope):
            return {name: tf.convert_to_tensor(tf1.get_variable(name, shapes[name])) for name in names}

    return tf1_attention.Parts(cell, projections)
