"""MLX ``nn.LSTM`` on the CPU, batch-major, gradients by ``mx.vjp``.

Gates stacked i, f, g, o as in canonical weights, one bias. The layer gives the cell state of every timestep. It has
neither layers, nor a reverse direction, nor lengths: layers are called one after the other, and for the reverse
direction the input is turned round before it and the output after it. Source: MLX documentation, ``mlx.nn.LSTM``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from lockstep.backends import lanes, refusals
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("mlx",)
INSTALL = "lockstep-rnn[mlx]"
DIALECT = "mlx"

MLX = DIALECTS["mlx"]
BFLOAT16 = dtype_of("bfloat16")

mx.set_default_device(mx.cpu)


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    reasons = {
        **refusals.plain_cell(lstm, "mlx.nn.LSTM"),
        "mlx.nn.LSTM knows no lengths": case.run.lengths is not None,
    }
    return refusals.of(reasons)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    p, lstm = problem, problem.case.lstm
    stopwatch = Stopwatch()
    with stopwatch("build"):
        layers = [nn.LSTM(lstm.input_size_of(lane.layer), lstm.hidden_size, bias=lstm.bias) for lane, _ in p.lanes()]
        names = MLX.names if lstm.bias else MLX.required
        weights = [{name: _tensor(store(w.arrays(), MLX)[name]) for name in names} for _, w in p.lanes()]
    with stopwatch("run"):
        inputs = [w for of_lane in weights for w in of_lane.values()]
        inputs += [_tensor(a) for a in (p.x, p.states("h0"), p.states("c0"))]
        tensors: dict[str, Any] = {}

        def network(*inputs: mx.array) -> list[mx.array]:
            *flat, x, h0, c0 = inputs
            for layer, of_lane in zip(layers, lanes.by_lane(flat, names), strict=True):
                layer.update(of_lane)
            outputs, named = _network(lstm, layers, x, h0, c0)
            tensors.update(named)
            return list(outputs)

        network(*inputs)
        arrays: dict[str, Any] = {name: _array(tensor) for name, tensor in tensors.items()}
        if p.dh is not None:
            _, gradients = mx.vjp(network, inputs, [_tensor(p.dh), _tensor(p.states("dc"))])
            *flat, dx, dh0, dc0 = map(_array, gradients)
            arrays |= lanes.gradients(lstm, MLX, lanes.by_lane(flat, names), dx, dh0, dc0)
    parameters = lanes.parameters(lstm, weights)
    return Trace(parameters=parameters, device=str(mx.default_device()), seconds=stopwatch.seconds, **arrays)


def _network(lstm: LSTM, layers: list[nn.LSTM], x: mx.array, h0: mx.array, c0: mx.array):
    def run_lane(k: int, lane: Lane, x: mx.array, first: lanes.State) -> lanes.Tensors:
        turned = (lambda a: a[::-1]) if lane.reverse else (lambda a: a)
        h, c = layers[k](mx.swapaxes(turned(x), 0, 1), hidden=first[0], cell=first[1])
        h, c = mx.swapaxes(h, 0, 1), mx.swapaxes(c, 0, 1)
        return {"h": turned(h), "c": turned(c), "h_n": h[-1], "c_n": c[-1]}

    return lanes.network(
        lstm, run_lane, x, h0, c0, concatenate=lambda parts: mx.concatenate(parts, axis=-1), stack=mx.stack
    )


# What goes in and out is copied: float64 too, which MLX has on the CPU alone.
def _tensor(array: Array) -> mx.array:
    if array.dtype == BFLOAT16:
        return mx.array(array.view(np.uint16)).view(mx.bfloat16)
    return mx.array(array, dtype=getattr(mx, array.dtype.name))


def _array(tensor: mx.array) -> Array:
    if tensor.dtype == mx.bfloat16:
        return np.array(tensor.view(mx.uint16)).view(BFLOAT16)
    return np.array(tensor)
