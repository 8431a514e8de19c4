"""Models of Keras converted by tf2onnx and run by onnxruntime: what Keras 3 and tf_keras have in common.

The model is as ``backends.keras_model`` says. The opset is the converter's own choice. Source: tf2onnx documentation,
``tf2onnx.convert.from_keras``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import tf2onnx

from lockstep.backends import keras_model, onnxruntime_session, refusals
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "onnxruntime says of what is converted: LSTM operator does not support double yet": case.run.dtype == "float64",
        "onnxruntime says of what is converted: type tensor(bfloat16) of operator (Loop) is invalid": (
            case.run.dtype == "bfloat16"
        ),
    }
    return refusals.of(reasons, first=keras_model.unsupported(case))


def call_of(model: Any) -> keras_model.Call:
    """A model of Keras as onnxruntime runs it."""
    converted, _ = tf2onnx.convert.from_keras(model)
    session = onnxruntime_session.session_of(converted.SerializeToString())

    def call(inputs: Arrays) -> Arrays:
        outputs: Any = session.run(None, inputs)
        return {f"output_{k}": output for k, output in enumerate(outputs)}

    return call
