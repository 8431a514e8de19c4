"""What workers are asked, and what they answer: the same messages to a local process and over a cluster."""

from __future__ import annotations

from typing import Any, Protocol, Self

from msgspec import Struct, field

from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.jobs.campaign.unit import UnitResult


class Batch(Struct, frozen=True, tag=True):
    """Units of one backend to run, one after the other, that take some seconds together."""

    number: int  # of the task, in this process' count
    backend: str
    ks: tuple[int, ...]


class Choosing(Struct, frozen=True, tag=True):
    """To choose which configurations of a round a backend runs, by what it supports."""

    number: int
    backend: str
    round: int


class Shrinking(Struct, frozen=True, tag=True):
    """A failure to make small while its signature stays."""

    number: int
    backend: str
    case: Case
    seconds: float  # at most


Task = Batch | Choosing | Shrinking


class Shrunk(Struct, frozen=True, kw_only=True):
    """What a failure came to."""

    case: Case
    result: RunResult | None  # of the small case, with its diagnosis; None where it did not show again
    trace: bytes = b""  # of the small case, as safetensors; empty where there is none
    numbers: bytes = b""  # of its problem, likewise
    tried: int = 0  # how many smaller cases
    spent: bool = False  # whether the budget ended before there was nothing left to try
    seconds: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)  # where it was run


class Answer(Struct, frozen=True, kw_only=True):
    """What a worker has to say of a task; several may come of one."""

    number: int  # of the task
    units: tuple[UnitResult, ...] = ()  # that are through
    chosen: tuple[int, ...] | None = None  # the configurations that a backend runs
    shrunk: Shrunk | None = None
    done: bool = False  # whether the task is
    lost: str | None = None  # what became of the worker that had it; what it had not answered runs elsewhere
    fatal: str | None = None  # what no other worker will do better: the disk is full, a fault of ours


class Executor(Protocol):
    """What runs tasks side by side: processes here, or a cluster."""

    @property
    def capacity(self) -> int:
        """Tasks that are worth having in hand at once."""
        ...

    def submit(self, task: Task) -> None:
        """Have a task run."""
        ...

    def answers(self, timeout: float) -> list[Answer]:
        """What has come since the last call; waits for a first one, at most so many seconds."""
        ...

    def close(self) -> None:
        """End all that runs."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
