"""The ONNX operator ``LSTM`` in OpenCV's ``dnn``, by its new engine.

The model is built for each problem, weights included, as ``backends.onnx_model`` says, and read from memory. The
engine is OpenCV's own choice, as by default: its new one. Source: OpenCV documentation, ``cv::dnn::readNetFromONNX``,
``Net``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import cv2
import numpy as np
import onnx

from lockstep.backends import onnx_model, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("cv2", "onnx")
INSTALL = "lockstep-rnn[opencv]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    dtype = case.run.dtype
    reasons = {
        "OpenCV's dnn gives float32 of a model in float16": dtype == "float16",
        "OpenCV says: blob data type = bfloat16 is not supported": dtype == "bfloat16",
        "OpenCV's LSTM takes no initial states where it has no bias": not case.lstm.bias,
        "OpenCV's LSTM takes no activations but sigmoid and tanh": not refusals.standard_activations(case.lstm),
    }
    return refusals.of(reasons, first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto, engine: int = cv2.dnn.ENGINE_AUTO) -> onnx_model.Loaded:
    """The model as a net of one of OpenCV's engines."""
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8), engine)
    outputs = [output.name for output in model.graph.output]

    def run_model(fed: Arrays) -> list[Array]:
        for name, array in fed.items():
            net.setInput(array, name)
        return [np.array(output) for output in net.forward(outputs)]

    return run_model
