"""Models of Keras converted by tf2onnx and run by onnxruntime: what Keras 3 and tf_keras have in common.

Layers and weights are as ``backends.keras_layers`` says, in a functional model whose batch and time are left open; the
initial states, and a mask where there are lengths, are inputs of it. The opset is the converter's own choice. Source:
tf2onnx documentation, ``tf2onnx.convert.from_keras``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tf2onnx
from msgspec.structs import replace

from lockstep.backends import keras_layers, onnxruntime_session, refusals
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        **onnxruntime_session.narrow_dtypes(case),
        "an inference runtime computes no gradients": case.run.gradients,
    }
    return refusals.of(reasons, first=keras_layers.unsupported(case))


def run(problem: Problem, keras: Any, layers_of: Callable[[LSTM, str], list[Any]], flip: Callable[[Any], Any]) -> Trace:
    """Run the LSTM of ``problem``.

    Args:
        problem: What is run.
        keras: keras or tf_keras.
        layers_of: Makes the layers of a network, in a dtype.
        flip: Turns (B, T, H) round in time.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    p, lstm = problem, replace(problem.case.lstm, forget_bias=0.0)
    stopwatch = Stopwatch()
    with stopwatch("build"):
        layers = layers_of(lstm, p.case.run.dtype)
        variables = keras_layers.variables_of(layers)
        for variable, array in zip(variables, keras_layers.stored(p), strict=True):
            variable.assign(array)
        model, _ = tf2onnx.convert.from_keras(_functional(keras, layers, flip, p))
        session = onnxruntime_session.session_of(model.SerializeToString())
    with stopwatch("run"):
        x, h0, c0 = keras_layers.inputs_of(p)
        mask = keras_layers.mask_of(p)
        fed = [x, *h0, *c0, *([] if mask is None else [mask])]
        names = [graph_input.name for graph_input in session.get_inputs()]
        outputs: Any = session.run(None, dict(zip(names, fed, strict=True)))
    lanes = len(h0)
    h, h_n, c_n = outputs[0], np.stack(outputs[1 : 1 + lanes]), np.stack(outputs[1 + lanes :])
    return keras_layers.trace_of(p, variables, (h, h_n, c_n), None, seconds=stopwatch.seconds)


def _functional(keras: Any, layers: list[Any], flip: Callable[[Any], Any], problem: Problem) -> Any:
    """The model: x, initial states h then c of all lanes, and perhaps a mask, to h, and final states likewise."""
    lstm, dtype = problem.case.lstm, problem.case.run.dtype
    x = keras.Input((None, lstm.input_size), dtype=dtype)
    h0, c0 = ([keras.Input((lstm.hidden_size,), dtype=dtype) for _ in problem.states("h0")] for _ in range(2))
    mask = None if problem.lengths is None else keras.Input((None,), dtype="bool")
    h, h_n, c_n = keras_layers.forward(
        lambda k, x, first, mask: layers[k](x, initial_state=first, mask=mask), flip, lstm, x, h0, c0, mask
    )
    return keras.Model([x, *h0, *c0, *([] if mask is None else [mask])], [h, *h_n, *c_n])
