"""What came of asking for one thing: a run, a call of a user's function, a file to be read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from lockstep.harness.adapters.trace import FACTS, Trace
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.streaming import final_states, joined, piece_rows, pieces_of
from lockstep.harness.errors import LockstepError, UserFileError

TAIL = 4000  # characters of what a process prints that are kept


def end_of(log: Path, start: int = 0) -> str:
    """The end of what was printed into a log from a place on."""
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - TAIL))
        return file.read().decode("utf-8", "replace")


class Later(NamedTuple):
    """Calls after the first one, in their order."""

    stranger: AnyProblem  # of the same network and shapes, with other inputs and states
    of_stranger: Trace
    again: Trace  # of the first call's problem


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
    later: Later | None = None  # where it gave other bits when it was called again after another problem
    overwrites: tuple[str, ...] = ()  # arguments that it changed, where the next call with them gives other numbers
    raised: bool = False  # whether the user's code raised an exception
    megabytes: float | None = None  # that importing a backend added to the process
    exited: bool = False  # whether its process ended by itself, with an exit status
    cached: bool = False  # whether it came of an earlier run

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


def run_in_pieces(problem: AnyProblem, run: Callable[[AnyProblem], Outcome]) -> Outcome:
    """Run a problem at once, or in its pieces, each from the final states of the one before: the outcome of all."""
    if not isinstance(problem, Problem) or problem.case.run.chunks is None:
        return run(problem)
    outcomes: list[Outcome] = []
    starts = {"h0": problem.h0, "c0": problem.c0}
    for rows, piece in zip(piece_rows(problem.case.run.chunks), pieces_of(problem), strict=True):
        if starts.keys() < {"h0", "c0"}:
            missing = " and ".join(f"final {name}" for name in "hc" if f"{name}0" not in starts)
            message = f"the case runs in pieces, and it returns no {missing} for the next one to start from"
            return replace(outcomes[-1], status="unsupported", value=None, message=message)
        piece = replace(piece, **starts)  # noqa: PLW2901
        outcome = run(piece)
        if outcome.trace is None:
            # What fails in the first piece, or is not supported, would be so in one run.
            place = "" if outcome.status == "unsupported" or not outcomes else f"{_place(rows)}: "
            return replace(outcome, message=f"{place}{outcome.message}")
        outcomes.append(outcome)
        starts = final_states(outcome.trace.arrays, piece)
    return _joined(outcomes)


def _place(rows: slice) -> str:
    if rows.stop - rows.start == 1:
        return f"timestep {rows.start}, run as a piece of its own"
    return f"timesteps {rows.start} to {rows.stop - 1}, run as a piece of their own"


def _joined(outcomes: list[Outcome]) -> Outcome:
    traces = [outcome.trace for outcome in outcomes if outcome.trace is not None]
    arrays = joined([trace.arrays for trace in traces])
    seconds: Counter[str] = Counter()
    for outcome in outcomes:
        seconds.update(outcome.seconds)
    last = traces[-1]
    fields: dict[str, Any] = {name: getattr(last, name) for name in FACTS} | arrays
    trace = Trace(**fields)
    repeatable = {outcome.repeatable for outcome in outcomes} - {None}
    return replace(
        outcomes[-1], value=trace, later=None, seconds=dict(seconds),
        repeatable=all(repeatable) if repeatable else None,
        **{name: _once(name, outcomes) for name in ("notes", "conversions", "overwrites")},
    )  # fmt: skip


def _once(name: str, outcomes: list[Outcome]) -> tuple[str, ...]:
    """What several outcomes say, each text once."""
    return tuple(dict.fromkeys(text for outcome in outcomes for text in getattr(outcome, name)))
