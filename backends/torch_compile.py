"""A custom LSTM cell through ``torch.compile``, called in a loop, gradients by ``torch.autograd.grad``.

The cell is compiled by Inductor, for each shape anew and as one graph; the loop over time stays Python's, as unrolling
it would compile for minutes. Inductor fuses the activations into code of its own, which needs a C++ compiler.
Canonical equations, gate order and weight layout: nothing is permuted here. Source: PyTorch documentation,
``torch.compile``; the equations are those of ``backends.torch_step``.
"""

from __future__ import annotations

import shutil
from functools import partial

import torch
from torch._dynamo import config as dynamo_config
from torch._inductor import config as inductor_config

from lockstep.backends import lanes, torch_network
from lockstep.backends.torch_lstm import tensor_of
from lockstep.backends.torch_step import Settings, settings_of, step, weights_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import CANONICAL

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"

# Beyond its limit on recompilations Dynamo would run the code uncompiled; as one whole graph it would fail.
dynamo_config.recompile_limit = 10_000
dynamo_config.accumulated_recompile_limit = 100_000
# In this process: a pool of compiling processes would outlive the worker.
inductor_config.compile_threads = 1

_step = torch.compile(step, fullgraph=True, dynamic=False)


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        return "torch.compile needs a C++ compiler, and neither g++ nor clang++ is on the PATH"
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    wanted = problem.dh is not None
    weights = [
        {name: w.requires_grad_(wanted) for name, w in weights_of(own, tensor_of).items()} for _, own in problem.lanes()
    ]
    settings = settings_of(problem.case.lstm)
    cells = [(settings, own) for own in weights]
    return torch_network.run(problem, _lane, cells, weights, CANONICAL, Stopwatch())


def _lane(cell: tuple[Settings, torch_network.Weights], lane: Lane, x, first: lanes.State, valid):
    settings, w = cell
    own = partial(_with_weights, (w["W"], w["R"], w["b"], w.get("P"), w.get("p"), settings))
    return lanes.loop(
        own, x, first, valid, reverse=lane.reverse, where=torch.where, zeros_like=torch.zeros_like, stack=torch.stack
    )


def _with_weights(args: tuple, x_t: torch.Tensor, state: lanes.State) -> lanes.State:
    return _step(x_t, *state, *args)
