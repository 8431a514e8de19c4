"""``torch.nn.LSTM`` exported by ``torch.onnx.export`` and run by onnxruntime: both of PyTorch's exporters.

Weights are loaded into the module first, as its users do, so each problem is exported anew. Lengths are
``pack_padded_sequence`` and ``pad_packed_sequence`` around it. The opset is the exporter's own choice. Source: PyTorch
documentation, ``torch.onnx.export``.
"""

from __future__ import annotations

from typing import Any

import torch

from lockstep.backends import onnxruntime_session, refusals, torch_lstm
from lockstep.backends.torch_onnx_file import onnx_bytes
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem


def unsupported(case: Case, *, dynamo: bool) -> str | None:
    """Why ``case`` cannot be run faithfully through one of the exporters; None if it can."""
    lstm = case.lstm
    reasons = {
        **refusals.plain_cell(lstm, "nn.LSTM", projection=True),
        **refusals.side_by_side(lstm, "nn.LSTM"),
        "nn.LSTM has no direction that is the reverse one alone": lstm.direction == "reverse",
        "pack_padded_sequence takes no sequence of length 0": 0 in (case.run.lengths or ()),
        "nn.LSTM says: Expected sequence length to be larger than 0 in RNN": case.run.timesteps == 0,
        **onnxruntime_session.narrow_dtypes(case),
        "an inference runtime computes no gradients": case.run.gradients,
        "torch.export does not get through nn.LSTM with pack_padded_sequence: what it does depends on the lengths": (
            dynamo and case.run.lengths is not None
        ),
        "torch.onnx says: Unsupported: ONNX export of operator LSTM, LSTMs with projections": (
            not dynamo and bool(lstm.proj_size)
        ),
    }
    return refusals.of(reasons)


class _Exported(torch.nn.Module):
    """An LSTM as it is exported; lengths go in where sequences have them."""

    def __init__(self, lstm: torch.nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x, h0, c0, lengths=None):
        """h, h_n and c_n."""
        return torch_lstm.run_lstm(self.lstm, x, h0, c0, lengths)


def run(problem: Problem, *, dynamo: bool) -> Trace:
    """Run ``problem`` through one of the exporters."""
    p, lstm = problem, problem.case.lstm
    stopwatch = Stopwatch()
    fed = {"x": p.x, "h0": p.states("h0"), "c0": p.states("c0")}
    if p.lengths is not None:
        fed["lengths"] = p.lengths
    with stopwatch("build"):
        layer = torch_lstm.module_of(lstm, p.case.run.dtype)
        torch_lstm.load(layer, p)
        inputs = tuple(torch_lstm.tensor_of(array) for array in fed.values())
        model = onnx_bytes(_Exported(layer).eval(), inputs, list(fed), ["h", "h_n", "c_n"], dynamo=dynamo)
        session = onnxruntime_session.session_of(model)
    with stopwatch("run"):
        taken = {wanted.name for wanted in session.get_inputs()}
        outputs: Any = session.run(None, {name: array for name, array in fed.items() if name in taken})
    h, h_n, c_n = outputs
    if lstm.single:
        h_n, c_n = h_n[0], c_n[0]
    parameters = tuple(Parameter(name, tuple(value.shape)) for name, value in layer.state_dict().items())
    return Trace(h=h, h_n=h_n, c_n=c_n, parameters=parameters, seconds=stopwatch.seconds)
