"""tf_keras (Keras 2) ``layers.LSTM``, called eagerly, gradients by ``tf.GradientTape``.

Its own choice on a CPU is the standard kernel in a ``tf.function``, whatever ``implementation`` says. Settings, layers
and weights are as ``backends.keras_layers`` says; its ``hard_sigmoid`` is 0.2 z + 0.5. Source: tf_keras 2.21,
``src/layers/rnn/lstm.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from msgspec.structs import replace

from backends import keras_layers
from harness.case import LSTM, Case
from harness.problem import Problem
from harness.trace import Stopwatch, Trace

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


@tf_keras.utils.register_keras_serializable("lockstep")
def hard_sigmoid_of_keras_3(z: Any) -> Any:
    """Give z / 6 + 0.5, held in [0, 1]: Keras 2 has no name for it."""
    return tf.nn.relu6(z + 3) / 6


# Names as in a case, ``harness.case.Activation``.
ACTIVATIONS: dict[str, Any] = {
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "hard_sigmoid_0.2": "hard_sigmoid",
    "hard_sigmoid_1/6": hard_sigmoid_of_keras_3,
    "relu": "relu",
    "linear": "linear",
}


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return keras_layers.unsupported(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), the final states of all layers and directions, and gradients if they are asked for.
    """
    p, lstm = problem, replace(problem.case.lstm, forget_bias=0.0)
    stopwatch = Stopwatch()
    with stopwatch("build"):
        layers = _layers(lstm, p.case.run.dtype)
        variables = keras_layers.variables_of(layers)
        for variable, array in zip(variables, keras_layers.stored(p), strict=True):
            variable.assign(array)
    with stopwatch("run"):
        x, h0, c0 = (tf.constant(a) for a in (keras_layers.batch_major(p.x), p.states("h0"), p.states("c0")))
        mask = keras_layers.mask_of(p)
        with tf.GradientTape() as tape:
            tape.watch([x, h0, c0])
            h, h_n, c_n = keras_layers.forward(
                lambda k, x, first, mask: layers[k](x, initial_state=first, mask=mask),
                lambda h: tf.reverse(h, [1]), lstm, x, h0, c0, None if mask is None else tf.constant(mask),
            )  # fmt: skip
            h_n, c_n = tf.stack(h_n), tf.stack(c_n)
        found = keras_layers.traced(p, h.numpy(), h_n.numpy(), c_n.numpy())
        if p.dh is not None:
            cotangents = [tf.constant(keras_layers.batch_major(p.dh)), tf.constant(p.states("dc"))]
            dx, dh0, dc0, *rest = map(
                np.asarray, tape.gradient([h, c_n], [x, h0, c0, *variables], output_gradients=cotangents)
            )
            found |= keras_layers.traced_gradients(p, dx, dh0, dc0, rest)
    parameters = keras_layers.parameters_of(variables, lstm)
    return Trace(parameters=parameters, device=h.device, seconds=stopwatch.seconds, **found)


@lru_cache(maxsize=16)
def _layers(lstm: LSTM, dtype: str) -> list[Any]:
    return keras_layers.layers_of(tf_keras, ACTIVATIONS, lstm, dtype)
