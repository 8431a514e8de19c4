"""The ONNX operator ``LSTM`` compiled by IREE for the CPU.

The model is built for each problem, weights included, as ``backends.onnx_model`` says, imported by the program
``iree-import-onnx``, compiled by ``compile_file`` for the target ``llvm-cpu``, and run by the driver ``local-sync``.
Source: IREE documentation, ONNX; Python bindings.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from iree import runtime
from iree.compiler.tools import compile_file

from lockstep.backends import onnx_model, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("iree", "onnx")
INSTALL = "lockstep-rnn[iree]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "IREE computes float64 in float32, and then refuses its own buffers": case.run.dtype == "float64",
        "IREE says: failed to legalize operation of an LSTM whose direction is reverse": case.lstm.direction
        == "reverse",
        "IREE says: failed to legalize operation of an LSTM with input_forget": case.lstm.input_forget,
    }
    return refusals.of(reasons, first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """The model compiled, as a function of its inputs in their order."""
    with tempfile.TemporaryDirectory() as folder:
        source, imported = (str(Path(folder) / name) for name in ("model.onnx", "model.mlir"))
        onnx.save(model, source)
        program = Path(sys.executable).with_name("iree-import-onnx")
        subprocess.run([program, source, "-o", imported], capture_output=True, check=True)  # noqa: S603 (a path of our own)
        compiled = compile_file(imported, input_type="onnx", target_backends=["llvm-cpu"])
    context = runtime.SystemContext(config=runtime.Config("local-sync"))
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, compiled))
    function = context.modules.module[model.graph.name]
    inputs = [graph_input.name for graph_input in model.graph.input]

    def run_model(fed: Arrays) -> list[Array]:
        outputs = function(*(fed[name] for name in inputs))
        return [np.array(output.to_host()) for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return run_model
