"""tf_keras (Keras 2) ``layers.LSTM`` converted by tf2onnx and run by onnxruntime.

Models and the run are as ``backends.tf2onnx_export`` says. Source: tf2onnx documentation,
``tf2onnx.convert.from_keras``.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from lockstep.backends import tf2onnx_export, tf_keras2
from lockstep.backends.tf2onnx_export import unsupported as unsupported  # noqa: PLC0414 (both Keras refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tf2onnx", "tf_keras", "tensorflow", "onnxruntime")
MAIN = False
INSTALL = "lockstep-rnn[tf2onnx]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return tf2onnx_export.run(problem, tf_keras, tf_keras2.layers_of, lambda h: tf.reverse(h, [1]))
