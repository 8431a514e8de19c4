"""``torch.nn.LSTMCell`` called in a loop, gradients by ``torch.autograd.grad``.

Gates stacked i, f, g, o as in canonical weights; of its two biases, which are summed, the first takes ``b`` and the
second is zero. Layers, directions and lengths are the loop's, as users write it. Source: PyTorch documentation,
``torch.nn.LSTMCell``.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from lockstep.backends import lanes, refusals, torch_network
from lockstep.backends.torch_lstm import tensor_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.cases.tensors import lanes as lanes_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("torch",)
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch_cell"

TORCH_CELL = DIALECTS["torch_cell"]


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return refusals.of(refusals.plain_cell(case.lstm, "nn.LSTMCell"))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    p, lstm = problem, problem.case.lstm
    stopwatch = Stopwatch()
    with stopwatch("build"):
        cells = _cells(lstm, p.case.run.dtype)
        for cell, (_, of_problem) in zip(cells, p.lanes(), strict=True):
            stored = store(of_problem.arrays(), TORCH_CELL)
            cell.load_state_dict({name: tensor_of(stored[name]) for name in cell.state_dict()})
    weights: list[torch_network.Weights] = [dict(cell.named_parameters()) for cell in cells]
    return torch_network.run(p, _lane, cells, weights, TORCH_CELL, stopwatch, lanes.parameters(lstm, weights))


@lru_cache(maxsize=8)
def _cells(lstm: LSTM, dtype: str) -> list[torch.nn.LSTMCell]:
    return [
        torch.nn.LSTMCell(lstm.input_size_of(lane.layer), lstm.hidden_size, bias=lstm.bias, dtype=getattr(torch, dtype))
        for lane in lanes_of(lstm)
    ]


def _lane(cell: torch.nn.LSTMCell, lane: Lane, x, first: lanes.State, valid, anew) -> torch_network.Weights:
    return lanes.loop(
        cell,
        x,
        first,
        valid,
        anew=anew,
        reverse=lane.reverse,
        where=torch.where,
        zeros_like=torch.zeros_like,
        stack=torch.stack,
    )
