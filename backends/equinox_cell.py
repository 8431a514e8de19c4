"""Equinox' ``eqx.nn.LSTMCell`` under ``jax.vmap`` over the batch and ``jax.lax.scan`` over time, compiled as a whole.

Gates stacked i, f, g, o as in canonical weights. Layers, directions and lengths are the loop's, as users write it;
gradients by ``jax.vjp``. Source: Equinox documentation, ``equinox.nn.LSTMCell``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from functools import lru_cache

import equinox as eqx
import jax

from lockstep.backends import jax_network, lanes, refusals
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("equinox", "jax")
RESETS = True
INSTALL = "lockstep-rnn[equinox]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
DIALECT = "equinox"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return refusals.of(refusals.plain_cell(case.lstm, "eqx.nn.LSTMCell")) or jax_network.narrowed(case)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    return jax_network.run(problem, _lane, DIALECTS["equinox"])


@lru_cache(maxsize=64)
def _cell(input_size: int, hidden_size: int, bias: bool) -> eqx.nn.LSTMCell:  # noqa: FBT001
    with jax.ensure_compile_time_eval():
        return eqx.nn.LSTMCell(input_size, hidden_size, use_bias=bias, key=jax.random.key(0))


def _lane(
    lstm: LSTM, weights: jax_network.Weights, lane: Lane, x: jax.Array, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    cell = _cell(lstm.input_size_of(lane.layer), lstm.hidden_size, lstm.bias)
    for name, array in weights.items():
        if name != "bias" or lstm.bias:
            cell = eqx.tree_at(lambda cell, name=name: getattr(cell, name), cell, array)
    return jax_network.scan(jax.vmap(cell), lane, x, first, ends)
