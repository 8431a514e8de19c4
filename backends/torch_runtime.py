"""``torch.nn.LSTM`` as it is converted for a runtime: a module that takes initial states and gives final ones.

Weights are loaded into the module before it is converted, as its users do; what was converted is kept. Source: PyTorch
documentation, ``torch.nn.LSTM``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lockstep.backends import refusals, torch_lstm
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

Call = Callable[..., Sequence[Any]]  # of x, h0, c0 and perhaps lengths, as arrays: h, h_n and c_n


class Network(torch.nn.Module):
    """An LSTM whose initial states go in, and lengths where sequences have them."""

    def __init__(self, lstm: torch.nn.LSTM) -> None:
        """Take an LSTM."""
        super().__init__()
        self.lstm = lstm

    def forward(self, x, h0, c0, lengths=None) -> tuple[torch.Tensor, ...]:
        """h, h_n and c_n."""
        return torch_lstm.run_lstm(self.lstm, x, h0, c0, lengths)


def unsupported(
    case: Case, *, dtypes: str = "", projection: bool = True, lengths: str = "", most_steps: int | None = None
) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can.

    Args:
        case: What is asked.
        dtypes: Why it takes nothing but float32, if it does not.
        projection: Whether it takes one.
        lengths: Why it takes no ``pack_padded_sequence``, if it does not.
        most_steps: How many timesteps, of all layers and directions together, are compiled within a minute.
    """
    lstm, run = case.lstm, case.run
    steps = run.timesteps * lstm.num_layers * len(lstm.directions)
    reasons = {
        f"torch.export unrolls nn.LSTM, and {steps} steps of its layers and directions are compiled for a minute or "
        f"more: here at most {most_steps} are tried": most_steps is not None and steps > most_steps,
        **refusals.plain_cell(lstm, "nn.LSTM", projection=projection),
        **refusals.side_by_side(lstm, "nn.LSTM"),
        "nn.LSTM has no direction that is the reverse one alone": lstm.direction == "reverse",
        "nn.LSTM says: Expected sequence length to be larger than 0 in RNN": run.timesteps == 0,
        "pack_padded_sequence takes no sequence of length 0": 0 in (run.lengths or ()) and not lengths,
        lengths: bool(lengths) and run.lengths is not None,
        dtypes: bool(dtypes) and run.dtype != "float32",
        "an inference runtime computes no gradients": run.gradients,
    }
    return refusals.of(reasons)


def network_of(problem: Problem) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A module with the weights of ``problem``, and what it is called with while it is converted."""
    layer = torch_lstm.module_of(problem.case.lstm, problem.case.run.dtype)
    torch_lstm.load(layer, problem)
    return Network(layer).eval(), tuple(map(torch_lstm.tensor_of, inputs_of(problem)))


def inputs_of(problem: Problem) -> list[Array]:
    """X (T, B, I), h0, c0 (L D, B, ·), and lengths (B,) where sequences have them."""
    inputs = [problem.x, problem.states("h0"), problem.states("c0"), problem.lengths]
    # Copies: an axis of lanes that is put in front has a stride of 0, which ExecuTorch does not take.
    return [array.copy() for array in inputs if array is not None]


def run(problem: Problem, convert: Callable[[Problem], Call]) -> Trace:
    """Convert the LSTM of ``problem``, unless it was converted before, and run it.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    stopwatch = Stopwatch()
    with stopwatch("build"):
        call = convert(problem)
    with stopwatch("run"):
        h, h_n, c_n = (np.asarray(output) for output in call(*inputs_of(problem)))
    if problem.case.lstm.single:
        h_n, c_n = h_n[0], c_n[0]
    return Trace(h=h, h_n=h_n, c_n=c_n, seconds=stopwatch.seconds)
