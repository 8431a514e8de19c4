"""``torch.onnx.export``, which traces by ``torch.export``. Source: PyTorch documentation, ``torch.onnx.export``."""

from __future__ import annotations

from pathlib import Path

from lockstep.backends.torch_onnx_file import onnx_bytes
from lockstep.backends.torch_tensors import example_of
from lockstep.harness.adapters.routes.whole import Subject

REQUIRES = ("torch", "onnx", "onnxscript")
INSTALL = "lockstep-rnn[torch,onnx]"
SOURCES = ("torch",)
FORMAT = "onnx"


def convert(subject: Subject, folder: Path, *, dynamo: bool = True) -> Path:
    """Export a module into a file."""
    names = list(subject.input_names), list(subject.outputs)
    path = folder / "model.onnx"
    path.write_bytes(onnx_bytes(subject.value, example_of(subject), *names, dynamo=dynamo))
    return path
