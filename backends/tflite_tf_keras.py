"""tf_keras (Keras 2) ``layers.LSTM`` converted into TFLite, which makes one operation of it, run by ``ai_edge_litert``.

The model is as ``backends.keras_model`` says, its conversion as ``backends.tflite_model`` says.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from lockstep.backends import keras_model, tf_keras2, tflite_model
from lockstep.backends.kept import kept
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("ai_edge_litert", "tensorflow", "tf_keras")
MAIN = False
INSTALL = "lockstep-rnn[tflite]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return tflite_model.unsupported(case)


@kept
def _converted(problem: Problem) -> keras_model.Call:
    flip = lambda h: tf.reverse(h, [1])  # noqa: E731
    return tflite_model.converted(keras_model.model_of(tf_keras, tf_keras2.HARD_SIGMOIDS, problem, flip))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return keras_model.run(problem, _converted)
