"""``torch.nn.LSTM`` traced, converted by pnnx as by default, its weights in float16, and run by ncnn as by default.

Otherwise as ``backends.ncnn_lstm``. Source: ncnn documentation, "use ncnn with pytorch or onnx", ``ncnn.Option``.
"""

from __future__ import annotations

from lockstep.backends import ncnn_network, torch_runtime
from lockstep.backends.kept import kept
from lockstep.backends.ncnn_network import unsupported as unsupported  # noqa: PLC0414 (both ways refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("ncnn", "pnnx", "torch")
MAIN = False
INSTALL = "lockstep-rnn[ncnn]"
DIALECT = "torch"
QUANTISED = "weights in float16"

_converted = kept(lambda problem: ncnn_network.converted(problem, fp16=True))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _converted)
