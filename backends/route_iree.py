"""IREE, compiled for the CPU, called as ``backends.iree_lstm`` calls it."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends import iree_lstm
from lockstep.backends.onnx_route import runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("iree", "onnx")
INSTALL = "lockstep-rnn[iree]"
RUNS = ("onnx",)


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(path, subject, iree_lstm.load)
