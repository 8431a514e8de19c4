"""The ONNX operator ``LSTM`` in ``onnx.reference``, the standard's own evaluator, written in NumPy.

The model is built for each problem, weights included, as ``backends.onnx_model`` says. Source: ONNX documentation,
``onnx.reference.ReferenceEvaluator``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from lockstep.backends import onnx_model
from lockstep.backends.onnx_model import unsupported as unsupported  # noqa: PLC0414 (it runs what a model can express)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("onnx",)
INSTALL = "lockstep-rnn[onnx]"
DIALECT = "onnx"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """An evaluator of the model."""
    evaluator = ReferenceEvaluator(model)
    return lambda fed: list(map(np.asarray, evaluator.run(None, fed)))
