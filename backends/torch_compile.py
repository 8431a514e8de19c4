"""A custom LSTM cell through ``torch.compile``, called in a loop, gradients by ``torch.autograd.grad``.

The cell is compiled by Inductor, for each shape anew and as one graph; the loop over time stays Python's, as unrolling
it would compile for minutes. Inductor fuses the activations into code of its own, which needs a C++ compiler.
Canonical equations, gate order and weight layout: nothing is permuted here. Source: PyTorch documentation,
``torch.compile``; the equations are those of ``backends.torch_step``.
"""

from __future__ import annotations

import torch
from torch._dynamo import config as dynamo_config
from torch._inductor import config as inductor_config

from lockstep.backends import lanes, refusals, torch_step
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane

REQUIRES = ("torch",)
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[torch]"

# Beyond its limit on recompilations Dynamo would run the code uncompiled; as one whole graph it would fail.
dynamo_config.recompile_limit = 10_000
dynamo_config.accumulated_recompile_limit = 100_000
# In this process: a pool of compiling processes would outlive the worker.
inductor_config.compile_threads = 1

_step = torch.compile(torch_step.step, fullgraph=True, dynamic=False)


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return refusals.of(refusals.no_compiler("torch.compile"))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    return torch_step.run(problem, _lane)


def _lane(cell: torch_step.Cell, lane: Lane, x, first: lanes.State, valid, anew):
    return lanes.loop(
        lambda x_t, state: _step(x_t, *state, *cell), x, first, valid,
        anew=anew, reverse=lane.reverse, where=torch.where, zeros_like=torch.zeros_like, stack=torch.stack,
    )  # fmt: skip
