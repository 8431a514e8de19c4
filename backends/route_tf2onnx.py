"""A model of Keras by tf2onnx into an ONNX file. Source: tf2onnx documentation, ``tf2onnx.convert.from_keras``."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import tf2onnx

from lockstep.harness.adapters.routes.whole import Subject

REQUIRES = ("tf2onnx", "tensorflow", "keras")
INSTALL = "lockstep-rnn[tf2onnx]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
SOURCES = ("keras", "tf_keras")
FORMAT = "onnx"


def convert(subject: Subject, folder: Path) -> Path:
    """Convert a model into a file."""
    path = folder / "model.onnx"
    model, _ = tf2onnx.convert.from_keras(subject.value)
    path.write_bytes(model.SerializeToString())
    return path
