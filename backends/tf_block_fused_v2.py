"""TensorFlow's raw op ``BlockLSTMV2`` over the whole sequence, called eagerly, gradients by ``tf.GradientTape``.

One fused kernel for [x, h], one bias, gates i, f, c, o (c is g). Layers, directions and lengths are as
``backends.tf_block_layers`` says. Source: TensorFlow documentation, ``tf.raw_ops.BlockLSTMV2``.
"""

from __future__ import annotations

import tensorflow as tf

from lockstep.backends import tf_block_layers
from lockstep.backends.tf_block import unsupported as unsupported  # noqa: PLC0414 (both kernels refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("tensorflow",)
MAIN = False
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf_block_v2"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        Of each layer and direction gates, ``c`` and ``h`` at every timestep, the final states, and gradients if they
        are asked for.
    """
    return tf_block_layers.run(problem, tf.raw_ops.BlockLSTMV2, DIALECTS[DIALECT])
