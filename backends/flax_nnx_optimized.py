"""Flax nnx' ``OptimizedLSTMCell`` under ``nnx.RNN``, compiled as a whole, gradients by ``jax.vjp``.

One kernel of all gates i, f, g, o for each side, transposed; the bias stands on the recurrent side alone.
Time-major, ``reverse`` with ``keep_order``, ``seq_lengths`` for lengths; layers follow each
other. Source: Flax documentation, ``flax.nnx.OptimizedLSTMCell``, ``flax.nnx.RNN``; lengths as
``backends.flax_lengths`` says.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from functools import partial

from flax import nnx

from lockstep.backends import flax_lengths, flax_nnx, jax_network
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("flax", "jax")
INSTALL = "lockstep-rnn[flax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
DIALECT = "nnx_optimized"


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return flax_lengths.unsupported(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` of each layer and direction at every timestep, the final states, and gradients if they are asked for.
    """
    return jax_network.run(problem, _lane, DIALECTS["nnx_optimized"])


_lane = partial(flax_nnx.run_lane, nnx.OptimizedLSTMCell)
