"""What may stand where over time, sequences and features: of sequences (T, B, n), and of values (B, n) of one step.

A move is written once, as what it does to an array. Applied to the places of a value's numbers, counted from 1, it
tells where each comes from (0: from nowhere), so that noise goes there and gradients come back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.tape import Node

Move = Callable[[Array], Array]
MOST_SHIFT = 50  # timesteps


def _keep(axis: int, keep: Callable[[Array, int], Array]) -> Move:
    """Keep some places along an axis, and nothing at the others."""

    def move(a: Array) -> Array:
        count = a.shape[axis]
        kept = keep(np.arange(count), count)
        return a * np.expand_dims(kept, tuple(range(1, -axis))) if axis < 0 else a * kept.reshape(-1, 1, 1)

    return move


def _at(axis: int, place: int) -> Move:
    return lambda a: np.broadcast_to(np.take(a, [place], axis), a.shape)


def _ends_exchanged(axis: int) -> Move:
    return lambda a: np.take(a, [a.shape[axis] - 1, *range(1, a.shape[axis] - 1), 0], axis)


BLOCKS = (4, 8, 16, 32)  # sizes of the blocks in which kernels compute units


def _first_units(a: Array, count: int) -> Array:
    """The units of a first block, of several that there are, and 0."""
    return a * (np.arange(a.shape[-1]) < count)


# Along the axis of sequences of (..., B, n).
BATCH_MOVES: dict[str, Move] = {
    "batch flipped": lambda a: np.flip(a, -2),
    "sequence before": lambda a: np.roll(a, 1, -2),
    "next sequence": lambda a: np.roll(a, -1, -2),
    "first sequence for all": _at(-2, 0),
    "last sequence for all": _at(-2, -1),
    "first sequence only": _keep(-2, lambda k, n: k == 0),
    "all but the last sequence": _keep(-2, lambda k, n: k < n - 1),
    "first and last sequence exchanged": _ends_exchanged(-2),
}
# Along the axis of units of (..., B, n).
UNIT_MOVES: dict[str, Move] = {
    "units flipped": lambda a: np.flip(a, -1),
    "units rolled": lambda a: np.roll(a, 1, -1),
    "first unit for all": _at(-1, 0),
    "all but the last unit": _keep(-1, lambda k, n: k < n - 1),
    "all but the first unit": _keep(-1, lambda k, n: k > 0),
    **{f"first {k} units only": partial(_first_units, count=k) for k in BLOCKS},
    "(B, n) read as (n, B)": lambda a: a.reshape(*a.shape[:-2], a.shape[-1], a.shape[-2]).swapaxes(-1, -2),
    "(n, B) read as (B, n)": lambda a: a.swapaxes(-1, -2).reshape(a.shape),
}


def shifted(a: Array, by: int, fill: str = "zero") -> Array:
    """An array (T, ...) that has at t what stood at t - by."""
    if fill == "rolled":
        return np.roll(a, by, 0)
    at = np.arange(len(a)) - by
    inside = (at >= 0) & (at < len(a))
    moved = a[np.clip(at, 0, len(a) - 1)]
    return moved if fill == "edge" else moved * inside.reshape(-1, *(1,) * (a.ndim - 1))


def _batch_major(a: Array) -> Array:
    """Write (B, T, n) out and read it as (T, B, n)."""
    T, B, n = a.shape
    return a.swapaxes(0, 1).reshape(T, B, n)


def _time_major(a: Array) -> Array:
    T, B, n = a.shape
    return a.reshape(B, T, n).swapaxes(0, 1)


def _exchanged(a: Array) -> Array:
    if a.shape[0] != a.shape[1]:
        raise NoPlaceError
    return a.swapaxes(0, 1)


# Of sequences (T, B, n).
TIME_MOVES: dict[str, Move] = {
    "reversed": lambda a: a[::-1],
    **{
        f"{k} {words}, {how}": partial(shifted, by=sign * k, fill=fill)
        for k in (1, 2, 3)
        for words, sign in (("late", 1), ("early", -1))
        for how, fill in (("zero there", "zero"), ("the end twice", "edge"), ("rolled", "rolled"))
    },
    "first timestep for all": _at(0, 0),
    "last timestep for all": _at(0, -1),
    "last timestep only": _keep(0, lambda k, n: k == n - 1),
    "first timestep only": _keep(0, lambda k, n: k == 0),
    "all but the first timestep": _keep(0, lambda k, n: k > 0),
    "all but the last timestep": _keep(0, lambda k, n: k < n - 1),
    "every second timestep twice": lambda a: a[np.arange(len(a)) // 2 * 2],
    "first and last timestep exchanged": lambda a: _ends_exchanged(0)(a) if len(a) > 1 else a,
    "time and batch exchanged": _exchanged,
    "(B, T) read as (T, B)": _batch_major,
    "(T, B) read as (B, T)": _time_major,
    "units and sequences reshaped": lambda a: a.reshape(a.shape[0], a.shape[2], a.shape[1]).swapaxes(1, 2),
}
MOVES = TIME_MOVES | BATCH_MOVES | UNIT_MOVES
# Weighted sums, by the matrix (n, n) of an axis of that length.
MIXTURES: dict[str, tuple[int, Callable[[int], Array]]] = {
    "mean over time": (0, lambda n: np.full((n, n), 1 / n)),
    "sum so far": (0, np.tri),
    "mean so far": (0, lambda n: np.tri(n) / np.arange(1, n + 1)[:, None]),
    "change from the step before": (0, lambda n: np.eye(n) - np.eye(n, k=-1)),
    "with the step before added": (0, lambda n: np.eye(n) + np.eye(n, k=-1)),
    "mean over sequences": (-2, lambda n: np.full((n, n), 1 / n)),
    "mean over units taken off": (-1, lambda n: np.eye(n) - 1 / n),
}


def long_shifts(timesteps: int) -> list[str]:
    """The names of shifts in time by more steps than the table has, which a sequence has room for."""
    return [f"{k} {words}, zero there" for k in range(4, min(timesteps, MOST_SHIFT)) for words in ("late", "early")]


def _move(edit: str) -> Move:
    # Longer shifts are in no table: their names tell by how many steps.
    if edit in MOVES:
        return MOVES[edit]
    by, words, *_ = edit.split()
    return partial(shifted, by=int(by) if words == "late," else -int(by))


@lru_cache(maxsize=512)
def _places(edit: str, shape: tuple[int, ...]) -> Array:
    # From 1, so that a 0 of the move's own is told from the first place.
    start = np.arange(1, int(np.prod(shape)) + 1).reshape(shape)
    places = _move(edit)(start)
    if np.array_equal(places, start):
        raise NoPlaceError
    return places


def moved(run: Any, node: Node, t: int, edit: str) -> Node:  # noqa: ARG001 (edits have one signature)
    """A value whose numbers stand elsewhere.

    Raises:
        NoPlaceError: If all stay where they are, or the shape has no place for it.
    """
    shape = node.value.shape
    if edit in BATCH_MOVES and (len(shape) < 2 or shape[-2] < 2):  # noqa: PLR2004
        raise NoPlaceError
    try:
        return run.tape.taken(node, _places(edit, shape))
    except NoPlaceError:
        # A piece of few timesteps stays as it is: a longer one does not.
        if run.is_piece and edit not in BATCH_MOVES | UNIT_MOVES:
            return node
        raise


def mixed(run: Any, node: Node, t: int, edit: str) -> Node:  # noqa: ARG001
    """Weighted sums of a value's numbers."""
    axis, matrix_of = MIXTURES[edit]
    if node.value.ndim < 2:  # noqa: PLR2004
        raise NoPlaceError
    matrix = matrix_of(node.value.shape[axis])
    if np.array_equal(matrix, np.eye(len(matrix))):  # of one alone its mean is itself, and less its mean it is 0
        if run.is_piece and axis == 0:
            return node
        raise NoPlaceError
    return run.tape.mixed(node, matrix, axis)


def within(run: Any, node: Node, t: int) -> Node:  # noqa: ARG001
    """Each sequence (T, B, n) reversed within its own length."""
    return run.tape.stack(run.turned(run.tape.steps(node), "within"))


def largest_so_far(run: Any, node: Node, t: int) -> Node:  # noqa: ARG001
    """At each timestep the largest of those up to it."""
    steps = run.tape.steps(node)
    for k in range(1, len(steps)):
        steps[k] = run.tape.where(steps[k].value >= steps[k - 1].value, steps[k], steps[k - 1])
    return run.tape.stack(steps)
