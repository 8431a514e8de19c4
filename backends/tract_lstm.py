"""The ONNX operator ``LSTM`` in tract.

The model is built for each problem, weights included, as ``backends.onnx_model`` says, and read from a file by tract's
ONNX frontend. Source: tract documentation, ``tract.onnx``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import tract

from lockstep.backends import onnx_model, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tract", "onnx")
INSTALL = "lockstep-rnn[tract]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "tract says: LstmEpilogue only supports f32 and f16 preactivations": case.run.dtype == "float64",
        "tract says: Unknown DatumType Bfloat16": case.run.dtype == "bfloat16",
        "tract says: Non constant seq_len is not supported": case.run.lengths is not None,
    }
    return refusals.of(reasons, first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """The model as tract runs it, inputs and outputs in the model's order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        runnable = tract.onnx().load(file).into_model().into_runnable()
    inputs = [graph_input.name for graph_input in model.graph.input]

    def run_model(fed: Arrays) -> list[Array]:
        outputs = runnable.run([np.ascontiguousarray(fed[name]) for name in inputs])
        return [output.to_numpy().copy() for output in outputs]

    return run_model
