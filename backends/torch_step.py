"""One timestep of any LSTM in PyTorch, as plainly as users write their own cells; for compilers of PyTorch code.

Canonical equations, gate order and weight layout (``harness.reference``). Types are what TorchScript reads too.
"""

from typing import Optional

import torch
from torch import Tensor

from lockstep.backends import torch_network
from lockstep.backends.torch_lstm import tensor_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import CANONICAL

# What a cell computes, as plain values: recurrent activation, activation, cell activation, clip, coupling.
Settings = tuple[str, str, str, float, bool]


# What ``step`` takes beside its input and state: W, R, b, P, p and the settings.
Cell = tuple[Tensor, Tensor, Tensor, Optional[Tensor], Optional[Tensor], Settings]  # noqa: UP045 (as below)


def run(problem: Problem, run_lane: torch_network.RunLane) -> Trace:
    """Run ``problem``, its weights canonical: each lane's cell is a ``Cell``."""
    lstm, wanted = problem.case.lstm, problem.dh is not None
    clip = float("inf") if lstm.cell_clip is None else lstm.cell_clip
    settings = (lstm.recurrent_activation, lstm.activation, lstm.cell_activation, clip, lstm.input_forget)
    weights = [
        {name: tensor_of(array).requires_grad_(wanted) for name, array in of_lane.arrays().items()}
        for _, of_lane in problem.lanes()
    ]
    cells: list[Cell] = [(w["W"], w["R"], w["b"], w.get("P"), w.get("p"), settings) for w in weights]
    return torch_network.run(problem, run_lane, cells, weights, CANONICAL, Stopwatch())


def activate(name: str, z: Tensor) -> Tensor:
    """Apply an activation by its name in a case, ``harness.cases.case.Activation``."""
    if name == "tanh":
        return torch.tanh(z)
    if name == "sigmoid":
        return torch.sigmoid(z)
    if name == "hard_sigmoid_0.2":
        return torch.clamp(0.2 * z + 0.5, 0.0, 1.0)
    if name == "hard_sigmoid_1/6":
        return torch.nn.functional.hardsigmoid(z)
    if name == "relu":
        return torch.relu(z)
    assert name == "linear"
    return z


def step(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    W: Tensor,
    R: Tensor,
    b: Tensor,
    P: Optional[Tensor],  # noqa: UP045 (TorchScript)
    p: Optional[Tensor],  # noqa: UP045
    settings: tuple[str, str, str, float, bool],
) -> tuple[Tensor, Tensor]:
    """Go one timestep: from x (B, I), h (B, P), c (B, H) to the new h and c."""
    gate, candidate, cell, clip, coupled = settings
    i, f, g, o = torch.chunk(torch.nn.functional.linear(x, W, b) + torch.nn.functional.linear(h, R), 4, dim=-1)
    if p is not None:
        i, f = i + p[0] * c, f + p[1] * c
    i, g = activate(gate, i), activate(candidate, g)
    f = 1 - i if coupled else activate(gate, f)
    c = f * c + i * g
    if clip < float("inf"):
        c = torch.clamp(c, -clip, clip)
    if p is not None:
        o = o + p[2] * c
    h = activate(gate, o) * activate(cell, c)
    if P is not None:
        h = torch.nn.functional.linear(h, P)
    return h, c
