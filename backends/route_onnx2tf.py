"""onnx2tf, which makes TFLite of an ONNX file, and TFLite's interpreter; onnx2tf runs in its own environment.

``-kat`` is given for every input: else axes are transposed as pictures have them. Source: onnx2tf README,
"CLI Parameter"; LiteRT documentation, ``Interpreter``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import subprocess
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


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    interpreter = Interpreter(str(_converted(path)), num_threads=THREADS)
    interpreter.allocate_tensors()
    names = _names(path)
    details = {_plain(detail["name"]): detail for detail in interpreter.get_input_details()}
    outputs = {_plain(detail["name"]): detail for detail in interpreter.get_output_details()}

    def run(inputs: Arrays) -> Arrays:
        given = dict(zip(names[0], (inputs[name] for name in subject.input_names), strict=True))
        for name, array in given.items():
            detail = details[_plain(name)]
            interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
        interpreter.invoke()
        return subject.named([interpreter.get_tensor(outputs[_plain(name)]["index"]).copy() for name in names[1]])

    return run


def _names(path: Path) -> tuple[list[str], list[str]]:
    """The names of a graph's inputs and outputs."""
    graph = onnx.load(path, load_external_data=False).graph
    held = {tensor.name for tensor in graph.initializer}
    return [given.name for given in graph.input if given.name not in held], [output.name for output in graph.output]


def _plain(name: str) -> str:
    return name.removesuffix(":0")


def _converted(path: Path) -> Path:
    """What onnx2tf makes of a file, in a folder beside it."""
    program, made = program_in_environment("onnx2tf"), path.parent / "onnx2tf"
    assert program is not None
    made.mkdir(exist_ok=True)
    # Names are kept, by which inputs and outputs are told apart: they come in another order.
    command = [str(program), "-i", str(path), "-o", ".", "-kat", *_names(path)[0], "-coion", "-n"]
    # What is set for this environment is not for its own.
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(  # noqa: S603 (the program that the user named)
        command, cwd=made, check=False, capture_output=True, text=True, env=environment
    )
    files = sorted(made.glob("*_float32.tflite"))
    if done.returncode or not files:
        raise RuntimeError(f"onnx2tf ended with status {done.returncode}: {_message(done.stdout + done.stderr)}")
    return files[0]


def _message(text: str) -> str:
    """The last line that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "Error" in line or "ERROR" in line]
    return (wrong or lines or ["no message"])[-1]
