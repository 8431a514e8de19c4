"""Keras 3 ``layers.LSTM`` converted by tf2onnx and run by onnxruntime.

The conversion is as ``backends.tf2onnx_export`` says. Source: tf2onnx documentation,
``tf2onnx.convert.from_keras``.
"""

from __future__ import annotations

import keras

from lockstep.backends import keras3, keras_model, tf2onnx_export
from lockstep.backends.kept import kept
from lockstep.backends.tf2onnx_export import unsupported as unsupported  # noqa: PLC0414 (both Keras refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tf2onnx", "keras", "tensorflow", "onnxruntime")
INSTALL = "lockstep-rnn[tf2onnx]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


@kept
def _converted(problem: Problem) -> keras_model.Call:
    return tf2onnx_export.call_of(
        keras_model.model_of(keras, keras3.HARD_SIGMOIDS, problem, lambda h: keras.ops.flip(h, axis=1))
    )


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return keras_model.run(problem, _converted)
