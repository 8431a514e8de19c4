"""``torch.onnx.export(dynamo=False)``, the TorchScript exporter.

Source: PyTorch documentation, ``torch.onnx.export``.
"""

from __future__ import annotations

from pathlib import Path

from lockstep.backends import route_torch_onnx
from lockstep.harness.adapters.routes.whole import Subject

REQUIRES = ("torch", "onnx")
INSTALL = "lockstep-rnn[torch,onnx]"
SOURCES = ("torch",)
FORMAT = "onnx"


def convert(subject: Subject, folder: Path) -> Path:
    """Export a module into a file."""
    return route_torch_onnx.convert(subject, folder, dynamo=False)
