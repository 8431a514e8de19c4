"""``tinygrad.nn.LSTMCell`` called in a loop on the CPU device, gradients by ``Tensor.gradient``.

Gates stacked i, f, g, o as in canonical weights; of its two biases, which are summed, the first takes ``b`` and the
second is zero. Layers, directions and lengths are the loop's. tinygrad compiles its kernels with clang; each timestep
is realised before the next, so that one kernel serves all. Source: tinygrad documentation, ``tinygrad.nn.LSTMCell``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from typing import Any

import numpy as np
from tinygrad.dtype import dtypes
from tinygrad.nn import LSTMCell
from tinygrad.tensor import Tensor

from lockstep.backends import lanes, refusals
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("tinygrad",)
RESETS = True
INSTALL = "lockstep-rnn[tinygrad]"
ENVIRONMENT = {"DEV": "CPU"}
DIALECT = "torch_cell"

TORCH_CELL = DIALECTS["torch_cell"]
BFLOAT16 = dtype_of("bfloat16")
MOST_STEPS, MOST_STEPS_BACK = 40, 6  # timesteps of all layers and directions together


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    steps = case.run.timesteps * lstm.num_layers * len(lstm.directions)
    reasons = {
        "tinygrad's CPU device needs clang, which is not on the PATH": shutil.which("clang") is None,
        "tinygrad's CPU device needs a clang that computes with __bf16, version 17 or later": (
            case.run.dtype == "bfloat16" and not _clang_knows_bfloat16()
        ),
        f"without its JIT tinygrad takes 0.3 s for a timestep: here at most {MOST_STEPS} are tried": steps > MOST_STEPS,
        f"tinygrad schedules and compiles the gradients of all timesteps at once, which takes a minute for 20 steps of "
        f"one layer: here at most {MOST_STEPS_BACK} are tried": case.run.gradients and steps > MOST_STEPS_BACK,
        **refusals.plain_cell(lstm, "tinygrad.nn.LSTMCell"),
    }
    return refusals.of(reasons)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    p, lstm, wanted = problem, problem.case.lstm, problem.dh is not None
    stopwatch = Stopwatch()
    with stopwatch("build"):
        names = TORCH_CELL.names if lstm.bias else TORCH_CELL.required
        cells = []
        for lane, weights in p.lanes():
            cell = LSTMCell(lstm.input_size_of(lane.layer), lstm.hidden_size, bias=lstm.bias)
            stored = store(weights.arrays(), TORCH_CELL)
            for name in names:
                setattr(cell, name, _tensor(stored[name]))
            cells.append(cell)
        leaves = [getattr(cell, name) for cell in cells for name in names]
    with stopwatch("run"):
        x, h0, c0 = (_tensor(a) for a in (p.x, p.states("h0"), p.states("c0")))
        valid = None
        if p.lengths is not None:
            steps = (np.arange(len(p.x))[:, None] < p.lengths)[..., None]
            valid = [Tensor(step) for step in steps]
        anew = None if p.resets is None else [Tensor(step) for step in p.resets[..., None]]

        def run_lane(k: int, lane: Lane, x: Tensor, first: lanes.State) -> lanes.Tensors:
            def step(x_t: Tensor, state: lanes.State) -> lanes.State:
                h, c = cells[k](x_t, state)
                # With gradients the whole graph is wanted.
                return (h, c) if wanted else (h.realize(), c.realize())

            return lanes.loop(
                step, [x[t] for t in range(len(p.x))], first, valid, anew=anew, reverse=lane.reverse,
                where=Tensor.where, zeros_like=Tensor.zeros_like, stack=_stack,
            )  # fmt: skip

        (h, c_n), tensors = lanes.network(
            lstm, run_lane, x, h0, c0, concatenate=lambda parts: parts[0].cat(*parts[1:], dim=-1), stack=_stack
        )
        arrays: dict[str, Any] = {name: _array(tensor) for name, tensor in tensors.items()}
        if p.dh is not None:
            loss = (h * _tensor(p.dh)).sum() + (c_n * _tensor(p.states("dc"))).sum()
            dx, dh0, dc0, *flat = map(_array, loss.gradient(x, h0, c0, *leaves))
            arrays |= lanes.gradients(lstm, TORCH_CELL, lanes.by_lane(flat, names), dx, dh0, dc0)
    parameters = lanes.parameters(lstm, [{name: getattr(cell, name) for name in names} for cell in cells])
    return Trace(parameters=parameters, device=str(x.device), seconds=stopwatch.seconds, **arrays)


@lru_cache(maxsize=1)
def _clang_knows_bfloat16() -> bool:
    """Whether the compiler that tinygrad calls takes arithmetic in bfloat16."""
    if shutil.which("clang") is None:
        return False
    code = "__bf16 f(__bf16 a, __bf16 b) { return a * b; }"
    command = ["clang", "-c", "-x", "c", "-", "-o", os.devnull]
    # The command is ours, and so is the code.
    return subprocess.run(command, input=code.encode(), capture_output=True, check=False).returncode == 0  # noqa: S603


def _stack(tensors: list[Tensor]) -> Tensor:
    return tensors[0].stack(*tensors[1:])


def _tensor(array: Array) -> Tensor:
    if array.dtype == BFLOAT16:
        return Tensor(array.view(np.uint16)).bitcast(dtypes.bfloat16).realize()
    return Tensor(array.copy()).realize()


def _array(tensor: Tensor) -> Array:
    if tensor.dtype == dtypes.bfloat16:
        return tensor.bitcast(dtypes.uint16).numpy().view(BFLOAT16)
    return tensor.numpy()
