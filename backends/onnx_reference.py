"""The ONNX operator ``LSTM`` in ``onnx.reference``, the standard's own evaluator, written in NumPy.

The model is built for each problem, weights included, as ``backends.onnx_model`` says. Source: ONNX documentation,
``onnx.reference.ReferenceEvaluator``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from onnx.reference import ReferenceEvaluator

from lockstep.backends import onnx_model
from lockstep.backends.onnx_model import unsupported as unsupported  # noqa: PLC0414 (it runs what a model can express)
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("onnx",)
INSTALL = "lockstep-rnn[onnx]"
DIALECT = "onnx"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    stopwatch = Stopwatch()
    with stopwatch("build"):
        evaluator = ReferenceEvaluator(onnx_model.model_of(problem))
    with stopwatch("run"):
        outputs = evaluator.run(None, onnx_model.inputs_of(problem))
    return Trace(seconds=stopwatch.seconds, **onnx_model.traced(problem, outputs))
