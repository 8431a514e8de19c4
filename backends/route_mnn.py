"""MNN, called as ``backends.mnn_lstm`` calls it."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends import mnn_lstm
from lockstep.backends.onnx_route import runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("MNN", "onnx")
INSTALL = "lockstep-rnn[mnn]"
RUNS = ("onnx",)


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(path, subject, mnn_lstm.load)
