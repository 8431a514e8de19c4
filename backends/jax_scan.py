"""LSTM as one compiled ``jax.lax.scan`` over time for each layer and direction.

Canonical equations, gate order and weight layout (``harness.reference``): nothing is permuted here. Gradients by
``jax.vjp``; for those by timestep each step of the scan is given weights of its own. Gates are not handed out: storing
them would make the scan up to 1.4 times slower. Source: JAX API reference, ``jax.lax.scan``, ``jax.vjp``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.cases.tensors import has_weight_steps, lanes, name_of

REQUIRES = ("jax",)
INSTALL = "lockstep-rnn[jax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}

State = tuple[jax.Array, jax.Array]  # (h, c): (B, P), (B, H)
Weights = dict[str, jax.Array]  # W, R, b, perhaps P and p, as in harness.cases.problem.Weights
Tensors = dict[str, jax.Array]

# Names as in a case, ``harness.cases.case.Activation``.
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid_0.2": lambda z: jnp.clip(0.2 * z + 0.5, 0, 1),
    "hard_sigmoid_1/6": jax.nn.hard_sigmoid,
    "relu": jax.nn.relu,
    "linear": lambda z: z,
}


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    if jax.dtypes.canonicalize_dtype(dtype_of(case.run.dtype)) != dtype_of(case.run.dtype):
        return f"JAX would narrow {case.run.dtype}; start Python with JAX_ENABLE_X64=1"
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        Of each lane ``c`` and ``h`` at every timestep, the final states, and gradients if they are asked for.
    """
    p = problem
    # The forget bias stands in b: networks alike but for it share what is compiled.
    lstm = replace(p.case.lstm, forget_bias=0.0)
    weights = [lane.arrays() for _, lane in p.lanes()]
    stopwatch = Stopwatch()
    with stopwatch("run"):
        if p.dh is None:
            found = _scan(lstm, weights, p.x, p.states("h0"), p.states("c0"), p.lengths)
        else:
            found = _gradients(
                lstm, weights, p.x, p.states("h0"), p.states("c0"), p.lengths, p.dh, p.states("dc"),
                by_timestep=has_weight_steps(p.case),
            )  # fmt: skip
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in found.items()}
    return Trace(device=str(jax.devices()[0]), seconds=stopwatch.seconds, **arrays)


@partial(jax.jit, static_argnames="lstm")
def _scan(lstm: LSTM, weights: list[Weights], x, h0, c0, lengths) -> Tensors:
    return _network(lstm, weights, x, h0, c0, lengths)[1]


@partial(jax.jit, static_argnames=("lstm", "by_timestep"))
def _gradients(lstm: LSTM, weights: list[Weights], x, h0, c0, lengths, dh, dc, *, by_timestep: bool) -> Tensors:
    def network(weights: list[Weights], x, h0, c0):
        return _network(lstm, weights, x, h0, c0, lengths, by_timestep=by_timestep)

    if by_timestep:
        weights = jax.tree.map(lambda w: jnp.broadcast_to(w, (len(x), *w.shape)), weights)
    _, back, found = jax.vjp(network, weights, x, h0, c0, has_aux=True)
    d_weights, dx, dh0, dc0 = back((dh, dc))
    for k, lane in enumerate(lanes(lstm)):
        own = {"dh0": dh0[k], "dc0": dc0[k]}
        for name, d in d_weights[k].items():
            if name == "b" and not lstm.bias:
                continue
            own |= {f"d{name}_t": d, f"d{name}": d.sum(axis=0)} if by_timestep else {f"d{name}": d}
        found |= {name_of(kind, lane, lstm): array for kind, array in own.items()}
    return {**found, "dx": dx}


def _network(
    lstm: LSTM, weights: list[Weights], x, h0, c0, lengths, *, by_timestep: bool = False
) -> tuple[State, Tensors]:
    """Run all lanes; weights are (T, ...) if each timestep is given its own.

    Returns:
        What a loss sees: h of the top layer (T, B, D P), and c_n (L D, B, H); and every tensor by its name in a trace.
    """
    below, above, finals, found = x, [], [], {}
    for k, lane in enumerate(lanes(lstm)):
        own = run_lane(lstm, weights[k], below, (h0[k], c0[k]), lengths, reverse=lane.reverse, by_timestep=by_timestep)
        above.append(own["h"])
        finals.append(own["c_n"])
        found |= {name_of(kind, lane, lstm): array for kind, array in own.items()}
        if len(above) == len(lstm.directions):
            below, above = jnp.concatenate(above, axis=-1), []
    return (below, jnp.stack(finals)), found


def run_lane(
    lstm: LSTM, weights: Weights, x: jax.Array, first: State, lengths, *, reverse: bool, by_timestep: bool
) -> Tensors:
    """Run one direction of one layer over ``x`` (T, B, I).

    In the reverse direction a sequence keeps its first state until its own last timestep comes. What is in the padding
    is set to 0 first: of what is not taken the gradient is 0, and 0 times NaN would be NaN.
    """
    valid = None if lengths is None else (jnp.arange(len(x))[:, None] < lengths)[..., None]
    x = x if valid is None else jnp.where(valid, x, 0)

    def step(state: State, now: tuple[Any, ...]) -> tuple[State, State]:
        x_t, valid_t, own = now
        h, c = _step(lstm, weights if own is None else own, x_t, state)
        if valid_t is None:
            return (h, c), (h, c)
        return (jnp.where(valid_t, h, state[0]), jnp.where(valid_t, c, state[1])), (h, c)

    (h_n, c_n), (h, c) = jax.lax.scan(step, first, (x, valid, weights if by_timestep else None), reverse=reverse)
    if valid is not None:
        h, c = jnp.where(valid, h, 0), jnp.where(valid, c, c_n)
    return {"c": c, "h": h, "h_n": h_n, "c_n": c_n}


def _step(lstm: LSTM, weights: Weights, x_t: jax.Array, state: State) -> State:
    """Go one timestep."""
    W, R, b, P, p = weights["W"], weights["R"], weights["b"], weights.get("P"), weights.get("p")
    gate, candidate, cell = (
        ACTIVATIONS[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    )
    h, c = state
    i, f, g, o = jnp.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
    if p is not None:
        i, f = i + p[0] * c, f + p[1] * c
    i, g = gate(i), candidate(g)
    f = 1 - i if lstm.input_forget else gate(f)
    c = f * c + i * g
    if lstm.cell_clip is not None:
        c = jnp.clip(c, -lstm.cell_clip, lstm.cell_clip)
    o = gate(o if p is None else o + p[2] * c)
    h = o * cell(c)
    return h if P is None else h @ P.T, c
