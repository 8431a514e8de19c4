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
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.cases.tensors import Lane, name_of
from lockstep.harness.cases.tensors import lanes as lanes_of
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.layout import store

Weights = dict[str, jax.Array]
# From the network, a lane's weights, the lane, x (T, B, I), its first state and where sequences end: what
# ``lanes.RunLane`` gives.
RunLane = Callable[[LSTM, Weights, Lane, jax.Array, lanes.State, lanes.Ends], lanes.Tensors]

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
    """Why JAX would compute in another dtype than the case's; None if it would not."""
    if jax.dtypes.canonicalize_dtype(dtype_of(case.run.dtype)) != dtype_of(case.run.dtype):
        return f"JAX would narrow {case.run.dtype}; start Python with JAX_ENABLE_X64=1"
    return None


def run(
    problem: Problem, run_lane: RunLane, dialect: Dialect, *, compiled: bool = True, by_timestep: bool = False
) -> Trace:
    """Run ``problem``.

    Args:
        problem: What to run.
        run_lane: Runs one lane.
        dialect: How the weights are stored.
        compiled: Whether all of it is.
        by_timestep: Whether for the backward pass each timestep is given weights of its own, arrays (T, ...), whose
            gradients are given too.
    """
    p = problem
    # The forget bias stands in b: networks alike but for it share what is compiled.
    lstm = replace(p.case.lstm, forget_bias=0.0)
    weights = [store(of_lane.arrays(), dialect) for _, of_lane in p.lanes()]
    forward, both_ways = (forward_compiled, both_ways_compiled) if compiled else (_forward, _both_ways)
    arrays = (weights, p.x, p.states("h0"), p.states("c0"), lanes.Ends(p.lengths, p.resets))
    stopwatch = Stopwatch()
    with stopwatch("run"):
        # Not compiled, an operation on NumPy arrays alone would be NumPy's.
        arguments: tuple[Any, ...] = (run_lane, lstm, *jax.tree.map(jnp.asarray, arrays))
        if p.dh is None:
            tensors, gradients = forward(*arguments), None
        else:
            cotangents = (jnp.asarray(p.dh), jnp.asarray(p.states("dc")))
            tensors, gradients = both_ways(*arguments, *cotangents, by_timestep)  # type: ignore[call-arg]
        traced: dict[str, Any] = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        if gradients is not None:
            (of_weights, *of_inputs), of_steps = jax.tree.map(np.asarray, gradients)
            traced |= lanes.gradients(lstm, dialect, of_weights, *of_inputs)
            traced |= _named_steps(lstm, of_steps)
    # Canonical arrays are passed in: there are no parameters.
    parameters = () if dialect.name == "canonical" else lanes.parameters(lstm, weights)
    return Trace(device=str(jax.devices()[0]), parameters=parameters, seconds=stopwatch.seconds, **traced)


def _named_steps(lstm: LSTM, of_steps: list[Arrays]) -> Arrays:
    """What each timestep adds to the gradients of canonical weights, by its names in a trace."""
    return {
        name_of(f"d{name}_t", lane, lstm): array
        for lane, arrays in zip(lanes_of(lstm), of_steps, strict=False)
        for name, array in arrays.items()
        if name != "b" or lstm.bias
    }


def _forward(run_lane: RunLane, lstm: LSTM, weights: list[Weights], x, h0, c0, ends) -> lanes.Tensors:
    return _network(run_lane, lstm, weights, x, h0, c0, ends)[1]


def _both_ways(
    run_lane: RunLane, lstm: LSTM, weights: list[Weights], x, h0, c0, ends, dh, dc, by_timestep: bool  # noqa: FBT001
) -> tuple[lanes.Tensors, tuple[Any, Any]]:  # fmt: skip
    """All tensors of the forward pass; the gradients of weights, x, h0 and c0, and those of weights by timestep."""

    def network(weights: list[Weights], x, h0, c0) -> tuple[lanes.State, lanes.Tensors]:
        return _network(run_lane, lstm, weights, x, h0, c0, ends)

    if by_timestep:
        weights = jax.tree.map(lambda w: jnp.broadcast_to(w, (len(x), *w.shape)), weights)
    _, backward, tensors = jax.vjp(network, weights, x, h0, c0, has_aux=True)
    of_weights, *of_inputs = backward((dh, dc))
    if not by_timestep:
        return tensors, ((of_weights, *of_inputs), [])
    return tensors, ((jax.tree.map(lambda d: d.sum(axis=0), of_weights), *of_inputs), of_weights)


forward_compiled = jax.jit(_forward, static_argnames=("run_lane", "lstm"))
both_ways_compiled = jax.jit(_both_ways, static_argnames=("run_lane", "lstm", "by_timestep"))


def _network(run_lane: RunLane, lstm: LSTM, weights: list[Weights], x, h0, c0, ends):
    return lanes.network(
        lstm, lambda k, lane, x, first: run_lane(lstm, weights[k], lane, x, first, ends), x, h0, c0,
        concatenate=lambda parts: jnp.concatenate(parts, axis=-1), stack=jnp.stack,
    )  # fmt: skip


def valid_steps(x: jax.Array, lengths: Any) -> jax.Array | None:
    """Which timesteps of x (T, B, I) are within their sequence's length: (T, B, 1); None if all are."""
    return None if lengths is None else (jnp.arange(len(x))[:, None] < lengths)[..., None]


def steps_anew(ends: lanes.Ends) -> jax.Array | None:
    """Where sequences start anew, (T, B, 1); None if none does."""
    return None if ends.resets is None else ends.resets[..., None]


def scan(
    cell: Callable[..., lanes.State],
    lane: Lane,
    x: jax.Array,
    first: lanes.State,
    ends: lanes.Ends,
    weights: Any = None,
) -> lanes.Tensors:
    """Call ``cell(x_t, (h, c)) -> (h, c)`` under ``jax.lax.scan``; lengths and resets are the loop's.

    Past its end a sequence keeps its state, and its h is 0; what is in the padding is set to 0 first, as
    ``lanes.loop`` does. Where there are weights for each timestep, arrays (T, ...), the cell takes its own too.
    """
    valid, anew = valid_steps(x, ends.lengths), steps_anew(ends)
    x = x if valid is None else jnp.where(valid, x, 0)

    def step(state: lanes.State, now: tuple[Any, ...]) -> tuple[lanes.State, lanes.State]:
        x_t, valid_t, anew_t, weights_t = now
        if anew_t is not None:
            state = tuple(jnp.where(anew_t, 0, before) for before in state)  # type: ignore[assignment]
        new = cell(x_t, state) if weights_t is None else cell(x_t, state, weights_t)
        if valid_t is None:
            return new, new
        h, c = (jnp.where(valid_t, n, old) for n, old in zip(new, state, strict=True))
        return (h, c), (jnp.where(valid_t, new[0], 0), c)

    (h_n, c_n), (h, c) = jax.lax.scan(step, first, (x, valid, anew, weights), reverse=lane.reverse)
    # In a trace c is, past a sequence's end, what it was at last.
    return {"h": h, "c": c if valid is None else jnp.where(valid, c, c_n), "h_n": h_n, "c_n": c_n}
