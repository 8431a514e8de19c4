"""``torch.nn.LSTM`` exported by ``torch.onnx.export``, which traces by ``torch.export``, and run by onnxruntime.

Modules, lengths and the run are as ``backends.torch_export`` says. Source: PyTorch documentation,
``torch.onnx.export``.
"""

from __future__ import annotations

from lockstep.backends import torch_export
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("torch", "onnx", "onnxscript", "onnxruntime")
MAIN = False
INSTALL = "lockstep-rnn[torch,onnx]"
DIALECT = "torch"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return torch_export.unsupported(case, dynamo=True)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_export.run(problem, dynamo=True)
