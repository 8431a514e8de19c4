"""Refine measured numbers: what a curve shows to six digits, all that was returned shows to seven."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.diagnosis.anatomy.conventions import INTENDED, Changes

FIT_STEPS = 6


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


def solve(residual: Callable[[float], Array | None], start: float, steps: int = 12) -> float | None:
    """Find the number at which a residual vanishes, by Gauss-Newton in one dimension; None if it goes astray."""
    value, best = start, residual(start)
    if best is None:
        return None
    for _ in range(steps):
        change = 1e-4 * max(abs(value), 0.1)
        beside = residual(value + change)
        if beside is None:
            return None
        slope = (beside - best) / change
        steepness = float(slope @ slope)
        if not steepness or not math.isfinite(steepness):
            return None
        step = -float(slope @ best) / steepness
        for damping in (1.0, 0.5, 0.1):
            tried = residual(value + damping * step)
            if tried is not None and float(tried @ tried) < float(best @ best):
                value, best = value + damping * step, tried
                break
        else:
            return value
        if abs(step) < 1e-9 * max(abs(value), 1e-3):
            break
    return value


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
