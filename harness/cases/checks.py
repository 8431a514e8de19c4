"""What a case cannot ask for: each check raises ValueError, with what was found, what is allowed, and what to do."""

from __future__ import annotations

import math
from typing import Any

# A trace and its expected values with variances stay below some 10 GB.
MOST_CASE_NUMBERS = 2**28
# What goes forward only, and why the reverse direction cannot.
WAYS_FORWARD = {
    "chunks": "the reverse direction begins at the end of the sequence, which comes last, so it has no first piece",
    "resets": "whether the reverse direction starts anew at an episode's first timestep or its last is not agreed upon",
}


def check_resets(resets: tuple[tuple[int, ...], ...], lengths: tuple[int, ...]) -> None:
    """Check that there is a list for each sequence, of timesteps that it has."""
    if len(resets) != len(lengths):
        raise ValueError(
            f"resets has {len(resets)} entries for batch = {len(lengths)}: give a list of timesteps for each sequence, "
            "[] for none"
        )
    for b, (timesteps, length) in enumerate(zip(resets, lengths, strict=True)):
        beyond = [t for t in timesteps if t >= length]
        if beyond:
            allowed = f"allowed are 0 to {length - 1}" if length else "it has no timestep"
            raise ValueError(f"resets has {beyond[0]} for sequence {b}, beyond its last timestep: {allowed}")


def check_chunks(chunks: tuple[int, ...], timesteps: int, *, gradients: bool) -> None:
    """Check that pieces are as long as the sequence, and that nothing is to go back through them."""
    if sum(chunks) != timesteps:
        raise ValueError(
            f"chunks = {list(chunks)} are {sum(chunks)} timesteps together, and timesteps = {timesteps}: make them "
            "equal"
        )
    if gradients:
        raise ValueError(
            "chunks go forward only, since gradients belong to the whole sequence: remove chunks, or set "
            "gradients = false"
        )


def check_goes_forward(key: str, direction: str, reason: str, *, decoder: bool) -> None:
    """Check that what only sequences that go forward can have is asked for of such."""
    if decoder:
        raise ValueError(
            f"[run] {key} are about a sequence that is taken in, and a decoder makes its own: remove {key}"
        )
    if direction != "forward":
        raise ValueError(f'[run] {key} with direction = "{direction}": {reason}: remove {key}')


def check_finite(**numbers: float) -> None:
    """Check that numbers are finite."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} = {value} is not a finite number")


def check_room(counts: dict[str, int]) -> None:
    """Check that what a case asks for fits into memory: counts of numbers, by what they are of."""
    # Refused while a case is read, not when memory runs out in the middle of a run.
    for what, count in counts.items():
        if count > MOST_CASE_NUMBERS:
            raise ValueError(f"{what} = {count}: more than {MOST_CASE_NUMBERS} numbers do not fit")


def frozen_numbers(name: str, golden: Any) -> float | tuple[Any, ...]:
    """Check that ``golden`` is a number or nested lists of numbers, and make its lists tuples."""
    if isinstance(golden, (list, tuple)):
        return tuple(frozen_numbers(name, part) for part in golden)
    if isinstance(golden, bool) or not isinstance(golden, (int, float)):
        raise ValueError(f"{name} holds {golden!r}, which is not a number")  # noqa: TRY004 (msgspec adds the path to it)
    return float(golden)


def check_golden_shape(name: str, golden: float | tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Raise ValueError where nested lists are not as long as the leading axes of their tensor, or nested deeper."""
    if not isinstance(golden, tuple):
        return
    size = shape[0] if shape else "no further"
    if len(golden) != size:
        raise ValueError(f"expect.{name} has a list of {len(golden)} where its axis has {size} entries")
    for part in golden:
        check_golden_shape(name, part, shape[1:])
