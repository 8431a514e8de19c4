"""``paddle.nn.LSTM`` over the whole sequence, time-major, gradients by ``paddle.grad``.

Weights are stored as ``torch.nn.LSTM`` stores them: gates i, f, c, o (c is g), two biases, which are summed: the first
takes ``b``, the second is zero; no bias is ``bias_ih_attr=False`` and ``bias_hh_attr=False``. Lengths are
``sequence_length``; where no single kernel does it all, as with a projection, outputs past a sequence's end are not
zeroed out: they are set to 0 here. ``nn.LSTM`` has no direction that is the reverse one alone: that is ``nn.RNN`` of an
``nn.LSTMCell`` with ``is_reverse=True`` for each layer. Source: PaddlePaddle documentation, ``paddle.nn.LSTM``,
``paddle.nn.RNN``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import paddle
from msgspec.structs import replace

from lockstep.backends import lanes, refusals
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.cases.tensors import name_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("paddle",)
INSTALL = "lockstep-rnn[paddle]"
DIALECT = "paddle"

PADDLE = DIALECTS["paddle"]
PROJECTION = "weight_ho"  # (H, P)

paddle.device.set_device("cpu")


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    reasons = {
        f"paddle.nn.LSTM on a CPU has no kernel for {case.run.dtype}": case.run.dtype in {"float16", "bfloat16"},
        **refusals.plain_cell(lstm, "paddle.nn.LSTM", projection=True),
        **refusals.side_by_side(lstm, "paddle.nn.LSTM"),
        f"paddle.nn.LSTM takes a proj_size below hidden_size, and {lstm.proj_size} is not below {lstm.hidden_size}": (
            lstm.proj_size >= lstm.hidden_size
        ),
    }
    return refusals.of(reasons)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), the final states of all layers and directions, and gradients if they are asked for.
    """
    p, lstm, wanted = problem, problem.case.lstm, problem.dh is not None
    stopwatch = Stopwatch()
    with stopwatch("build"):
        # Forget biases stand in b: networks alike but for them share a module.
        network = _network(replace(lstm, forget_bias=0.0), p.case.run.dtype)
        weights = network.weights()
        for (_, of_problem), of_lane in zip(p.lanes(), weights, strict=True):
            stored = _stored(of_problem)
            for name, parameter in of_lane.items():
                parameter.set_value(stored[name])
    with stopwatch("run"), paddle.set_grad_enabled(wanted):
        x, h0, c0 = (paddle.to_tensor(a, stop_gradient=not wanted) for a in (p.x, p.states("h0"), p.states("c0")))
        lengths = None if p.lengths is None else paddle.to_tensor(p.lengths)
        h, h_n, c_n = network(x, h0, c0, lengths)
        arrays: Arrays = {"h": h.numpy(), "h_n": h_n.numpy(), "c_n": c_n.numpy()}
        if p.dh is not None:
            leaves = [x, h0, c0, *(w for of_lane in weights for w in of_lane.values())]
            cotangents = [paddle.to_tensor(p.dh), paddle.to_tensor(p.states("dc"))]
            dx, dh0, dc0, *flat = (d.numpy() for d in paddle.grad([h, c_n], leaves, cotangents))
            of_weights = [{name: flat.pop(0) for name in of_lane} for of_lane in weights]
            arrays |= lanes.gradients(lstm, PADDLE, of_weights, dx, dh0, dc0)
            arrays |= {
                name_of("dP", lane, lstm): np.ascontiguousarray(of_lane[PROJECTION].T)
                for (lane, _), of_lane in zip(p.lanes(), of_weights, strict=True)
                if PROJECTION in of_lane
            }
    if lstm.single:
        arrays |= {name: arrays[name][0] for name in ("h_n", "c_n")}
    parameters = lanes.parameters(
        lstm, [{name.removesuffix("_l0"): w for name, w in of_lane.items()} for of_lane in weights]
    )
    return Trace(parameters=parameters, device=str(x.place), seconds=stopwatch.seconds, **arrays)  # type: ignore[arg-type]


