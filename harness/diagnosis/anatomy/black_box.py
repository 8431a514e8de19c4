"""What is measured, a port or a backend: it is handed problems made of arrays, and answers each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.problem import Problem

HEARD = 1e-6  # a larger change of h is an effect of what was moved


@dataclass(frozen=True)
class Reach:
    """Which plain problems a black box answers: what is part of something larger does not answer all."""

    sources: int = 0  # layers' directions below whose states, side by side, are its input; 0: any input
    over_time: bool = True  # whether it is asked for more than one timestep
    lengths: bool = True  # whether the ends of sequences are seen
    largest_input: float = math.inf
    proves: str = "hc"  # what of an answer is as exact as what it was read from

    def input_size(self, hidden_size: int, wanted: int) -> int:
        """The width of the input beside a state: that which is wanted, if there is a choice."""
        return self.sources * hidden_size or wanted

    def scaled(self, largest: float) -> float:
        """The power of two by which inputs that are at most so large are divided."""
        # A power of two: what divides x and multiplies W again changes no bit of their product.
        return 1.0 if largest <= self.largest_input else 2.0 ** math.ceil(math.log2(largest / self.largest_input))


class BlackBox(Protocol):
    """An implementation that answers problems."""

    name: str
    layout: str  # in which it is handed its weights
    reach: Reach

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
) -> Problem:
    """The problem of given arrays: W (4H, I), R (4H, H), b (4H,), x (T, B, I), h0 and c0 (B, H)."""
    T, B, I = x.shape
    case = Case(
        lstm=LSTM(input_size=I, hidden_size=h0.shape[1]),
        run=Run(
            timesteps=T,
            batch=B,
            dtype=dtype,  # type: ignore[arg-type]
            lengths=None if lengths is None else tuple(int(length) for length in lengths),
        ),
        name="anatomy",
    )
    arrays = (np.array(array, dtype) for array in (W, R, b, x, h0, c0))
    return Problem.plain(case, *arrays, lengths=None if lengths is None else np.array(lengths, np.int64))


def problem_of_sequence(problem: Problem, b: int) -> Problem:
    """The problem of one sequence of a batch alone."""
    sequence = slice(b, b + 1)
    return problem_from_arrays(
        problem.W, problem.R, problem.b, problem.x[:, sequence], problem.h0[sequence], problem.c0[sequence]
    )


def ask_batches(
    black_box: BlackBox, problems: Sequence[Problem], *, batched: bool, names: str = "hc"
) -> list[Arrays] | None:
    """H and c, (T, B, H), for each problem, all of one batch size; None if any of them lacks one of ``names``.

    Sequences are asked one by one where they are known to mix, which is what ``batched`` denies.
    """
    batch_size = problems[0].x.shape[1]
    asked = problems if batched else [problem_of_sequence(p, b) for p in problems for b in range(batch_size)]
    answers = [answer for answer in black_box.ask(asked) if answer is not None and set(names) <= answer.keys()]
    if len(answers) < len(asked):
        return None
    size = 1 if batched else batch_size
    batches = [answers[start : start + size] for start in range(0, len(answers), size)]
    return [{name: np.concatenate([answer[name] for answer in batch], axis=1) for name in names} for batch in batches]
