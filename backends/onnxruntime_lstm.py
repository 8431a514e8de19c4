"""The ONNX operator ``LSTM`` in onnxruntime, on its CPU provider.

The model is built for each problem, weights included, as ``backends.onnx_model`` says. Past a sequence's end it gives
zeros. Source: onnxruntime documentation, ``InferenceSession``.
"""

from __future__ import annotations

from lockstep.backends import onnx_model, onnxruntime_session, refusals
from lockstep.harness.adapters.trace import Stopwatch, Trace
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
    stopwatch = Stopwatch()
    with stopwatch("build"):
        session = onnxruntime_session.session_of(onnx_model.model_of(problem).SerializeToString())
    with stopwatch("run"):
        outputs = session.run(None, onnx_model.inputs_of(problem))
    return Trace(seconds=stopwatch.seconds, **onnx_model.traced(problem, outputs))