class _Whole:
    """``nn.LSTM``, forward or in both directions."""

    def __init__(self, lstm: LSTM) -> None:
        self.lstm = lstm
        self.layer = paddle.nn.LSTM(
            lstm.input_size,
            lstm.hidden_size,
            num_layers=lstm.num_layers,
            direction="bidirect" if lstm.direction == "bidirectional" else "forward",
            time_major=True,
            bias_ih_attr=None if lstm.bias else False,
            bias_hh_attr=None if lstm.bias else False,
            **_projection(lstm),
        )

    def weights(self) -> list[dict[str, Any]]:
        """The parameters of all lanes by the names that dialect ``paddle`` has for them."""
        flat = self.layer.parameters(include_sublayers=True)
        count = len(flat) // (self.lstm.num_layers * len(self.lstm.directions))
        return [_named(flat[k : k + count], self.lstm) for k in range(0, len(flat), count)]

    def __call__(self, x, h0, c0, lengths) -> tuple[Any, Any, Any]:
        h, (h_n, c_n) = self.layer(x, (h0, c0), lengths)
        return _zeroed(h, lengths), h_n, c_n


class _Reverse:
    """``nn.RNN`` of one ``nn.LSTMCell`` for each layer, the reverse direction."""

    def __init__(self, lstm: LSTM) -> None:
        self.lstm, none = lstm, None if lstm.bias else False
        self.cells = [
            paddle.nn.LSTMCell(
                lstm.input_size_of(layer), lstm.hidden_size, bias_ih_attr=none, bias_hh_attr=none, **_projection(lstm)
            )
            for layer in range(lstm.num_layers)
        ]  # fmt: skip
        self.layers = [paddle.nn.RNN(cell, is_reverse=True, time_major=True) for cell in self.cells]

    def weights(self) -> list[dict[str, Any]]:
        """The parameters of all lanes by the names that dialect ``paddle`` has for them."""
        return [_named(cell.parameters(), self.lstm) for cell in self.cells]

    def __call__(self, x, h0, c0, lengths) -> tuple[Any, Any, Any]:
        h_n, c_n = [], []
        for k, layer in enumerate(self.layers):
            x, (h, c) = layer(x, (h0[k], c0[k]), lengths)
            x = _zeroed(x, lengths)
            h_n.append(h)
            c_n.append(c)
        return x, paddle.stack(h_n), paddle.stack(c_n)


def _projection(lstm: LSTM) -> dict[str, int]:
    """The argument for a projection, which came with version 3.0, where there is one."""
    return {"proj_size": lstm.proj_size} if lstm.proj_size else {}


def _zeroed(h, lengths) -> Any:
    """Set outputs (T, B, n) past the end of their sequence to 0."""
    if lengths is None:
        return h
    valid = (paddle.arange(len(h)).unsqueeze(1) < lengths).unsqueeze(2)
    return paddle.where(valid, h, paddle.zeros_like(h))


@lru_cache(maxsize=16)
def _network(lstm: LSTM, dtype: str) -> _Whole | _Reverse:
    paddle.set_default_dtype(dtype)  # type: ignore[arg-type]
    return _Reverse(lstm) if lstm.direction == "reverse" else _Whole(lstm)


def _stored(weights: Weights) -> Arrays:
    """A lane's weights by their names."""
    canonical = weights.arrays()
    projection = {PROJECTION: canonical.pop("P").T} if "P" in canonical else {}
    return store(canonical, PADDLE) | projection


def _named(parameters: list[Any], lstm: LSTM) -> dict[str, Any]:
    """Name a lane's parameters, which are in the order in which its cell makes them; biases are there even if off."""
    names = [*PADDLE.names, *([PROJECTION] if lstm.proj_size else [])]
    off = () if lstm.bias else PADDLE.bias
    return {name: w for name, w in zip(names, parameters, strict=True) if name not in off}
