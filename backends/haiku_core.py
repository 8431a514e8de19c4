"""Haiku's ``hk.LSTM`` under ``hk.dynamic_unroll``, compiled as a whole, gradients by ``jax.vjp``.

One fused kernel for [x, h], gates i, g, f, o, forget bias 1 added at run time: canonical weights are stored without
it. Layers are cores one after the other, the reverse direction is ``reverse=True``. ``dynamic_unroll`` knows no
lengths: as its documentation offers it, all states are asked for, those at the last valid timestep are taken, and the
outputs past it set to 0; the padding is set to 0 first, so that its gradient is 0 whatever it holds. Source: Haiku
documentation, ``hk.LSTM``, ``hk.dynamic_unroll``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp

from lockstep.backends import jax_network, lanes, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("haiku", "jax")
INSTALL = "lockstep-rnn[haiku]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
DIALECT = "haiku"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    reasons = {
        **refusals.plain_cell(lstm, "hk.LSTM"),
        "hk.dynamic_unroll knows no lengths: in the reverse direction it would begin in the padding": (
            case.run.lengths is not None and lstm.direction != "forward"
        ),
    }
    return refusals.of(reasons) or jax_network.narrowed(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    return jax_network.run(problem, _lane, DIALECTS["haiku"])


def _lane(
    lstm: LSTM, weights: jax_network.Weights, lane: Lane, x: jax.Array, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    valid = jax_network.valid_steps(x, ends.lengths)
    x = x if valid is None else jnp.where(valid, x, 0)
    h, states = _unrolled.apply(  # type: ignore[attr-defined]
        {"lstm/linear": weights}, lstm.hidden_size, x, first, reverse=lane.reverse
    )
    c = states.cell
    if not len(x):
        return {"h": h, "c": c, "h_n": first[0], "c_n": first[1]}
    if valid is None:
        last = 0 if lane.reverse else -1
        return {"h": h, "c": c, "h_n": states.hidden[last], "c_n": c[last]}

    def at_end(array: jax.Array, before: jax.Array) -> jax.Array:
        with_first = jnp.concatenate([before[None], array])
        return with_first[ends.lengths, jnp.arange(len(before))]

    h_n, c_n = at_end(h, first[0]), at_end(c, first[1])
    return {"h": jnp.where(valid, h, 0), "c": jnp.where(valid, c, c_n), "h_n": h_n, "c_n": c_n}


@hk.without_apply_rng
@hk.transform
def _unrolled(hidden_size: int, x: jax.Array, first: lanes.State, *, reverse: bool):
    first_state = hk.LSTMState(*first)
    return hk.dynamic_unroll(hk.LSTM(hidden_size), x, first_state, reverse=reverse, return_all_states=True)
