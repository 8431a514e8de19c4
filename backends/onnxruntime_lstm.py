"""The ONNX operator ``LSTM`` in onnxruntime, on its CPU provider.

The model is built for each problem, weights included, as ``backends.onnx_model`` says. Past a sequence's end it gives
zeros. Source: onnxruntime documentation, ``InferenceSession``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import onnx

from lockstep.backends import onnx_model, onnxruntime_session, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("onnxruntime", "onnx")
INSTALL = "lockstep-rnn[onnx]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return refusals.of(onnxruntime_session.narrow_dtypes(case), first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """A session of the model."""
    session = onnxruntime_session.session_of(model.SerializeToString())
    return lambda fed: session.run(None, fed)
