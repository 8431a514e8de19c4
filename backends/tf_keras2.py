"""tf_keras (Keras 2) ``layers.LSTM``, called eagerly, gradients by ``tf.GradientTape``.

Its own choice on a CPU is the standard kernel in a ``tf.function``, whatever ``implementation`` says. Settings, layers
and weights are as ``backends.keras_layers`` says; its ``hard_sigmoid`` is 0.2 z + 0.5. Source: tf_keras 2.21,
``src/layers/rnn/lstm.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tensorflow as tf
import tf_keras

from lockstep.backends import keras_layers, keras_on_tf
from lockstep.backends.keras_layers import unsupported as unsupported  # noqa: PLC0414 (all layers of Keras refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tensorflow", "tf_keras")
MAIN = False
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


@tf_keras.utils.register_keras_serializable("lockstep")
def hard_sigmoid_of_keras_3(z: Any) -> Any:
    """Hard sigmoid: z / 6 + 0.5, held in [0, 1]: Keras 2 has no name for it."""
    return tf.nn.relu6(z + 3) / 6


HARD_SIGMOIDS = {"hard_sigmoid_0.2": "hard_sigmoid", "hard_sigmoid_1/6": hard_sigmoid_of_keras_3}


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), the final states of all layers and directions, and gradients if they are asked for.
    """
    return keras_on_tf.run(problem, _layers, lambda variable: variable)


@lru_cache(maxsize=16)
def _layers(lstm: LSTM, dtype: str) -> list[Any]:
    return keras_layers.layers_of(tf_keras, HARD_SIGMOIDS, lstm, dtype)
