"""Flax nnx' ``OptimizedLSTMCell`` under ``nnx.RNN``, compiled as a whole, gradients by ``jax.vjp``.

One kernel of all gates i, f, g, o for each side, transposed; the bias stands on the recurrent side alone.
Directions, lengths and layers are as ``backends.flax_rnn`` says. Source: Flax documentation,
``flax.nnx.OptimizedLSTMCell``, ``flax.nnx.RNN``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from functools import partial

from flax import nnx

from lockstep.backends import flax_nnx, jax_network
from lockstep.backends.flax_rnn import unsupported as unsupported  # noqa: PLC0414 (all cells of Flax refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("flax", "jax")
MAIN = False
INSTALL = "lockstep-rnn[flax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
DIALECT = "nnx_optimized"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` of each layer and direction at every timestep, the final states, and gradients if they are asked for.
    """
    return jax_network.run(problem, _lane, DIALECTS[DIALECT])


_lane = partial(flax_nnx.run_lane, nnx.OptimizedLSTMCell)
