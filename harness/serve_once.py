"""What runs inside a process that is asked one thing of a user's file, and may fail in any way at it."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from faulthandler import dump_traceback_later
from pathlib import Path
from typing import Any

from lockstep.harness.port_form import PortError
from lockstep.harness.serve import TAIL
from lockstep.harness.serve_port import noticed_stdout, raised, reopen_closed, stack_of, tidy


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
