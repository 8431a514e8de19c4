"""tract, called as ``backends.tract_lstm`` calls it."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends import tract_lstm
from lockstep.backends.onnx_route import runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("tract", "onnx")
INSTALL = "lockstep-rnn[tract]"
RUNS = ("onnx",)


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(path, subject, tract_lstm.load)
