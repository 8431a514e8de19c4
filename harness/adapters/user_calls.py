"""A process that runs a user's code, as its parent sees it: it is watched, and what it died of is an outcome."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lockstep.harness.adapters.outcome import TAIL, Outcome
from lockstep.harness.adapters.processes.child import START_TIMEOUT
from lockstep.harness.adapters.user_code import cut_stack
from lockstep.harness.adapters.user_process import read_header, read_outcomes, stack_of
from lockstep.harness.adapters.worker import GRACE, IMPORT_TIMEOUT, Process

MOST_PRINTED = 2**26  # bytes of output that are kept of one list


class Watch:
    """Asks whether a process still gets on: whether the next reply comes in the time that one call may take."""

    def __init__(self, replies: Path, log: Path, timeout: float) -> None:
        """Watch a process by the file of its replies and by its log; ``timeout``: seconds for one call."""
        self._replies, self._log, self._timeout = replies, log, timeout
        self._size, self._since = -1, time.monotonic()
        self._started = self._imported = False

    def __call__(self) -> None:
        """Look once.

        Raises:
            TimeoutError: If a call has gone on for too long.
        """
        now = time.monotonic()
        size = self._replies.stat().st_size
        # The file of replies grows with each: as long as it does, the process gets on.
        if size != self._size:
            self._size, self._since = size, now
            if not self._imported:
                process, self._imported = read_header(self._replies)
                self._started = process is not None
        allowed = self._timeout + GRACE if self._imported else IMPORT_TIMEOUT
        # Until it has written its header the process itself is still being started.
        if now - self._since > allowed + (0 if self._started else START_TIMEOUT):
            raise TimeoutError
        if self._log.exists() and self._log.stat().st_size > MOST_PRINTED:
            # What prints without end must not fill the disk.
            os.truncate(self._log, 0)


def ask(
    process: Process, serve: Callable[..., Any], arguments: tuple[Any, ...], timeout: float, file: Path, **words: str
) -> tuple[list[Outcome], Outcome | None]:
    """Have a process answer one or several questions about a user's code; messages name lines of ``file``.

    ``serve`` runs there: it takes ``arguments``, then ``timeout``, the seconds for one answer, the file for its
    outcomes, and its log (``user_process.serve_questions``). ``words`` are those of ``_lost``.

    Returns:
        The outcomes that it wrote, and what came of the next question if the process was lost at it.
    """
    replies = process.folder / "replies"
    last_try = False
    while True:
        replies.write_bytes(b"")
        watch = Watch(replies, process.log, timeout)
        ended = process.call(serve, (*arguments, timeout, replies, process.log), timeout, watch)
        started, imported = read_header(replies)
        # Once more where the last call had left something behind that ended the process before this one began.
        if last_try or ended is None or ended.status != "crashed" or started is not None:
            break
        last_try = True
    allowed = timeout if imported else IMPORT_TIMEOUT
    lost = None if ended is None else _lost(ended, process, allowed, file, imported=imported, **words)
    return read_outcomes(replies), lost


def ask_once(
    process: Process, serve: Callable[..., Any], arguments: tuple[Any, ...], timeout: float, file: Path, **words: str
) -> Outcome:
    """Have a process answer one question about a user's code; arguments as of ``ask``."""
    outcomes, lost = ask(process, serve, arguments, timeout, file, **words)
    if outcomes:
        return outcomes[0]
    return lost or Outcome("failed", message="it ended its process before it was done")


def _lost(
    ended: Outcome, process: Process, allowed: float, file: Path, *, imported: bool,
    importing: str = "while importing it: ",
) -> Outcome:  # fmt: skip
    """What came of the question at which a process was lost, which had ``allowed`` seconds for it.

    ``importing`` tells what was going on before what was to be imported was.
    """
    hangs = ended.status == "timeout"
    stack = stack_of(process.log)
    hung = stack.read_text(errors="replace") if hangs and stack.exists() else ""
    stderr, place = cut_stack(f"{ended.stderr or ''}{hung}", file)
    message = f"not done after {allowed:g} s" if hangs else ended.message or ""
    if ended.exited and file.suffix == ".py":
        message += " (does it call os._exit?)"
    when = "" if imported or ended.status == "failed" else importing
    seconds = {"run": allowed if hangs else 0.0}
    return Outcome(ended.status, None, f"{when}{message}{place}", stderr[-TAIL:] or None, seconds=seconds)
