"""Layers and directions in JAX, compiled as a whole, and their gradients by ``jax.vjp``.

What one lane computes is the backend's: a function at the top of its module, so that what is compiled for it is found
again. Weights go in by the names of a dialect, and so do their gradients come out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace

from lockstep.backends import lanes
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.cases.tensors import Lane, name_of
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.layout import gradients_of, store_cell

Weights = dict[str, jax.Array]
# From the network, a lane's weights, the lane, x (T, B, I), its first state and lengths (B,) or None: what
# ``lanes.RunLane`` gives.
RunLane = Callable[[LSTM, Weights, Lane, jax.Array, lanes.State, Any], lanes.Tensors]

# Names as in a case, ``harness.cases.case.Activation``.
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid_0.2": lambda z: jnp.clip(0.2 * z + 0.5, 0, 1),
    "hard_sigmoid_1/6": jax.nn.hard_sigmoid,
    "relu": jax.nn.relu,
    "linear": lambda z: z,
}


def narrowed(case: Case) -> str | None:
    """Say so if JAX would compute in another dtype than the case's."""
    if jax.dtypes.canonicalize_dtype(dtype_of(case.run.dtype)) != dtype_of(case.run.dtype):
        return f"JAX would narrow {case.run.dtype}; start Python with JAX_ENABLE_X64=1"
    return None


def run(problem: Problem, run_lane: RunLane, dialect: Dialect, *, compiled: bool = True) -> Trace:
    """Run ``problem``, its weights stored under ``dialect``."""
    p = problem
    # The forget bias stands in b: networks alike but for it share what is compiled.
    lstm = replace(p.case.lstm, forget_bias=0.0)
    weights = [store_cell(own.arrays(), dialect) for _, own in p.lanes()]
    forward, both_ways = (_forward_compiled, _both_ways_compiled) if compiled else (_forward, _both_ways)
    arrays = (weights, p.x, p.states("h0"), p.states("c0"), p.lengths)
    stopwatch = Stopwatch()
    with stopwatch("run"):
        # Not compiled, an operation on NumPy arrays alone would be NumPy's.
        arguments: tuple[Any, ...] = (run_lane, lstm, *jax.tree.map(jnp.asarray, arrays))
        if p.dh is None:
            found, d_weights, d_inputs = forward(*arguments), [], {}
        else:
            cotangents = (jnp.asarray(p.dh), jnp.asarray(p.states("dc")))
            found, d_weights, d_inputs = both_ways(*arguments, *cotangents)  # type: ignore[call-arg]
        found = {name: np.asarray(array) for name, array in found.items()}
        d_weights, d_inputs = jax.tree.map(np.asarray, (d_weights, d_inputs))
    traced: dict[str, Any] = found
    for k, (lane, _) in enumerate(p.lanes()):
        if d_weights:
            own = {"dh0": d_inputs["dh0"][k], "dc0": d_inputs["dc0"][k]}
            own |= gradients_of(d_weights[k], dialect, bias=lstm.bias)
            traced |= {name_of(kind, lane, lstm): array for kind, array in own.items()}
    if d_inputs:
        traced["dx"] = d_inputs["dx"]
    parameters = tuple(
        Parameter(name_of(name, lane, lstm), array.shape)
        for (lane, _), own in zip(p.lanes(), weights, strict=True)
        for name, array in own.items()
        if dialect.name != "canonical"  # arrays are passed in: there are no parameters
    )
    return Trace(device=str(jax.devices()[0]), parameters=parameters, seconds=stopwatch.seconds, **traced)


def _forward(run_lane: RunLane, lstm: LSTM, weights: list[Weights], x, h0, c0, lengths) -> lanes.Tensors:
    return _network(run_lane, lstm, weights, x, h0, c0, lengths)[1]


def _both_ways(run_lane: RunLane, lstm: LSTM, weights: list[Weights], x, h0, c0, lengths, dh, dc) -> tuple[Any, ...]:
    def of(weights: list[Weights], x, h0, c0) -> tuple[lanes.State, lanes.Tensors]:
        return _network(run_lane, lstm, weights, x, h0, c0, lengths)

    _, back, found = jax.vjp(of, weights, x, h0, c0, has_aux=True)
    d_weights, dx, dh0, dc0 = back((dh, dc))
    return found, d_weights, {"dx": dx, "dh0": dh0, "dc0": dc0}


_forward_compiled, _both_ways_compiled = (
    jax.jit(function, static_argnames=("run_lane", "lstm")) for function in (_forward, _both_ways)
)


def _network(run_lane: RunLane, lstm: LSTM, weights: list[Weights], x, h0, c0, lengths):
    return lanes.network(
        lstm, lambda k, lane, x, first: run_lane(lstm, weights[k], lane, x, first, lengths), x, h0, c0,
        concatenate=lambda parts: jnp.concatenate(parts, axis=-1), stack=jnp.stack,
    )  # fmt: skip


def valid_steps(x: jax.Array, lengths: Any) -> jax.Array | None:
    """Say which timesteps of x (T, B, I) are within their sequence's length: (T, B, 1); None if all are."""
    return None if lengths is None else (jnp.arange(len(x))[:, None] < lengths)[..., None]


def scan(
    cell: Callable[[jax.Array, lanes.State], lanes.State], lane: Lane, x: jax.Array, first: lanes.State, lengths: Any
) -> lanes.Tensors:
    """Call a cell under ``jax.lax.scan``; lengths are the loop's, as users write it.

    Past its end a sequence keeps its state, and its h is 0; what is in the padding is set to 0 first, as
    ``lanes.loop`` does.
    """
    valid = valid_steps(x, lengths)
    x = x if valid is None else jnp.where(valid, x, 0)

    def step(state: lanes.State, now: tuple[Any, ...]) -> tuple[lanes.State, lanes.State]:
        x_t, valid_t = now
        new = cell(x_t, state)
        if valid_t is None:
            return new, new
        h, c = (jnp.where(valid_t, n, old) for n, old in zip(new, state, strict=True))
        return (h, c), (jnp.where(valid_t, new[0], 0), c)

    (h_n, c_n), (h, c) = jax.lax.scan(step, first, (x, valid), reverse=lane.reverse)
    # In a trace c is, past a sequence's end, what it was at last.
    return {"h": h, "c": c if valid is None else jnp.where(valid, c, c_n), "h_n": h_n, "c_n": c_n}
