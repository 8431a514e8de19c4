"""tf_keras (Keras 2) ``layers.LSTM`` converted by tf2onnx and run by onnxruntime.

The conversion is as ``backends.tf2onnx_export`` says. Source: tf2onnx documentation,
``tf2onnx.convert.from_keras``.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from lockstep.backends import keras_model, tf2onnx_export, tf_keras2
from lockstep.backends.kept import kept
from lockstep.backends.tf2onnx_export import unsupported as unsupported  # noqa: PLC0414 (both Keras refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tf2onnx", "tf_keras", "tensorflow", "onnxruntime")
MAIN = False
INSTALL = "lockstep-rnn[tf2onnx]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


@kept
def _converted(problem: Problem) -> keras_model.Call:
    return tf2onnx_export.call_of(
        keras_model.model_of(tf_keras, tf_keras2.HARD_SIGMOIDS, problem, lambda h: tf.reverse(h, [1]))
    )


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return keras_model.run(problem, _converted)
