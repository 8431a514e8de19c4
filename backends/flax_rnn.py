"""What the four backends of Flax have in common: which cases they run, how cells and ``RNN`` are set, and the trace.

Time-major, ``reverse`` with ``keep_order``; layers follow each other.

``RNN`` takes ``seq_lengths``: the final carry is that of the last valid timestep, and the reverse direction turns each
sequence round within its length. Its documentation says that outputs past it are not zeroed out: as users must, they
are set to 0 here.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lockstep.backends import jax_network, lanes, refusals
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.tensors import Lane


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    reasons = {
        "Flax' LSTM cells have no projection": bool(lstm.proj_size),
        "Flax' LSTM cells have no peepholes": lstm.peephole,
        "Flax' LSTM cells do not clip the cell state": lstm.cell_clip is not None,
        "Flax' LSTM cells do not couple the forget gate to the input gate": lstm.input_forget,
        "Flax' LSTM cells take one activation_fn for both the candidate and the cell state: set activation and "
        "cell_activation alike": lstm.activation != lstm.cell_activation,
    }
    return refusals.of(reasons) or jax_network.narrowed(case)


def cell_settings(lstm: LSTM, dtype: Any) -> dict[str, Any]:
    """How a cell of any kind is made, beside its sizes."""
    gate, activation = (jax_network.ACTIVATIONS[name] for name in (lstm.recurrent_activation, lstm.activation))
    return {"gate_fn": gate, "activation_fn": activation, "param_dtype": dtype}


def rnn_settings(lane: Lane) -> dict[str, Any]:
    """How the ``RNN`` around a cell is made."""
    return {"time_major": True, "return_carry": True, "reverse": lane.reverse, "keep_order": True}


def tensors_of(carry: Any, h: Any, lengths: Any) -> lanes.Tensors:
    """A lane's tensors, of a carry (c, h) and outputs (T, B, H)."""
    valid = jax_network.valid_steps(h, lengths)
    return {"h": h if valid is None else jnp.where(valid, h, 0), "h_n": carry[1], "c_n": carry[0]}
