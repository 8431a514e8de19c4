"""``torch.onnx.export``, which traces by ``torch.export``. Source: PyTorch documentation, ``torch.onnx.export``."""

from __future__ import annotations

from pathlib import Path

from lockstep.backends.torch_onnx_file import onnx_bytes
from lockstep.backends.torch_tensors import example_of, exportable, is_script, traced
from lockstep.harness.adapters.routes.whole import Subject

REQUIRES = ("torch", "onnx", "onnxscript")
INSTALL = "lockstep-rnn[torch,onnx]"
SOURCES = ("torch",)
FORMAT = "onnx"


def convert(subject: Subject, folder: Path, *, dynamo: bool = True) -> Path:
    """Export a module into a file."""
    names = list(subject.input_names), list(subject.outputs)
    # The older exporter takes TorchScript as it is, but none within another module.
    older = traced(subject) if is_script(subject) else subject.value
    module = exportable(subject) if dynamo else older
    path = folder / "model.onnx"
    path.write_bytes(onnx_bytes(module, example_of(subject), *names, dynamo=dynamo))
    return path
