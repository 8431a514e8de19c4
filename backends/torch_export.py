"""``torch.nn.LSTM`` exported by ``torch.onnx.export`` and run by onnxruntime: both of PyTorch's exporters.

Weights are loaded into the module first, as its users do, so each problem is exported anew. Lengths are
``pack_padded_sequence`` and ``pad_packed_sequence`` around it. The opset is the exporter's own choice. Source: PyTorch
documentation, ``torch.onnx.export``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import onnxruntime
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lockstep.backends.torch_lstm import tensor_of
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store_cell

TORCH = DIALECTS["torch"]


def unsupported(case: Case, *, dynamo: bool) -> str | None:
    """Say why ``case`` cannot be run faithfully through one of the exporters, or return None if it can."""
    lstm = case.lstm
    reasons = {
        "nn.LSTM has no peepholes": lstm.peephole,
        "nn.LSTM does not clip the cell state": lstm.cell_clip is not None,
        "nn.LSTM does not couple its input gate to its forget gate": lstm.input_forget,
        "nn.LSTM has sigmoid gates, and tanh for the candidate and the cell state": (
            (lstm.recurrent_activation, lstm.activation, lstm.cell_activation) != ("sigmoid", "tanh", "tanh")
        ),
        "nn.LSTM has no direction that is the reverse one alone": lstm.direction == "reverse",
        "pack_padded_sequence takes no sequence of length 0": 0 in (case.run.lengths or ()),
        "nn.LSTM says: Expected sequence length to be larger than 0 in RNN": case.run.timesteps == 0,
        "onnxruntime's CPU provider says: LSTM operator does not support double yet": case.run.dtype == "float64",
        "onnxruntime's CPU provider has no implementation of LSTM in bfloat16": case.run.dtype == "bfloat16",
        "an inference runtime computes no gradients": case.run.gradients,
        "torch.export does not get through nn.LSTM with pack_padded_sequence: what it does depends on the lengths": (
            dynamo and case.run.lengths is not None
        ),
        "torch.onnx says: Unsupported: ONNX export of operator LSTM, LSTMs with projections": (
            not dynamo and bool(lstm.proj_size)
        ),
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds) or None


class _Padded(torch.nn.Module):
    """An LSTM over sequences of different lengths."""

    def __init__(self, lstm: torch.nn.LSTM, timesteps: int) -> None:
        super().__init__()
        self.lstm, self.timesteps = lstm, timesteps

    def forward(self, x, h0, c0, lengths):
        """Give h, h_n and c_n."""
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        packed, (h_n, c_n) = self.lstm(packed, (h0, c0))
        h, _ = pad_packed_sequence(packed, total_length=self.timesteps)
        return h, h_n, c_n


class _Whole(torch.nn.Module):
    """An LSTM over sequences of one length."""

    def __init__(self, lstm: torch.nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x, h0, c0):
        """Give h, h_n and c_n."""
        h, (h_n, c_n) = self.lstm(x, (h0, c0))
        return h, h_n, c_n


def run(problem: Problem, *, dynamo: bool) -> Trace:
    """Run ``problem`` through one of the exporters."""
    p, lstm = problem, problem.case.lstm
    stopwatch = Stopwatch()
    fed = {"x": p.x, "h0": p.states("h0"), "c0": p.states("c0")}
    if p.lengths is not None:
        fed["lengths"] = p.lengths
    with stopwatch("build"):
        layer = _layer(p)
        module = _Whole(layer) if p.lengths is None else _Padded(layer, len(p.x))
        model = _exported(module.eval(), tuple(tensor_of(a) for a in fed.values()), list(fed), dynamo=dynamo)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with stopwatch("run"):
        taken = {one.name for one in session.get_inputs()}
        outputs: Any = session.run(None, {name: array for name, array in fed.items() if name in taken})
    h, h_n, c_n = outputs
    if lstm.single:
        h_n, c_n = h_n[0], c_n[0]
    parameters = tuple(Parameter(name, tuple(value.shape)) for name, value in layer.state_dict().items())
    return Trace(h=h, h_n=h_n, c_n=c_n, parameters=parameters, seconds=stopwatch.seconds)


def _layer(problem: Problem) -> torch.nn.LSTM:
    """Make nn.LSTM with a problem's weights."""
    lstm = problem.case.lstm
    layer = torch.nn.LSTM(
        lstm.input_size,
        lstm.hidden_size,
        num_layers=lstm.num_layers,
        bias=lstm.bias,
        bidirectional=lstm.direction == "bidirectional",
        proj_size=lstm.proj_size,
        dtype=getattr(torch, problem.case.run.dtype),
    )
    stored = {
        name.removesuffix("_l0") + Lane(lane.layer, lane.reverse).suffix: tensor_of(array)
        for lane, weights in problem.lanes()
        for name, array in store_cell(weights.arrays(), TORCH).items()
    }
    layer.load_state_dict({name: stored[name] for name in layer.state_dict()})
    return layer


def _exported(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], names: list[str], *, dynamo: bool) -> bytes:
    outputs = ["h", "h_n", "c_n"]
    # The exporters warn of whatever they do not know, such as torchvision's operators.
    with warnings.catch_warnings(), _silenced("torch.onnx"):
        warnings.simplefilter("ignore")
        if dynamo:
            program: Any = torch.onnx.export(
                module, inputs, dynamo=True, input_names=names, output_names=outputs, verbose=False
            )
            return program.model_proto.SerializeToString()
        file = io.BytesIO()
        torch.onnx.export(module, inputs, file, dynamo=False, input_names=names, output_names=outputs)  # type: ignore[arg-type]
        return file.getvalue()


class _silenced:  # noqa: N801 (it is used as a function)
    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.before = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.before)
