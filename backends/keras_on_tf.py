"""Layers of Keras 3 or of tf-keras on TensorFlow, called eagerly, gradients by ``tf.GradientTape``.

Settings, layers and weights are as ``backends.keras_layers`` says. Source: TensorFlow documentation,
``tf.GradientTape``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from msgspec.structs import replace

from lockstep.backends import keras_layers
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem


def run(problem: Problem, layers_of: Callable[[LSTM, str], list[Any]], read: Callable[[Any], Any]) -> Trace:
    """Run the LSTM of ``problem``.

    Args:
        problem: What is run.
        layers_of: Makes the layers of a network, in a dtype.
        read: Gives what the tape watches of one of their variables.

    Returns:
        ``h`` (T, B, D H), the final states of all layers and directions, and gradients if they are asked for.
    """
    p, lstm = problem, replace(problem.case.lstm, forget_bias=0.0)
    stopwatch = Stopwatch()
    with stopwatch("build"):
        layers = layers_of(lstm, p.case.run.dtype)
        variables = keras_layers.variables_of(layers)
        for variable, array in zip(variables, keras_layers.stored(p), strict=True):
            variable.assign(array)
    with stopwatch("run"):
        x, h0, c0 = map(tf.constant, keras_layers.inputs_of(p))
        mask = keras_layers.mask_of(p)
        with tf.GradientTape() as tape:
            tape.watch([x, h0, c0])
            h, h_n, c_n = keras_layers.forward(
                lambda k, x, first, mask: layers[k](x, initial_state=first, mask=mask),
                lambda h: tf.reverse(h, [1]), lstm, x, h0, c0, None if mask is None else tf.constant(mask),
            )  # fmt: skip
            h_n, c_n = tf.stack(h_n), tf.stack(c_n)
        outputs, gradients = (h.numpy(), h_n.numpy(), c_n.numpy()), None
        if p.dh is not None:
            cotangents = list(map(tf.constant, keras_layers.cotangents_of(p)))
            sources = [x, h0, c0, *map(read, variables)]
            dx, dh0, dc0, *flat = map(np.asarray, tape.gradient([h, c_n], sources, output_gradients=cotangents))
            gradients = flat, dx, dh0, dc0
    return keras_layers.trace_of(p, variables, outputs, gradients, device=h.device, seconds=stopwatch.seconds)
