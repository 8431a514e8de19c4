"""Flax linen's ``LSTMCell`` under ``nn.RNN``, compiled as a whole, gradients by ``jax.vjp``.

One kernel for each gate and side, biases on the recurrent side alone.
Directions, lengths and layers are as ``backends.flax_rnn`` says. Source: Flax documentation,
``flax.linen.LSTMCell``, ``flax.linen.RNN``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
from flax.traverse_util import unflatten_dict

from lockstep.backends import flax_rnn, jax_network, lanes
from lockstep.backends.flax_rnn import unsupported as unsupported  # noqa: PLC0414 (all cells of Flax refuse alike)
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS

REQUIRES = ("flax", "jax")
MAIN = False
INSTALL = "lockstep-rnn[flax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
DIALECT = "flax"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` of each layer and direction at every timestep, the final states, and gradients if they are asked for.
    """
    return jax_network.run(problem, _lane, DIALECTS[DIALECT])


def run_lane(
    kind: Any, lstm: LSTM, weights: jax_network.Weights, lane: Lane, x: jax.Array, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    """Run one direction of one layer by a cell of some kind over x (T, B, I)."""
    cell = kind(lstm.hidden_size, **flax_rnn.cell_settings(lstm, x.dtype))
    layer = nn.RNN(cell, **flax_rnn.rnn_settings(lane))
    parameters = {"params": {"cell": unflatten_dict(weights, sep=".")}}
    carry, h = layer.apply(parameters, x, initial_carry=first[::-1], seq_lengths=ends.lengths)
    return flax_rnn.tensors_of(carry, h, ends.lengths)


_lane = partial(run_lane, nn.LSTMCell)
