"""A functional model of ``layers.LSTM`` of Keras 3 or tf_keras, as it is converted for a runtime, and what it is fed.

Layers and weights are as ``backends.keras_layers`` says. The batch is fixed. Inputs are ``x`` (B, T, I), ``mask``
(B, T) where sequences have lengths, and the states of each lane, ``h0_0``, ``c0_0`` and so on. Converters name outputs
``output_0`` and so on, in the model's order: h (B, T, D H), and of each lane h_n, then of each lane c_n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.backends import keras_layers, refusals
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

Call = Callable[[Arrays], Arrays]  # of inputs by name: outputs by name


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully by any runtime; None if it can."""
    reasons = {
        "an inference runtime computes no gradients": case.run.gradients,
        "a model that is converted has fixed sizes, and Keras exports none of no timestep or no sequence": (
            0 in {case.run.timesteps, case.run.batch}
        ),
    }
    return refusals.of(reasons, first=keras_layers.unsupported(case))


def model_of(keras: Any, activations: dict[str, Any], problem: Problem, flip: Callable[[Any], Any]) -> Any:
    """A model with the weights of ``problem``.

    Args:
        keras: keras or tf_keras.
        activations: As of ``keras_layers.layers_of``.
        problem: What it is to run.
        flip: Turns (B, T, H) round in time.
    """
    lstm, dtype = replace(problem.case.lstm, forget_bias=0.0), problem.case.run.dtype
    layers = keras_layers.layers_of(keras, activations, lstm, dtype)
    for variable, array in zip(keras_layers.variables_of(layers), keras_layers.stored(problem), strict=True):
        variable.assign(array)
    inputs = {
        name: keras.Input(array.shape[1:], batch_size=len(array), dtype=array.dtype.name, name=name)
        for name, array in inputs_of(problem).items()
    }
    h0, c0 = ([tensor for name, tensor in inputs.items() if name.startswith(kind)] for kind in ("h0", "c0"))
    h, h_n, c_n = keras_layers.forward(
        lambda k, x, first, mask: layers[k](x, initial_state=first, mask=mask),
        flip, lstm, inputs["x"], h0, c0, inputs.get("mask"),
    )  # fmt: skip
    outputs = [
        keras.layers.Activation("linear", name=f"output_{k}", dtype=dtype)(tensor)
        for k, tensor in enumerate([h, *h_n, *c_n])
    ]
    return keras.Model(list(inputs.values()), outputs)


def inputs_of(problem: Problem) -> Arrays:
    """What the model is fed, by name."""
    x, h0, c0 = keras_layers.inputs_of(problem)
    mask = keras_layers.mask_of(problem)
    return {
        "x": x,
        **({} if mask is None else {"mask": mask}),
        **{f"h0_{k}": state for k, state in enumerate(h0)},
        **{f"c0_{k}": state for k, state in enumerate(c0)},
    }


def run(problem: Problem, convert: Callable[[Problem], Call]) -> Trace:
    """Convert the network of ``problem``, unless it was converted before, and run it.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    stopwatch, single = Stopwatch(), problem.case.lstm.single
    with stopwatch("build"):
        call = convert(problem)
    with stopwatch("run"):
        by_name = call(inputs_of(problem))
    h, *states = (by_name[f"output_{k}"] for k in range(len(by_name)))
    h_n, c_n = (
        (states[0], states[1]) if single else map(np.stack, (states[: len(states) // 2], states[len(states) // 2 :]))
    )
    return Trace(h=keras_layers.batch_major(h), h_n=h_n, c_n=c_n, seconds=stopwatch.seconds)
