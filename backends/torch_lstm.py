"""``torch.nn.LSTM`` over the whole sequence, gradients by ``torch.autograd.grad``.

Gates stacked i, f, g, o as in canonical weights; of its two biases, which are summed, the first takes
``b`` and the second is zero. The cell state of each timestep and the layers below the top are not exposed: the trace
has ``h`` and the final states. ``nn.LSTM`` has no direction that is the reverse one alone: as users do, the input is
turned round before it and the output after it, each sequence within its length. Source: PyTorch documentation,
``torch.nn.LSTM``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lockstep.backends import refusals
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.cases.tensors import Lane, lanes, name_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch"

TORCH = DIALECTS["torch"]
BFLOAT16 = dtype_of("bfloat16")


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    reasons = {
        **refusals.plain_cell(lstm, "nn.LSTM", projection=True),
        **refusals.side_by_side(lstm, "nn.LSTM"),
        f"nn.LSTM takes a proj_size below hidden_size, and {lstm.proj_size} is not below {lstm.hidden_size}": (
            lstm.proj_size >= lstm.hidden_size
        ),
        "pack_padded_sequence takes no sequence of length 0": 0 in (case.run.lengths or ()),
        "nn.LSTM says: Expected sequence length to be larger than 0 in RNN": case.run.timesteps == 0,
    }
    return refusals.of(reasons)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), the final states of all layers and directions, and gradients if they are asked for.
    """
    stopwatch = Stopwatch()
    with stopwatch("build"):
        lstm = _lstm(problem.case.lstm, problem.case.run.dtype)
    with stopwatch("run"), torch.no_grad():
        load(lstm, problem)
    return trace_of(lstm, problem, stopwatch)


def load(lstm: torch.nn.LSTM, problem: Problem) -> None:
    """Set a module's weights to those of ``problem``."""
    stored = {
        _name(name, lane, problem.case.lstm): tensor_of(array)
        for lane, weights in problem.lanes()
        for name, array in store(weights.arrays(), TORCH).items()
    }
    # Without bias the module has none to load, and ``stored`` has zeros.
    lstm.load_state_dict({name: stored[name] for name in lstm.state_dict()})


def trace_of(lstm: torch.nn.LSTM, problem: Problem, stopwatch: Stopwatch) -> Trace:
    """Run a module with the weights that it has."""
    p, gradients = problem, problem.dh is not None
    with stopwatch("run"), torch.inference_mode(not gradients):
        x, h0, c0 = (tensor_of(a).requires_grad_(gradients) for a in (p.x, p.states("h0"), p.states("c0")))
        h, h_n, c_n = _forward(lstm, x, h0, c0, p)
        tensors = {"h": h, "h_n": h_n, "c_n": c_n}
        if p.dh is not None:
            inputs = {"dx": x, "dh0": h0, "dc0": c0, **_weights(lstm, p.case.lstm)}
            cotangents = (tensor_of(p.dh), tensor_of(p.states("dc")))
            tensors |= zip(inputs, torch.autograd.grad((h, c_n), list(inputs.values()), cotangents), strict=True)
    # torch keeps the axis of lanes also where there is one lane.
    if p.case.lstm.single:
        tensors |= {name: tensors[name][0] for name in ("h_n", "c_n", "dh0", "dc0") if name in tensors}
    arrays: dict[str, Any] = {name: array_of(tensor) for name, tensor in tensors.items()}
    return Trace(
        parameters=tuple(Parameter(name, tuple(value.shape)) for name, value in lstm.state_dict().items()),
        device=str(lstm.weight_ih_l0.device),
        seconds=stopwatch.seconds,
        **arrays,
    )


def module_of(lstm: LSTM, dtype: str) -> torch.nn.LSTM:
    """A module of a network's sizes, its weights not set."""
    return torch.nn.LSTM(
        lstm.input_size,
        lstm.hidden_size,
        num_layers=lstm.num_layers,
        bias=lstm.bias,
        bidirectional=lstm.direction == "bidirectional",
        proj_size=lstm.proj_size,
        dtype=getattr(torch, dtype),
    )


# Kept by size: making a module takes longer than loading weights into it.
_lstm = lru_cache(maxsize=8)(module_of)


def _forward(lstm: torch.nn.LSTM, x, h0, c0, problem: Problem) -> tuple[torch.Tensor, ...]:
    """Outputs h (T, B, D P), h_n and c_n (L D, B, ·)."""
    lengths = None if problem.lengths is None else torch.tensor(problem.lengths)
    reverse = problem.case.lstm.direction == "reverse"
    h, h_n, c_n = run_lstm(lstm, _turned(x, lengths) if reverse else x, h0, c0, lengths)
    return _turned(h, lengths) if reverse else h, h_n, c_n


def run_lstm(lstm: torch.nn.LSTM, x, h0, c0, lengths: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """Run over x (T, B, I), packed if sequences have lengths: h, 0 past their ends, h_n and c_n."""
    if lengths is None and lstm.batch_first:
        h, (h_n, c_n) = lstm(x.transpose(0, 1), (h0, c0))
        h = h.transpose(0, 1).contiguous()
    elif lengths is None:
        h, (h_n, c_n) = lstm(x, (h0, c0))
    else:
        packed, (h_n, c_n) = lstm(pack_padded_sequence(x, lengths, enforce_sorted=False), (h0, c0))
        # Without total_length the output would end with the longest sequence.
        h, _ = pad_packed_sequence(packed, total_length=len(x))
    return h, h_n, c_n


def _turned(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Turn (T, B, n) round, each sequence within its length."""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(len(x))[:, None]
    return x[torch.where(t < lengths, lengths - 1 - t, t), torch.arange(len(lengths))]


def _weights(lstm: torch.nn.LSTM, network: LSTM) -> dict[str, torch.Tensor]:
    """nn.LSTM's own weights by the names of their gradients in a trace."""
    names = {"dW": TORCH.input_kernel[0], "dR": TORCH.recurrent_kernel[0]}
    if network.bias:
        # Of its two biases, which are summed, either has the gradient of the sum.
        names["db"] = TORCH.bias[0]
    if network.proj_size:
        names["dP"] = TORCH.projection
    return {
        name_of(kind, lane, network): getattr(lstm, _name(name, lane, network))
        for lane in lanes(network)
        for kind, name in names.items()
    }


def _name(name: str, lane: Lane, network: LSTM) -> str:
    """nn.LSTM's name of a weight in a lane, from that in its first one, which ends in _l0."""
    reverse = lane.reverse and network.direction == "bidirectional"
    return name.removesuffix("_l0") + Lane(lane.layer, reverse).suffix


def tensor_of(array: Array) -> torch.Tensor:
    """A copy; torch does not know NumPy's bfloat16, which is ml_dtypes': it goes over as bits."""
    bare = torch.tensor(array.view(np.int16)).view(torch.bfloat16) if array.dtype == BFLOAT16 else torch.tensor(array)
    # Of an empty array it takes over NumPy's strides of 0, which no tensor of its own has, and ExecuTorch refuses.
    return bare if array.size else torch.empty(array.shape, dtype=bare.dtype)


def array_of(tensor: torch.Tensor) -> Array:
    """What a tensor holds, bfloat16 as bits too."""
    tensor = tensor.detach()
    return tensor.view(torch.int16).numpy().view(BFLOAT16) if tensor.dtype == torch.bfloat16 else tensor.numpy()
