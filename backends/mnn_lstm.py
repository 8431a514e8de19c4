"""The ONNX operator ``LSTM`` in MNN.

The model is built for each problem, weights included, as ``backends.onnx_model`` says, and converted by the library's
own call, in a process of its own: the converter ends its process where it meets what it does not know. The command
``mnnconvert`` is never run: it installs a package by pip, and asks for credentials to report how it is used. Source:
MNN documentation, ``nn.load_module_from_file``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import MNN
import onnx

from lockstep.backends import onnx_model, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("MNN", "onnx")
INSTALL = "lockstep-rnn[mnn]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        f"MNN computes {case.run.dtype} in float32": case.run.dtype in {"float64", "float16"},
        "MNN says: unsupported data type (bits: 16, code: 4)": case.run.dtype == "bfloat16",
        "MNN says: MNN LSTM not support 8th input (peepholes)": case.lstm.peephole,
        "MNN says: MNN LSTM Don't support activation": not refusals.standard_activations(case.lstm),
    }
    return refusals.of(reasons, first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """The model as a module of MNN."""
    inputs, outputs = ([end.name for end in ends] for ends in (model.graph.input, model.graph.output))
    with tempfile.TemporaryDirectory() as folder:
        source, converted = (str(Path(folder) / name) for name in ("model.onnx", "model.mnn"))
        onnx.save(model, source)
        _convert(source, converted)
        module = MNN.nn.load_module_from_file(converted, inputs, outputs)

    def run_model(fed: Arrays) -> list[Array]:
        given = [_constant(fed[name]) for name in inputs]
        answers = module.forward(given)
        if len(answers) < len(outputs):
            told = "; ".join(dict.fromkeys(_printed(lambda: module.forward(given)))) or "nothing"
            raise RuntimeError(f"MNN's forward gives no output, and raises nothing; it prints: {told}")
        return [answer.read().copy() for answer in answers]

    return run_model


def _constant(array: Array) -> MNN.expr.Var:
    # What it is not told the type of it takes for float32, indices too.
    dtype = MNN.expr.int if array.dtype.kind in "biu" else MNN.expr.float
    return MNN.expr.const(array.ravel().tolist(), list(array.shape), MNN.expr.NCHW, dtype)


def _printed(call: Callable[[], object]) -> list[str]:
    """The lines that a call prints past Python: MNN's only message."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            call()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]


def _convert(source: str, converted: str) -> None:
    """Write an ONNX file as one of MNN's."""
    words = ["", "-f", "ONNX", "--modelFile", source, "--MNNModel", converted, "--bizCode", ""]
    code = f"import _tools; _tools.mnnconvert({words})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 (our own command)
    if done.returncode < 0:
        raise RuntimeError(f"MNN's converter was ended by signal {-done.returncode}")
    if not Path(converted).exists():
        lines = dict.fromkeys((done.stdout + done.stderr).splitlines())
        reasons = [line for line in lines if "support" in line and "device" not in line]
        raise RuntimeError(f"MNN's converter writes nothing: {'; '.join(reasons)}")
