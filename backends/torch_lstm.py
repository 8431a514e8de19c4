"""``torch.nn.LSTM`` over the whole sequence.

Gates stacked i, f, g, o as in canonical weights; of its two biases, which are summed, the first takes
``b`` and the second is zero. The cell state of each timestep is not exposed: the trace has ``h`` and
the final states. Source: PyTorch documentation, ``torch.nn.LSTM``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harness.case import Case
from harness.dialect import DIALECTS, store
from harness.problem import Problem
from harness.trace import Parameter, Stopwatch, Trace

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch"

TORCH = DIALECTS["torch"]


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    if case.run.lengths is not None and min(case.run.lengths) == 0:
        return "pack_padded_sequence takes no sequence of length 0"
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, H), and the final states (B, H).
    """
    p = problem
    stopwatch = Stopwatch()
    with stopwatch("build"):
        lstm = _lstm(p.case.lstm.input_size, p.case.lstm.hidden_size, p.case.lstm.bias, p.case.run.dtype)
    with stopwatch("run"), torch.inference_mode():
        stored = store({"W": p.W, "R": p.R, "b": p.b}, TORCH)
        lstm.load_state_dict({name: torch.tensor(stored[name]) for name in lstm.state_dict()})
        x, state = torch.tensor(p.x), (torch.tensor(p.h0)[None], torch.tensor(p.c0)[None])
        if p.lengths is None:
            h, (h_n, c_n) = lstm(x, state)
        else:
            packed, (h_n, c_n) = lstm(pack_padded_sequence(x, torch.tensor(p.lengths), enforce_sorted=False), state)
            h, _ = pad_packed_sequence(packed, total_length=len(p.x))
    return Trace(
        h=h.numpy(),
        h_n=h_n[0].numpy(),
        c_n=c_n[0].numpy(),
        parameters=tuple(Parameter(name, tuple(value.shape)) for name, value in lstm.named_parameters()),
        device=str(lstm.weight_ih_l0.device),
        seconds=stopwatch.seconds,
    )


@lru_cache(maxsize=8)
def _lstm(input_size: int, hidden_size: int, bias: bool, dtype: str) -> torch.nn.LSTM:  # noqa: FBT001
    return torch.nn.LSTM(input_size, hidden_size, bias=bias, dtype=getattr(torch, dtype))
