"""One timestep of any LSTM in JAX, and the loop over time as Python's.

Canonical equations, gate order and weight layout (``harness.reference``): nothing is permuted here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lockstep.backends import jax_network, lanes
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.tensors import Lane


def python_loop(
    lstm: LSTM, weights: jax_network.Weights, lane: Lane, x: jax.Array, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    """Run one lane as a loop of Python over the timesteps."""
    valid, anew = jax_network.valid_steps(x, ends.lengths), jax_network.steps_anew(ends)
    return lanes.loop(
        lambda x_t, state: step(lstm, weights, x_t, state), list(x), first, None if valid is None else list(valid),
        anew=None if anew is None else list(anew),
        reverse=lane.reverse, where=jnp.where, zeros_like=jnp.zeros_like, stack=jnp.stack,
    )  # fmt: skip


def step(lstm: LSTM, weights: jax_network.Weights, x_t: jax.Array, state: lanes.State) -> lanes.State:
    """Go one timestep: from x_t (B, I), h (B, P), c (B, H) to the new h and c."""
    W, R, b, P, p = weights["W"], weights["R"], weights["b"], weights.get("P"), weights.get("p")
    gate, candidate, cell = (
        jax_network.ACTIVATIONS[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
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
