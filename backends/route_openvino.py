"""OpenVINO on its CPU plugin: PyTorch and Keras by ``openvino.convert_model``, ONNX files by its own frontend.

A model of Keras goes through the SavedModel that ``Model.export`` writes. Source: OpenVINO documentation,
"Converting a PyTorch Model", "Converting a TensorFlow Model", ``Core.compile_model``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import openvino

from lockstep.backends.openvino_settings import SETTINGS
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("openvino",)
INSTALL = "lockstep-rnn[openvino]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
SOURCES = ("torch", "keras", "tf_keras")
FORMAT = "openvino"
RUNS = ("openvino", "onnx")


def convert(subject: Subject, folder: Path) -> Path:
    """Convert a module or a model into a folder of two files."""
    model = _from_keras(subject) if hasattr(subject.value, "export") else _from_torch(subject)
    path = folder / "model" / "model.xml"
    # Numbers are written in float16 by default.
    openvino.save_model(model, path, compress_to_fp16=False)
    return path.parent


def _from_torch(subject: Subject) -> Any:
    from lockstep.backends.torch_tensors import example_of

    return openvino.convert_model(subject.value, example_input=example_of(subject))


def _from_keras(subject: Subject) -> Any:
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        subject.value.export(folder)
        return openvino.convert_model(folder)


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    compiled = openvino.Core().compile_model(path / "model.xml" if path.is_dir() else path, "CPU", SETTINGS)
    # A SavedModel's inputs and outputs come in another order, and bear its names.
    names = {name.replace(".", "_"): name for name in subject.input_names}
    fed = [names.get(_name_in(given, names), name) for given, name in zip(compiled.inputs, names.values(), strict=True)]
    numbers = {f"output_{k}": k for k in range(len(compiled.outputs))}
    order = [numbers.get(_name_in(output, numbers), k) for k, output in enumerate(compiled.outputs)]

    def run(inputs: Arrays) -> Arrays:
        by_output = compiled([inputs[name] for name in fed])
        arrays = dict(zip(order, (by_output[output].copy() for output in compiled.outputs), strict=True))
        return subject.named([arrays[k] for k in range(len(arrays))])

    return run


def _name_in(port: Any, known: dict[str, Any]) -> str:
    """The one of a port's names that is known."""
    return next((name for name in port.get_names() if name in known), "")
