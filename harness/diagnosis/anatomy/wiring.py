"""Measure by impulses which input, state and padding reaches which output, over time, over the batch, over calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.anatomy.black_box import HEARD, BlackBox, problem_from_arrays

T, B, I, H = 5, 3, 3, 4
MOVED_TIMESTEP, MOVED_SEQUENCE = 2, 1  # of the impulse
PADDED_LENGTHS = (4, 2, 5)
ONE_TIMESTEP_ASKED = "asked for one timestep alone"


@dataclass(frozen=True)
class Wiring:
    """What was seen, in words, for the rows of the table."""

    time: str
    batch: str
    h0: str
    c0: str
    h: str
    c: str
    padding: str | None  # None: it takes no lengths
    repeatable: bool | None


def _random_problem(lengths: Sequence[int] | None = None) -> Problem:
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> Array:
        return rng.uniform(-0.7, 0.7, shape)

    return problem_from_arrays(
        draw(4 * H, I), draw(4 * H, H), draw(4 * H), draw(T, B, I), draw(B, H), draw(B, H),
        None if lengths is None else np.array(lengths),
    )  # fmt: skip


def _with_impulse(problem: Problem, name: str, place: tuple[int, ...]) -> Problem:
    arrays = {key: np.array(getattr(problem, key)) for key in ("W", "R", "b", "x", "h0", "c0")}
    arrays[name][place] += 0.5
    return problem_from_arrays(**arrays, lengths=problem.lengths, dtype=problem.case.run.dtype)


def measure_wiring(black_box: BlackBox) -> Wiring:
    """Where impulses are heard, from answers with and without them."""
    plain = _random_problem()
    if not black_box.reach.over_time:
        return Wiring(*[ONE_TIMESTEP_ASKED] * 6, padding=None, repeatable=_repeats(black_box, plain))
    problems = [
        plain,
        plain,
        _with_impulse(plain, "x", (MOVED_TIMESTEP, MOVED_SEQUENCE)),
        _with_impulse(plain, "h0", (MOVED_SEQUENCE,)),
        _with_impulse(plain, "c0", (MOVED_SEQUENCE,)),
        plain,
    ]
    answers = black_box.ask(problems)
    at_rest = answers[0]
    if at_rest is None:
        none = "it gave no answer"
        return Wiring(none, none, none, none, none, none, None, None)
    x, h0, c0 = (_heard(at_rest, answer) for answer in answers[2:5])
    repeatable = all(answer is not None and _same(at_rest, answer) for answer in (answers[1], answers[5]))
    return Wiring(
        time=f"an impulse in x[{MOVED_TIMESTEP}] is heard at timesteps {_listed(x, 0)}",
        batch=f"an impulse in sequence {MOVED_SEQUENCE} is heard in sequences {_listed(x, 1)}",
        h0=f"an impulse in h0 is heard at timesteps {_listed(h0, 0)}",
        c0=f"an impulse in c0 is heard at timesteps {_listed(c0, 0)}",
        h=_carried(x),
        c=_carried(x),
        padding=_padding(black_box) if black_box.reach.lengths else None,
        repeatable=repeatable,
    )


def _repeats(black_box: BlackBox, problem: Problem) -> bool | None:
    """Whether a timestep without input gives the same twice, and again after another."""
    at_rest = problem_from_arrays(0 * problem.W, problem.R, problem.b, problem.x[:1], problem.h0, problem.c0)
    first, second, _, last = black_box.ask([at_rest, at_rest, _with_impulse(at_rest, "h0", (MOVED_SEQUENCE,)), at_rest])
    if first is None or second is None or last is None:
        return None
    return _same(first, second) and _same(first, last)


def _same(first: Arrays, second: Arrays) -> bool:
    # Rounding may differ from call to call, as with threads.
    return all(np.allclose(first[name], second[name], rtol=1e-5, atol=1e-6, equal_nan=True) for name in first)


def _heard(at_rest: Arrays, answer: Arrays | None) -> Array:
    """Where h differs: (T, B)."""
    if answer is None:
        return np.zeros((T, B), bool)
    with np.errstate(all="ignore"):
        return np.any(np.abs(answer["h"] - at_rest["h"]) > HEARD, axis=2)  # type: ignore[return-value]


def _listed(heard: Array, axis: int) -> str:
    places = np.flatnonzero(heard.any(axis=1 - axis))
    return ", ".join(str(int(place)) for place in places) or "none"


def _carried(x: Array) -> str:
    later = np.flatnonzero(x.any(axis=1))
    lives_on = (later > MOVED_TIMESTEP).any()
    return "an impulse lives on in later steps" if lives_on else "an impulse is heard in its own step only"


def _padding(black_box: BlackBox) -> str | None:
    plain = _random_problem(PADDED_LENGTHS)
    past = (3, 1)  # sequence 1 has two valid timesteps
    at_rest, moved = black_box.ask([plain, _with_impulse(plain, "x", past)])
    if at_rest is None:
        return None
    heard = _heard(at_rest, moved)
    after = np.abs(at_rest["h"][PADDED_LENGTHS[1] :, 1]).max() if PADDED_LENGTHS[1] < T else 0.0
    words = "is heard" if heard.any() else "is not heard"
    return f"an impulse past the end {words}; h there is {'0' if after == 0 else 'not 0'}"
