"""The ONNX operator ``LSTM`` quantised by onnxruntime's ``quantize_dynamic``: its ``DynamicQuantizeLSTM``.

Weights W and R are kept as int8, inputs and hidden states are quantised to uint8 as they come; biases, gates and the
cell state stay float32. The model is as ``backends.onnx_model`` says. Source: onnxruntime documentation, "Quantize ONNX
Models".
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import quantize_dynamic

from lockstep.backends import onnx_model, onnxruntime_session, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("onnxruntime", "onnx")
MAIN = False
INSTALL = "lockstep-rnn[onnx]"
DIALECT = "onnx"
QUANTISED = "int8"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {"quantize_dynamic quantises float32": case.run.dtype != "float32"}
    return refusals.of(reasons, first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """A session of the model, quantised."""
    # It advises, by the root logger, to run a program before it.
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, plain)
        quantize_dynamic(plain, quantised, op_types_to_quantize=["LSTM"])
        session = onnxruntime_session.session_of(quantised.read_bytes())
    return lambda fed: session.run(None, fed)
