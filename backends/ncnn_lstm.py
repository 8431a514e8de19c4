"""``torch.nn.LSTM`` traced, converted by pnnx and run by ncnn, all in float32.

A traced module goes through the program ``pnnx`` with ``fp16=0``; inputs and outputs are ``in0``, ``out0`` and so on,
and their axis of the batch, which is the second one, is told to ``ncnn.Mat``. Source: ncnn documentation,
"use ncnn with pytorch or onnx".
"""

from __future__ import annotations

from lockstep.backends import ncnn_network, torch_runtime
from lockstep.backends.kept import kept
from lockstep.backends.ncnn_network import unsupported as unsupported  # noqa: PLC0414 (both ways refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("ncnn", "pnnx", "torch")
INSTALL = "lockstep-rnn[ncnn]"
DIALECT = "torch"

_converted = kept(lambda problem: ncnn_network.converted(problem, fp16=False))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _converted)
