"""Names for measured deviations: the faults of the catalogue that they are made of, and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.execution import AS_INTENDED, BY_GATE
from lockstep.harness.faults.fault import Fault
from lockstep.harness.faults.free_numbers import knobs


def named(changes: dict[str, Any]) -> tuple[Fault, ...]:
    """Name the faults that together make these changes: those of the catalogue that set most first, then numbers."""
    left, faults = dict(changes), []
    while left:
        best: tuple[int, Fault, dict[str, Any]] | None = None
        for fault in catalogue().values():
            left_over = _without(left, fault.changes)
            if left_over is not None:
                covered = _parts(left) - _parts(left_over)
                if best is None or covered > best[0]:
                    best = covered, fault, left_over
        if best is None:
            break
        faults.append(best[1])
        left = best[2]
    return (*faults, *_numbered(left))


def _parts(changes: dict[str, Any]) -> int:
    """Count the single things that changes set."""
    return sum(
        sum(part != neutral for part, neutral in zip(value, getattr(AS_INTENDED, name), strict=True))
        if isinstance(value, tuple) and name in BY_GATE
        else 1
        for name, value in changes.items()
    )


def _without(changes: dict[str, Any], part: dict[str, Any]) -> dict[str, Any] | None:
    """What is left of changes when a part of them is taken out; None if it is no part."""
    left = dict(changes)
    for name, value in part.items():
        if name not in left:
            return None
        neutral = getattr(AS_INTENDED, name)
        if name not in BY_GATE:
            if left.pop(name) != value:
                return None
            continue
        left_over = []
        for mine, taken, plain in zip(left[name], value, neutral, strict=True):
            if taken not in (plain, mine):
                return None
            left_over.append(plain if taken != plain else mine)
        if tuple(left_over) == neutral:
            del left[name]
        else:
            left[name] = tuple(left_over)
    return left


def _numbered(left: dict[str, Any]) -> Iterator[Fault]:
    """Put numbers that are left into the words of their knobs, those first that say most at once."""
    while left:
        best: tuple[int, Fault, dict[str, Any]] | None = None
        for knob in knobs():
            for value in _numbers(left):
                left_over = _without(left, knob.set(value))
                said = 0 if left_over is None else _parts(left) - _parts(left_over)
                if left_over is not None and said and (best is None or said > best[0]):
                    best = said, knob.fault(value), left_over
        if best is None:
            words = ", ".join(f"{name} = {value}" for name, value in left.items())
            yield Fault("measured", "kernel", f"Measured: {words}.", "", left)
            return
        yield best[1]
        left = best[2]


def _numbers(left: dict[str, Any]) -> set[float]:
    """All numbers in some changes."""
    parts = (part for value in left.values() for part in (value if isinstance(value, tuple) else (value,)))
    return {part for part in parts if isinstance(part, float)}
