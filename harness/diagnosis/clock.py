"""How long each part of a search for causes may take, in seconds of the processor, which a busy machine takes not."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lockstep.harness.errors import check_positive

SECONDS = {
    "all": 4.0,  # of the 5 s within which nearly all is to be told: cases are run before, what is tried then ends after
    "singles": 3.5,
    "numbers": 1.5,
    "in part": 1.5,
    "measured": 1.5,  # what is found on top of conventions that are measured
    "pairs": 3.5,
    "triples": 3.0,
    "next": 2.0,
}


_FACTOR = ContextVar("factor", default=1.0)  # of all times of this search


@contextmanager
def searching_for(seconds: float | None) -> Iterator[None]:
    """Have searches for causes take so many seconds at most, and each part of them its share; None: as usual.

    Raises:
        LockstepError: If they are not above 0.
    """
    check_positive("--{} ", **{"search-seconds": seconds})
    token = _FACTOR.set(1.0 if seconds is None else seconds / SECONDS["all"])
    try:
        yield
    finally:
        _FACTOR.reset(token)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Have Python seldom look for cycles: among all deviations that takes a seventh of a search."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def seconds_of_search() -> float:
    """How long a search may take now."""
    return SECONDS["all"] * _FACTOR.get()


class Clock:
    """The time that one part of a search may take."""

    def __init__(self, part: str, until: float = math.inf) -> None:
        """Start; ``until`` is on the clock of ``time.process_time``."""
        self.end = min(time.process_time() + SECONDS[part] * _FACTOR.get(), until)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.process_time() > self.end
