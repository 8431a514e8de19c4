"""The ONNX operator ``LSTM`` in OpenCV's ``dnn``, by its classic engine.

Models and calls are as ``backends.opencv_dnn`` says. Source: OpenCV documentation, ``cv::dnn::readNetFromONNX``,
``EngineType``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import cv2
import onnx

from lockstep.backends import onnx_model, opencv_dnn
from lockstep.backends.opencv_dnn import unsupported as unsupported  # noqa: PLC0414 (both engines refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("cv2", "onnx")
MAIN = False
INSTALL = "lockstep-rnn[opencv]"
DIALECT = "onnx"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """The model as a net of the classic engine."""
    return opencv_dnn.load(model, cv2.dnn.ENGINE_CLASSIC)
