"""LSTM as one compiled ``jax.lax.scan`` over time for each layer and direction.

Canonical equations and weights, ``backends.jax_step``. Gradients by ``jax.vjp``; for those by timestep each step of the
scan is given weights of its own. Gates are not handed out: storing them would make the scan up to 1.4 times slower.
Source: JAX API reference, ``jax.lax.scan``, ``jax.vjp``.
"""

from __future__ import annotations

from functools import partial

import jax

from lockstep.backends import jax_network, jax_step, lanes
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, has_weight_steps
from lockstep.harness.weights.dialects import CANONICAL

REQUIRES = ("jax",)
RESETS = True
INSTALL = "lockstep-rnn[jax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return jax_network.narrowed(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        Of each lane ``c`` and ``h`` at every timestep, the final states, and gradients if they are asked for.
    """
    return jax_network.run(problem, run_lane, CANONICAL, by_timestep=has_weight_steps(problem.case))


def run_lane(
    lstm: LSTM, weights: jax_network.Weights, lane: Lane, x: jax.Array, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    """Run one lane over ``x`` (T, B, I); weights are (T, ...) if each timestep is given its own."""
    if weights["W"].ndim > 2:  # noqa: PLR2004 (a matrix)
        return jax_network.scan(partial(_own_step, lstm), lane, x, first, ends, weights)
    return jax_network.scan(partial(jax_step.step, lstm, weights), lane, x, first, ends)


def _own_step(lstm: LSTM, x_t: jax.Array, state: lanes.State, weights: jax_network.Weights) -> lanes.State:
    return jax_step.step(lstm, weights, x_t, state)
