"""LSTM as one compiled ``jax.lax.scan`` over time.

Canonical equations, gate order and weight layout (``harness.reference``): nothing is permuted here.
Source: JAX API reference, ``jax.lax.scan``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from harness.case import Case
from harness.problem import Problem
from harness.trace import Stopwatch, Trace

REQUIRES = ("jax",)
INSTALL = "lockstep-rnn[jax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}

State = tuple[jax.Array, jax.Array]  # (h, c), each (B, H)


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    if jax.dtypes.canonicalize_dtype(case.run.dtype) != np.dtype(case.run.dtype):
        return f"JAX would narrow {case.run.dtype}; start Python with JAX_ENABLE_X64=1"
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c``, each (T, B, H), and the final states.
    """
    p = problem
    stopwatch = Stopwatch()
    with stopwatch("run"):
        if p.lengths is None:
            h, c, h_n, c_n = _scan(p.W, p.R, p.b, p.x, p.h0, p.c0)
        else:
            h, c, h_n, c_n = _scan_lengths(p.W, p.R, p.b, p.x, p.h0, p.c0, p.lengths)
        arrays = [np.asarray(a) for a in (h, c, h_n, c_n)]
    h, c, h_n, c_n = arrays
    return Trace(h=h, c=c, h_n=h_n, c_n=c_n, device=str(jax.devices()[0]), seconds=stopwatch.seconds)


def _step(state: State, x_t: jax.Array, W: jax.Array, R: jax.Array, b: jax.Array) -> State:
    h, c = state
    i, f, g, o = jnp.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h, c


@jax.jit
def _scan(W, R, b, x, h0, c0) -> tuple[jax.Array, ...]:
    def step(state: State, x_t: jax.Array) -> tuple[State, State]:
        state = _step(state, x_t, W, R, b)
        return state, state

    (h_n, c_n), (h, c) = jax.lax.scan(step, (h0, c0), x)
    return h, c, h_n, c_n


@jax.jit
def _scan_lengths(W, R, b, x, h0, c0, lengths) -> tuple[jax.Array, ...]:
    def step(state: State, t_x: tuple[jax.Array, jax.Array]) -> tuple[State, State]:
        t, x_t = t_x
        valid = (t < lengths)[:, None]
        h_new, c_new = _step(state, x_t, W, R, b)
        h, c = jnp.where(valid, h_new, state[0]), jnp.where(valid, c_new, state[1])
        return (h, c), (jnp.where(valid, h_new, 0), c)

    (h_n, c_n), (h, c) = jax.lax.scan(step, (h0, c0), (jnp.arange(len(x)), x))
    return h, c, h_n, c_n
