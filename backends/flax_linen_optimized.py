"""Flax linen's ``OptimizedLSTMCell`` under ``nn.RNN``, compiled as a whole, gradients by ``jax.vjp``.

Stored as ``LSTMCell`` is, one kernel for each gate and side; the cell joins them before it multiplies.
Time-major, ``reverse`` with ``keep_order``, ``seq_lengths`` for lengths; layers follow each
other. Source: Flax documentation, ``flax.linen.OptimizedLSTMCell``, ``flax.linen.RNN``; lengths as
``backends.flax_lengths`` says.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from functools import partial

import flax.linen as nn

from lockstep.backends import flax_lengths, flax_linen, jax_network
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("flax", "jax")
INSTALL = "lockstep-rnn[flax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
DIALECT = "flax"


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return flax_lengths.unsupported(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` of each layer and direction at every timestep, the final states, and gradients if they are asked for.
    """
    return jax_network.run(problem, _lane, DIALECTS["flax"])


_lane = partial(flax_linen.run_lane, nn.OptimizedLSTMCell)
