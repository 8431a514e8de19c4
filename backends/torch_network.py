"""Layers and directions of cells in PyTorch, and their gradients by ``torch.autograd.grad``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lockstep.backends import lanes
from lockstep.backends.torch_lstm import array_of, tensor_of
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialect import Dialect

Weights = dict[str, torch.Tensor]
# From a lane's cell, x (T, B, I), its first state and, (T, B, 1), which timesteps are valid where sequences differ in
# length, and where they start anew if they do: what ``lanes.RunLane`` gives.
RunLane = Callable[[Any, Lane, torch.Tensor, lanes.State, torch.Tensor | None, torch.Tensor | None], Weights]


def run(
    problem: Problem,
    run_lane: RunLane,
    cells: list[Any],
    weights: list[Weights],
    dialect: Dialect,
    stopwatch: Stopwatch,
    parameters: tuple[Parameter, ...] = (),
) -> Trace:
    """Run ``problem``.

    Args:
        problem: What to run.
        run_lane: Runs one lane.
        cells: Of all lanes, as ``run_lane`` takes them.
        weights: Of all lanes, leaves that the cells compute with, by the dialect's names.
        dialect: That of the weights.
        stopwatch: Is told how long it takes.
        parameters: For the trace.
    """
    p, lstm, wanted = problem, problem.case.lstm, problem.dh is not None
    with stopwatch("run"), torch.inference_mode(not wanted):
        x, h0, c0 = (tensor_of(a).requires_grad_(wanted) for a in (p.x, p.states("h0"), p.states("c0")))
        valid = None if p.lengths is None else (torch.arange(len(p.x))[:, None] < torch.tensor(p.lengths))[..., None]
        anew = None if p.resets is None else torch.tensor(p.resets)[..., None]
        (h, c_n), tensors = lanes.network(
            lstm, lambda k, lane, x, first: run_lane(cells[k], lane, x, first, valid, anew), x, h0, c0,
            concatenate=lambda parts: torch.cat(parts, -1), stack=torch.stack,
        )  # fmt: skip
        arrays: dict[str, Any] = {name: array_of(tensor) for name, tensor in tensors.items()}
        if p.dh is not None:
            leaves = [x, h0, c0, *(w for of_lane in weights for w in of_lane.values())]
            cotangents = (tensor_of(p.dh), tensor_of(p.states("dc")))
            # Without a timestep the weights take no part.
            gradients = torch.autograd.grad((h, c_n), leaves, cotangents, materialize_grads=True)
            dx, dh0, dc0, *flat = map(array_of, gradients)
            of_weights = [{name: flat.pop(0) for name in of_lane} for of_lane in weights]
            arrays |= lanes.gradients(lstm, dialect, of_weights, dx, dh0, dc0)
    return Trace(parameters=parameters, seconds=stopwatch.seconds, **arrays)
