"""Refine measured numbers: what a curve shows to six digits, all that was returned shows to seven."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.diagnosis.anatomy.conventions import INTENDED, Changes

FIT_STEPS = 6
SOLVE_STEPS = 12  # of Gauss-Newton
FIRST_STEPS = 3  # after which only the nearest are gone on with
MOST_SOLVED = 40  # that are gone on with
SOLVED_TO = 1000.0  # in noise: the comparison with noise decides


def refined(base: Changes, miss: Callable[[Changes], Array | None]) -> Changes | None:
    """Fit the numbers of a reading, by Gauss-Newton, to what was returned; None if there are none, or it fails.

    Equal numbers stay equal: they are one. ``miss`` gives the differences that a reading leaves, in noise.
    """
    numbers = sorted(_numbers(base))
    if not numbers:
        return None
    values = np.array(numbers)

    def miss_at(at: Array) -> Array | None:
        return miss(_with(base, dict(zip(numbers, (float(v) for v in at), strict=True))))

    for _ in range(FIT_STEPS):
        now = miss_at(values)
        if now is None:
            return None
        slopes = []
        for k in range(len(values)):
            beside = values.copy()
            beside[k] += 1e-5
            shifted = miss_at(beside)
            if shifted is None:
                return None
            slopes.append((shifted - now) / 1e-5)
        step = np.linalg.lstsq(np.stack(slopes, axis=1), -now, rcond=None)[0]
        if np.abs(step).max() > 1e-2:  # noqa: PLR2004
            return None  # they were no measurement of these numbers
        values = values + step
        if np.abs(step).max() < 1e-10:  # noqa: PLR2004
            break
    return _with(base, dict(zip(numbers, (float(v) for v in values), strict=True)))


def _numbers(base: Changes) -> set[float]:
    """The numbers that are not neutral."""
    numbers: set[float] = set()
    for name, value in base.items():
        neutral = INTENDED[name]
        if isinstance(value, float):
            numbers.add(value)
        elif isinstance(value, tuple) and all(isinstance(part, float) for part in value):
            numbers |= {part for part, plain in zip(value, neutral, strict=True) if part != plain}
    return numbers


def _with(base: Changes, values: dict[float, float]) -> Changes:
    """The same changes with other numbers."""
    changes = dict(base)
    for name, value in base.items():
        if isinstance(value, float):
            changes[name] = values[value]
        elif isinstance(value, tuple) and all(isinstance(part, float) for part in value):
            neutral = INTENDED[name]
            changes[name] = tuple(
                part if part == plain else values[part] for part, plain in zip(value, neutral, strict=True)
            )
    return changes


Misses = Callable[[Sequence[int], Sequence[float]], list[Array | None]]  # of which, at which numbers


def solve_many(misses_at: Misses, starts: Sequence[float], is_over: Callable[[], bool]) -> list[tuple[int, float]]:
    """Find for each the number at which its differences vanish, by Gauss-Newton in one dimension, all side by side.

    Args:
        misses_at: The vectors of differences of some of them, at a number for each.
        starts: Where each begins.
        is_over: Whether the time for it is over.

    Returns:
        Which, and its number, of those whose differences are near to rounding; the smallest differences first.
    """
    at = dict(enumerate(starts))
    now = _vectors(misses_at, at)
    active = set(now)
    for step in range(SOLVE_STEPS):
        if not active or is_over():
            break
        if step == FIRST_STEPS:  # what is far off by now is on no way to 0
            active = set(sorted(active, key=lambda k: _square(now[k]))[:MOST_SOLVED])
        moves = _moves(misses_at, at, {k: now[k] for k in active})
        improved: dict[int, float] = {}
        # A whole step may go too far where differences bend: what is no better by it is tried with shorter ones.
        for damping in (1.0, 0.5, 0.1):
            trying = {k: at[k] + damping * move for k, move in moves.items() if k not in improved}
            for k, vector in _vectors(misses_at, trying).items():
                if _square(vector) < _square(now[k]):
                    improved[k], now[k] = trying[k], vector
        at |= improved
        active = {k for k in improved if abs(moves[k]) >= 1e-9 * max(abs(at[k]), 1e-3)}
    near = [k for k, vector in now.items() if np.abs(vector).max() <= SOLVED_TO]
    return [(k, at[k]) for k in sorted(near, key=lambda k: _square(now[k]))]


def _moves(misses_at: Misses, at: dict[int, float], now: dict[int, Array]) -> dict[int, float]:
    """How far to go from each number, by the slope of its differences there."""
    widths = {k: 1e-4 * max(abs(at[k]), 0.1) for k in now}
    moves = {}
    for k, beside in _vectors(misses_at, {k: at[k] + width for k, width in widths.items()}).items():
        slope = (beside - now[k]) / widths[k]
        steepness = _square(slope)
        if steepness and math.isfinite(steepness):
            moves[k] = -float(slope @ now[k]) / steepness
    return moves


def _vectors(misses_at: Misses, at: dict[int, float]) -> dict[int, Array]:
    vectors = misses_at(list(at), list(at.values())) if at else []
    return {k: vector for k, vector in zip(at, vectors, strict=True) if vector is not None and vector.size}


def _square(vector: Array) -> float:
    return float(vector @ vector)


def plain_values(value: float) -> Iterator[float]:
    """The plain numbers near a measured one, plainest first, then itself."""
    tried = set()
    for candidate in (
        *(round(value, digits) for digits in range(4)),
        *(float(Fraction(value).limit_denominator(n)) for n in (4, 10, 20)),
        *(round(value, digits) for digits in (4, 5)),
    ):
        near = abs(candidate - value) <= 2e-3 * max(abs(value), 0.05)
        if near and candidate not in tried:
            tried.add(candidate)
            yield candidate
    yield value
