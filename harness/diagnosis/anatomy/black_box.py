"""Something that can be asked: a port or a backend, one answer for each problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.problem import Problem


class BlackBox(Protocol):
    """An implementation that answers problems."""

    name: str
    two_biases: bool  # whether it is handed b as two biases

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """The h, and c where it is returned, for each problem; None where it gave nothing."""
        ...


def problem_from_arrays(
    W: Array,
    R: Array,
    b: Array,
    x: Array,
    h0: Array,
    c0: Array,
    lengths: Array | None = None,
    *,
    dtype: str = "float32",
    forget_bias: float = 1.0,
) -> Problem:
    """Make a problem of given arrays: W (4H, I), R (4H, H), b (4H,), x (T, B, I), h0 and c0 (B, H)."""
    T, B, I = x.shape
    case = Case(
        lstm=LSTM(input_size=I, hidden_size=h0.shape[1], forget_bias=forget_bias),
        run=Run(
            timesteps=T,
            batch=B,
            dtype=dtype,  # type: ignore[arg-type]
            lengths=None if lengths is None else tuple(int(length) for length in lengths),
        ),
        name="anatomy",
    )
    arrays = (np.array(a, dtype) for a in (W, R, b, x, h0, c0))
    return Problem.plain(case, *arrays, lengths=None if lengths is None else np.array(lengths, np.int64))
