"""Keras 3 ``layers.LSTM`` on TensorFlow, called eagerly, gradients by ``tf.GradientTape``.

On a CPU ``use_cudnn="auto"`` takes the ``tf.while_loop`` of ``keras.src.backend.tensorflow.rnn``. Settings, layers and
weights are as ``backends.keras_layers`` says. Source: Keras documentation, ``keras.layers.LSTM``.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from msgspec.structs import replace

from backends import keras3, keras_layers
from harness.case import Case
from harness.problem import Problem
from harness.trace import Stopwatch, Trace

REQUIRES = ("keras", "tensorflow")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


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
        layers = keras3.layers_of(lstm, p.case.run.dtype)
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
            sources = [x, h0, c0, *(variable.value for variable in variables)]
            dx, dh0, dc0, *rest = map(np.asarray, tape.gradient([h, c_n], sources, output_gradients=cotangents))
            found |= keras_layers.traced_gradients(p, dx, dh0, dc0, rest)
    parameters = keras_layers.parameters_of(variables, lstm)
    return Trace(parameters=parameters, device=h.device, seconds=stopwatch.seconds, **found)
