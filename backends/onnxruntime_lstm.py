"""The ONNX operator ``LSTM`` in onnxruntime, on its CPU provider.

The model is built for each problem, weights included, as ``backends.onnx_model`` says. Past a sequence's end it gives
zeros. Source: onnxruntime documentation, ``InferenceSession``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import onnxruntime

from lockstep.backends import onnx_model
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("onnxruntime", "onnx")
INSTALL = "lockstep-rnn[onnx]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    reasons = {
        "onnxruntime's CPU provider says: LSTM operator does not support double yet": case.run.dtype == "float64",
        "onnxruntime's CPU provider has no implementation of LSTM in bfloat16": case.run.dtype == "bfloat16",
    }
    found = "; ".join(reason for reason, holds in reasons.items() if holds)
    return "; ".join(filter(None, (onnx_model.unsupported(case), found))) or None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    stopwatch = Stopwatch()
    with stopwatch("build"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = THREADS
        model = onnx_model.model_of(problem).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with stopwatch("run"):
        outputs = session.run(None, onnx_model.inputs_of(problem))
    return Trace(seconds=stopwatch.seconds, **onnx_model.traced(problem, outputs))
