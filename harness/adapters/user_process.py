"""What runs inside a process that is asked one thing of a user's file, and may fail in any way at it."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from faulthandler import cancel_dump_traceback_later, dump_traceback_later
from itertools import islice
from pathlib import Path
from typing import Any

from lockstep.harness.adapters.backend_process import TAIL
from lockstep.harness.adapters.user_code import PortError, raised


@dataclass(frozen=True)
class Found:
    """What was found, or why there is nothing."""

    status: str  # "ran"; "wrong" if the file is none that is taken; "failed" if reading it fails
    value: Any = None
    message: str = ""
    stderr: str | None = None


def serve_once(load: Callable[[], Any], find: Callable[[Any], Found], timeout: float, replies: Path, log: Path) -> None:
    """Answer once.

    Args:
        load: Imports what is needed; it may give a Found, which is the answer then.
        find: Gives the answer from what was loaded.
        timeout: Seconds that finding may take; then the stack is written down, and the parent ends this.
        replies: Gets, pickled one after the other: this process' id, "imported" once ``load`` is through, and the
            answer.
        log: Where everything that is printed goes.
    """
    noticed_stdout()
    reopen_closed(log)
    with stack_of(log).open("wb") as stack, replies.open("ab", buffering=0) as answers:
        answers.write(pickle.dumps(os.getpid()))
        loaded = load()
        answers.write(pickle.dumps("imported"))
        dump_traceback_later(timeout, file=stack)
        try:
            found = loaded if isinstance(loaded, Found) else find(loaded)
        finally:
            tidy()
        answers.write(pickle.dumps(_with_printed(found, log), protocol=5))


def found_by(read: Callable[[], Any], wrong: type[Exception], file: Path | None) -> Found:
    """Have something read; every way to fail is an answer.

    Args:
        read: Gives the value.
        wrong: What it raises where the file is none that is taken.
        file: The user's, whose lines a message names.
    """
    try:
        return Found("ran", read())
    except wrong as error:
        return Found("wrong", message=str(error))
    except PortError as error:
        return Found("failed", message=str(error), stderr=error.stderr)
    except BaseException as error:  # noqa: BLE001 (a damaged file, or whatever the user's code raises)
        failed = raised("reading it", error, file)
        return Found("failed", message=str(failed), stderr=failed.stderr)


def needed_arguments(function: Callable[..., Any]) -> list[str]:
    """Name the arguments without which a function cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function compiled from another language
        return []
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [one.name for one in parameters if one.default is one.empty and one.kind not in variadic]


def _with_printed(found: Found, log: Path) -> Found:
    """Add the end of what was printed, where it may tell why nothing was found."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if found.status == "ran":
        return found
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        text = file.read().decode("utf-8", "replace")
    return replace(found, stderr=f"{text}{found.stderr or ''}"[-TAIL:] or None)


def stack_of(log: Path) -> Path:
    """Give the file that gets the stack of a call that hangs."""
    return log.with_name("stack")


def read_header(path: Path) -> tuple[int | None, bool]:
    """Read how far ``serve`` came before the first call: its process' id, and whether the file was imported."""
    process, imported, *_ = *islice(_pickled(path), 2), None, None
    return process, bool(imported)


def read_replies(path: Path) -> list[Any]:
    """Read the replies that ``serve`` wrote, as far as it came."""
    return list(islice(_pickled(path), 2, None))


def _pickled(path: Path) -> Iterator[Any]:
    # Where the process ended while it wrote, the last one is cut off.
    with contextlib.suppress(EOFError, pickle.UnpicklingError, FileNotFoundError), path.open("rb") as file:
        while True:
            yield pickle.load(file)  # noqa: S301 (from this run's own process)


def reopen_closed(log: Path) -> None:
    """Point stdout and stderr at the log where an earlier call closed them: no other file may get their place."""
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(log, os.O_WRONLY | os.O_APPEND)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


class _Stdout(io.TextIOWrapper):
    """A stdout that knows whether anything was printed."""

    used = False

    def write(self, text: str, /) -> int:
        self.used = True
        return super().write(text)


def noticed_stdout() -> _Stdout:
    """Give a stdout that knows whether anything was printed since."""
    if not isinstance(sys.stdout, _Stdout) or sys.stdout.closed:
        raw = io.BufferedWriter(io.FileIO(1, "wb", closefd=False))
        sys.stdout = _Stdout(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stdout.used = False
    return sys.stdout


_own_process = os.getpid()


def tidy() -> None:
    """Take back what a call may have left behind that strikes later."""
    if os.getpid() != _own_process:
        os._exit(0)  # a fork of the port's that came back here: it would answer in this one's place
    cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)  # its alarm would end the process between two calls
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed by the port, or replaced
            stream.flush()
