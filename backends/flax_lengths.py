"""What the four backends of Flax have in common: which cases they run, and what stands past a sequence's end.

``RNN`` takes ``seq_lengths``: the final carry is that of the last valid timestep, and the reverse direction turns each
sequence round within its length. Its documentation says that outputs past it are not zeroed out: as users must, they
are set to 0 here.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lockstep.backends import jax_network, lanes, refusals
from lockstep.harness.cases.case import Case


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
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


def zeroed(carry: Any, h: Any, lengths: Any) -> lanes.Tensors:
    """Give a lane's tensors of a carry (c, h) and outputs (T, B, H)."""
    valid = jax_network.valid_steps(h, lengths)
    return {"h": h if valid is None else jnp.where(valid, h, 0), "h_n": carry[1], "c_n": carry[0]}
