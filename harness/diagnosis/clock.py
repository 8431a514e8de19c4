"""How long each part of a search for causes may take, in seconds of the processor, which a busy machine takes not."""

from __future__ import annotations

import math
import time

SECONDS = {
    "all": 9.5,  # of the 12 s that anybody waits: cases are run before, and what is being tried ends after
    "singles": 8.0,
    "numbers": 3.0,
    "in part": 3.0,
    "measured": 3.5,  # what is found on top of conventions that are measured
    "pairs": 7.0,
    "triples": 6.0,
    "next": 4.0,
}


class Clock:
    """The time that one part of a search may take."""

    def __init__(self, part: str, until: float = math.inf) -> None:
        """Start; ``until`` is on the clock of ``time.process_time``."""
        self.end = min(time.process_time() + SECONDS[part], until)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.process_time() > self.end
