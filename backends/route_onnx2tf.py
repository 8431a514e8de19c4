"""onnx2tf, which makes TFLite of an ONNX file, and TFLite's interpreter; onnx2tf runs in its own environment.

``-kat`` is given for every input: else axes are transposed as pictures have them. Source: onnx2tf README,
"CLI Parameter"; LiteRT documentation, ``Interpreter``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import onnx
from ai_edge_litert.interpreter import Interpreter

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.routes.elsewhere import program_in_environment
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("ai_edge_litert", "onnx")
INSTALL = "lockstep-rnn[tflite,onnx]"
ELSEWHERE = "onnx2tf"
RUNS = ("onnx",)

_ARRAY = re.compile(r"[. ]*(?:Found|Received)?: \[.*$")


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    # By its signature: tensors have names of TensorFlow's, and come in another order.
    call = Interpreter(model_content=_content(path, subject), num_threads=THREADS).get_signature_runner()
    given, wanted = _names(path)
    types = {_plain(name): (name, detail["dtype"]) for name, detail in call.get_input_details().items()}

    def run(inputs: Arrays) -> Arrays:
        fed = {}
        for name, own in zip(given, subject.input_names, strict=True):
            argument, dtype = types[_plain(name)]
            fed[argument] = inputs[own].astype(dtype)
        outputs = {_plain(name): array for name, array in call(**fed).items()}
        return subject.named([outputs[_plain(name)].copy() for name in wanted])

    return run


def _names(path: Path) -> tuple[list[str], list[str]]:
    """The names of a graph's inputs and outputs."""
    graph = onnx.load(path, load_external_data=False).graph
    held = {tensor.name for tensor in graph.initializer}
    return [given.name for given in graph.input if given.name not in held], [output.name for output in graph.output]


def _plain(name: str) -> str:
    """A name as TensorFlow's signatures may have it."""
    return re.sub(r"\W+", "_", name).strip("_").lower()


def _content(path: Path, subject: Subject) -> bytes:
    """What onnx2tf makes of a file, kept in a folder beside it unless it is the user's own."""
    if str(path) != str(subject.value):
        return _converted(path, path.parent / "onnx2tf")
    with tempfile.TemporaryDirectory() as folder:
        return _converted(path, Path(folder))


def _converted(path: Path, made: Path) -> bytes:
    program = program_in_environment("onnx2tf")
    assert program is not None
    made.mkdir(exist_ok=True)
    # It writes its simplified model over the file that it is given.
    copied = made / path.name
    onnx.save(onnx.load(path), copied)
    # Names are kept, by which inputs and outputs are told apart: they come in another order.
    command = [str(program), "-i", str(copied), "-o", ".", "-kat", *_names(path)[0], "-coion", "-n"]
    # What is set for this environment is not for its own.
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(  # noqa: S603 (the program that the user named)
        command, cwd=made, check=False, capture_output=True, text=True, env=environment
    )
    file = made / f"{path.stem}_float32.tflite"
    if done.returncode or not file.is_file():
        raise RuntimeError(f"onnx2tf ended with status {done.returncode}: {_message(done.stdout + done.stderr)}")
    return file.read_bytes()


def _message(text: str) -> str:
    """The last line that says what went wrong, without the array that it ends in."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "Error" in line or "ERROR" in line]
    return _ARRAY.sub("", (wrong or lines or ["no message"])[-1])
