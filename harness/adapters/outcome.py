"""What came of asking for one thing: a run, a call of a user's function, a file to be read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.errors import LockstepError, UserFileError

TAIL = 4000  # characters of what a process prints that are kept


def end_of(log: Path, start: int = 0) -> str:
    """The end of what was printed into a log from a place on."""
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - TAIL))
        return file.read().decode("utf-8", "replace")


@dataclass(frozen=True, eq=False)
class Outcome:
    """A value, or why there is none."""

    status: str  # "ran", "unsupported", "failed"; "wrong": a file of a kind that is not taken; "crashed", "timeout"
    value: Any = None  # a Trace of a run or call; the Model or Material that was read
    message: str | None = None
    stderr: str | None = None  # the end of what was printed, and of the traceback
    notes: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()  # those notes that tell in which other dtype something came
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    repeatable: bool | None = None
    overwrites: tuple[str, ...] = ()  # arguments that it changed, where the next call with them gives other numbers
    raised: bool = False  # whether the user's code raised an exception
    megabytes: float | None = None  # that importing a backend added to the process
    exited: bool = False  # whether its process ended by itself, with an exit status

    @property
    def trace(self) -> Trace | None:
        """The trace of a run; None if it gave none."""
        return self.value if isinstance(self.value, Trace) else None

    def value_read_of(self, name: str) -> Any:
        """What was read of the user's file ``name``.

        Raises:
            LockstepError: If it is of a kind that is not taken.
            UserFileError: If reading it failed.
        """
        if self.status == "wrong":
            raise LockstepError(f"{name}: {self.message}")
        if self.value is None:
            raise UserFileError(f"{name}: {(self.message or '').strip().removesuffix(':')}")
        return self.value

    def with_printed(self, text: str) -> Outcome:
        """The same with the end of what was printed before its own stderr."""
        return replace(self, stderr=f"{text}{self.stderr or ''}"[-TAIL:] or None)
