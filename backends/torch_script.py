"""A custom LSTM in TorchScript: ``torch.jit.script`` of a loop over time, gradients by ``torch.autograd.grad``.

The executor profiles the first calls and fuses what follows; users meet it so. Canonical equations, gate order and
weight layout: nothing is permuted here. Source: PyTorch documentation, ``torch.jit.script``; the equations are those
of ``backends.torch_step``.
"""

from typing import Optional

import torch
from torch import Tensor

from lockstep.backends import lanes, torch_step
from lockstep.backends.torch_step import step
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane

REQUIRES = ("torch",)
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[torch]"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    return torch_step.run(problem, _lane)


def _lane(cell: torch_step.Cell, lane: Lane, x, first: lanes.State, valid, anew):
    h, c, h_n, c_n = _loop(x, first[0], first[1], valid, anew, lane.reverse, *cell)
    return {"h": h, "c": c, "h_n": h_n, "c_n": c_n}


@torch.jit.script
def _loop(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    valid: Optional[Tensor],  # noqa: UP045 (TorchScript)
    anew: Optional[Tensor],  # noqa: UP045
    reverse: bool,  # noqa: FBT001
    W: Tensor,
    R: Tensor,
    b: Tensor,
    P: Optional[Tensor],  # noqa: UP045
    p: Optional[Tensor],  # noqa: UP045
    settings: tuple[str, str, str, float, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hs, cs = [], []
    T = x.size(0)
    if T == 0:
        # Arrays of no timestep are made of no array, which torch.stack refuses.
        return h.unsqueeze(0)[:0], c.unsqueeze(0)[:0], h, c
    if valid is not None:
        # Of what is not taken the gradient is 0, and 0 times NaN in the padding would be NaN.
        x = torch.where(valid, x, torch.zeros_like(x))
    for k in range(T):
        t = T - 1 - k if reverse else k
        if anew is not None:
            h, c = torch.where(anew[t], torch.zeros_like(h), h), torch.where(anew[t], torch.zeros_like(c), c)
        new_h, new_c = step(x[t], h, c, W, R, b, P, p, settings)
        out = new_h
        if valid is not None:
            out = torch.where(valid[t], new_h, torch.zeros_like(new_h))
            new_h, new_c = torch.where(valid[t], new_h, h), torch.where(valid[t], new_c, c)
        h, c = new_h, new_c
        hs.append(out)
        cs.append(c)
    if reverse:
        hs.reverse()
        cs.reverse()
    all_h, all_c = torch.stack(hs), torch.stack(cs)
    if valid is not None:
        # In a trace c is, past a sequence's end, what it was at last.
        all_c = torch.where(valid, all_c, c)
    return all_h, all_c, h, c
