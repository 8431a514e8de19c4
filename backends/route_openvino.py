"""OpenVINO on its CPU plugin: from PyTorch by ``openvino.convert_model``, and ONNX files by its own frontend.

Source: OpenVINO documentation, "Converting a PyTorch Model", ``Core.compile_model``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import openvino

from lockstep.backends.openvino_settings import SETTINGS
from lockstep.backends.torch_tensors import example_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("openvino", "torch")
INSTALL = "lockstep-rnn[openvino]"
SOURCES = ("torch",)
FORMAT = "openvino"
RUNS = ("openvino", "onnx")


def convert(subject: Subject, folder: Path) -> Path:
    """Convert a module into a folder of two files."""
    model = openvino.convert_model(subject.value, example_input=example_of(subject))
    path = folder / "model" / "model.xml"
    # Numbers are written in float16 by default.
    openvino.save_model(model, path, compress_to_fp16=False)
    return path.parent


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    compiled = openvino.Core().compile_model(path / "model.xml" if path.is_dir() else path, "CPU", SETTINGS)

    def run(inputs: Arrays) -> Arrays:
        by_output = compiled([inputs[name] for name in subject.input_names])
        return subject.named([by_output[output].copy() for output in compiled.outputs])

    return run
