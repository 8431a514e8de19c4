"""What runs inside a process that is asked things of a user's file, and may fail in any way at them."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from faulthandler import cancel_dump_traceback_later, dump_traceback_later
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from lockstep.harness.adapters.outcome import Outcome, end_of
from lockstep.harness.adapters.user_code import UserCodeError, raised
from lockstep.harness.errors import unknown

LOOKS_AGAIN = 0.5  # seconds after a time-out, before the parent ends the process (``worker.GRACE``)


def serve_questions(
    load: Callable[[], Any],
    answer: Callable[[Any, Any], Outcome],
    questions: Callable[[], Iterable[Any]],
    timeout: float,
    replies: Path,
    log: Path,
) -> None:
    """Answer one question after the other.

    Args:
        load: Imports what is needed; why it cannot be imported is the answer to every question.
        answer: What comes of a question, asked of what was loaded.
        questions: The questions, once it is loaded.
        timeout: Seconds for one answer; then the stack is written down, and the parent ends this.
        replies: Gets, pickled one after the other: this process' id, "imported" once ``load`` is through, and each
            Outcome as soon as it is there.
        log: Where everything that is printed goes.
    """
    stdout = noticed_stdout()
    reopen_closed(log)
    # The stack of a hang has a file of its own: in the log, what a loop prints would bury it.
    with stack_of(log).open("wb") as stack, replies.open("ab", buffering=0) as file:
        file.write(pickle.dumps(os.getpid()))
        try:
            loaded = load()
        except UserCodeError as error:
            loaded = error.outcome
        file.write(pickle.dumps("imported"))
        for question in questions():
            printed_before = log.stat().st_size
            with _stack_told(timeout, stack):
                outcome = loaded if isinstance(loaded, Outcome) else answer(loaded, question)
            file.write(pickle.dumps(_with_printed(outcome, stdout, log, printed_before), protocol=5))


@contextmanager
def _stack_told(timeout: float, stack: BinaryIO) -> Iterator[None]:
    """Write down where this thread is after a time, and tidy up when it is through.

    A thread of ours looks first, holding the interpreter's lock: what looks without it may meet a frame that is being
    made, which ends the process. That is done only for code that never lets the lock go.
    """
    watched, process = threading.get_ident(), os.getpid()

    def tell() -> None:
        frame, lines = sys._current_frames().get(watched), ["(most recent call first):"]  # noqa: SLF001
        while frame is not None:
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
            frame = frame.f_back
        stack.write(("\n".join(lines) + "\n").encode(errors="replace"))
        stack.flush()
        cancel_dump_traceback_later()

    timer = threading.Timer(timeout, tell)
    timer.daemon = True
    timer.start()
    dump_traceback_later(timeout + LOOKS_AGAIN, file=stack)
    try:
        yield
    finally:
        timer.cancel()
        tidy(process)


def serve_once(
    load: Callable[[], Any], answer: Callable[[Any], Outcome], timeout: float, replies: Path, log: Path
) -> None:
    """Answer one question; arguments as of ``serve_questions``."""
    serve_questions(load, lambda loaded, _: answer(loaded), lambda: [None], timeout, replies, log)


def outcome_of(read: Callable[[], Any], wrong: type[Exception], file: Path | None) -> Outcome:
    """Have something read; every way to fail is an outcome.

    ``wrong`` is raised where the file is of a kind that is not taken; messages name lines of ``file``.
    """
    try:
        return Outcome("ran", read())
    except wrong as error:
        return Outcome("wrong", message=str(error))
    except UserCodeError as error:
        return error.outcome
    except BaseException as error:  # noqa: BLE001 (a damaged file, or whatever the user's code raises)
        return raised("reading it", error, file).outcome


def named_value(module: ModuleType, name: str, wrong: type[Exception]) -> tuple[Any, bool]:
    """What a name in a user's file stands for, and whether that is a function or class.

    An object may be callable too, as modules of PyTorch are: what it is counts before what a call of it would give.
    """
    if not hasattr(module, name):
        raise wrong(unknown("function", name, [public for public in vars(module) if public[0] != "_"]))
    value = getattr(module, name)
    return value, inspect.isroutine(value) or inspect.isclass(value)


def check_no_arguments(function: Callable[..., Any], name: str, wrong: type[Exception], example: str) -> None:
    """Refuse a function that cannot be called without arguments; ``example`` is the name of one that calls it."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function compiled from another language
        return
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if needed:
        raise wrong(
            f"{name} needs arguments ({', '.join(needed)}), and is called without any: give them defaults, or name a "
            f"function that calls it, such as `def {example}(): return {name}(...)`."
        )


def _with_printed(outcome: Outcome, stdout: _Stdout, log: Path, before: int) -> Outcome:
    """Add what was printed during a call, from that place in the log on, where it failed or printed to stdout."""
    printed, stdout.used = stdout.used, False
    if outcome.status == "ran" and not printed:
        return outcome
    notes = (*outcome.notes, "it prints to stdout") if printed else outcome.notes
    return replace(outcome, notes=notes).with_printed(end_of(log, before))


def stack_of(log: Path) -> Path:
    """The file that gets the stack of a call that hangs."""
    return log.with_name("stack")


def read_header(path: Path) -> tuple[int | None, bool]:
    """Read how far ``serve`` came before the first call: its process' id, and whether the file was imported."""
    process, imported, *_ = *islice(_pickled(path), 2), None, None
    return process, bool(imported)


def read_outcomes(path: Path) -> list[Outcome]:
    """Read the outcomes that ``serve`` wrote, as far as it came."""
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
    """A stdout that knows whether anything was printed since."""
    if not isinstance(sys.stdout, _Stdout) or sys.stdout.closed:
        raw = io.BufferedWriter(io.FileIO(1, "wb", closefd=False))
        sys.stdout = _Stdout(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stdout.used = False
    return sys.stdout


def tidy(process: int) -> None:
    """Take back what a call may have left behind that strikes later; ``process`` is the id of the one that called."""
    if os.getpid() != process:
        os._exit(0)  # a fork of the port's that came back here: it would answer in this one's place
    cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)  # its alarm would end the process between two calls
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed by the port, or replaced
            stream.flush()
