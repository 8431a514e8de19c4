"""LSTM as a loop of Python with ``jax.jit`` off: one operation after the other, gradients by ``jax.vjp``.

Canonical equations and weights, ``backends.jax_step``. Source: JAX documentation, ``jax.vjp``.
"""

from __future__ import annotations

from lockstep.backends import jax_network, jax_step
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import CANONICAL

REQUIRES = ("jax",)
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[jax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return jax_network.narrowed(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    return jax_network.run(problem, jax_step.python_loop, CANONICAL, compiled=False)
