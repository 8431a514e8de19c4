"""Keras 3 ``layers.LSTM`` on TensorFlow, called eagerly, gradients by ``tf.GradientTape``.

On a CPU ``use_cudnn="auto"`` takes the ``tf.while_loop`` of ``keras.src.backend.tensorflow.rnn``. Settings, layers and
weights are as ``backends.keras_layers`` says. Source: Keras documentation, ``keras.layers.LSTM``.
"""

from __future__ import annotations

from lockstep.backends import keras3, keras_on_tf
from lockstep.backends.keras_layers import unsupported as unsupported  # noqa: PLC0414 (all layers of Keras refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("keras", "tensorflow")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), the final states of all layers and directions, and gradients if they are asked for.
    """
    return keras_on_tf.run(problem, keras3.layers_of, lambda variable: variable.value)
