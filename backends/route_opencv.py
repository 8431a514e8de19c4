"""OpenCV's ``dnn``, by its new engine, called as ``backends.opencv_dnn`` calls it."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends import opencv_dnn
from lockstep.backends.onnx_route import runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("cv2", "onnx")
INSTALL = "lockstep-rnn[opencv]"
RUNS = ("onnx",)


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(path, subject, opencv_dnn.load)
