"""A child process and the pipes to it: one message there and one back, and what it dies of is known at once.

The command ``lockstep`` forks, as long as nothing else runs in it: its child has NumPy and what is ours already. A
user's process may hold a framework, or threads with locks, that would not outlive a fork: there a child starts afresh.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from multiprocessing.process import BaseProcess
from typing import Any

# The command as both ways to start it leave it in ``__main__``.
COMMAND = "lockstep.harness.cli.main"
# Has a child write down its stacks; None where the system has no such signal.
ASKS_WHERE = getattr(signal, "SIGUSR1", None)
# Whoever sleeps is woken up in some 0.05 ms, and finds the processor's caches cold: what takes 2 ms took 2.2.
BRIEF_CALL = 0.005  # seconds: an answer is watched for where the one before took no longer
NEXT_CALL = 0.0002  # seconds in which a request is watched for, where one follows the other
ONE_READ = 2**16  # bytes: what a pipe holds
START_TIMEOUT = 60.0  # for a process to run, on a busy machine
END_SECONDS = 5.0  # for it to be gone, once the system has been told to end it
POLL = 0.1  # seconds between two looks whether it still lives

# One at a time: what is patched while a process is spawned is shared by all threads.
_SPAWNING = threading.Lock()
# Our ends of the pipes to all children: a child that held one would keep another alive when this process dies.
_pipes: weakref.WeakSet[Connection] = weakref.WeakSet()

# On a single processor whoever watches would keep the other side from its work.
_SEVERAL = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) > 1
_give_way = getattr(os, "sched_yield", lambda: None)
_HEADER = 8  # bytes that tell how long a message is


class ChildDiedError(Exception):
    """A child is gone; ``exitcode`` is below zero where a signal ended it, None where nobody knows."""

    def __init__(self, exitcode: int | None) -> None:
        """Tell with which exit status it went."""
        super().__init__(f"exit status {exitcode}")
        self.exitcode = exitcode


class NotSentError(Exception):
    """What a function gave could not be sent: its text says why."""


class Child:
    """A process that calls functions, one at a time."""

    def __init__(self, prepare: Callable[..., None], *arguments: Any) -> None:
        """Start it; it calls ``prepare`` first."""
        requested, self._requests = Pipe(duplex=False)
        self._answers, answered = Pipe(duplex=False)
        _pipes.update((self._requests, self._answers))
        self._arrived = _waiting_for(self._answers)
        self._process = _started(requested, answered, prepare, arguments)
        self._ready = False  # whether it has said that it runs
        self._asked, self._brief = 0.0, False  # when it was called, and whether the call before took little time
        self._request: tuple[Callable[..., Any], tuple[Any, ...]] | None = None  # the last one
        requested.close()
        answered.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def send(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Have it call a function; what that gives is received next.

        The same tuple of arguments once more, which nobody has changed, does not go over again.
        """
        self._asked = time.monotonic()
        last, message = self._request, b""
        if last is None or last[0] is not function or last[1] is not arguments:
            message = pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)
            # What is large is not held here as long as this lives.
            self._request = (function, arguments) if len(message) <= ONE_READ else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever receives is told what it died of
            _send(self._requests, message)

    def receive(self, timeout: float) -> Any:
        """What the function gave.

        Raises:
            TimeoutError: If it is not there after so many seconds; a later call may still receive it.
            ChildDiedError: If the process went before.
            NotSentError: If it could not be sent.
        """
        if not self._ready:  # its own start is no part of a call
            self._message(max(timeout, START_TIMEOUT), _HEADER)
            self._ready = True
        if self._brief:
            _watch(self._arrived, min(BRIEF_CALL, timeout))
        message = self._message(timeout, ONE_READ)
        self._brief = time.monotonic() - self._asked < BRIEF_CALL
        answer, failure = pickle.loads(message)  # noqa: S301 (from this run's own process)
        if failure is not None:
            raise NotSentError(failure)
        return answer

    def _message(self, timeout: float, most: int) -> bytes | memoryview:
        until = time.monotonic() + timeout
        while not self._arrived(min(POLL, timeout)):
            # A child of its own may hold all that tells of its end.
            if not self._process.is_alive():
                raise ChildDiedError(self._process.exitcode)
            if time.monotonic() > until:
                raise TimeoutError
        try:
            return _receive(self._answers, most)
        except (EOFError, OSError):
            self._process.join(END_SECONDS)  # its end of the pipe closes a moment before
            raise ChildDiedError(self._process.exitcode) from None

    def ask_where(self) -> bool:
        """Have it write down where it is, soon; whether it can be asked."""
        if not self._ready or ASKS_WHERE is None or not self.alive:
            return False
        os.kill(self._process.pid or 0, ASKS_WHERE)
        return True

    def close(self) -> None:
        """End the process, whatever it is at; whoever waits for it is told that it died."""
        self._process.kill()
        self._process.join(END_SECONDS)
        self._requests.close()
        self._answers.close()


def _send(pipe: Connection, message: bytes) -> None:
    """One system call for what is short, on a system of POSIX, where ``Connection`` makes more objects than that."""
    if os.name != "posix":
        pipe.send_bytes(message)
        return
    descriptor, unsent = pipe.fileno(), memoryview(len(message).to_bytes(_HEADER, "little") + message)
    while unsent:
        unsent = unsent[os.write(descriptor, unsent) :]


def _receive(pipe: Connection, most: int = ONE_READ) -> bytes | memoryview:
    """The next message, read at once where it is short; an EOFError if the other side is gone.

    No other may follow it yet, or it is no longer than ``most``.
    """
    if os.name != "posix":
        return pipe.recv_bytes()
    descriptor = pipe.fileno()
    message = _read(descriptor, most)
    while len(message) < _HEADER:
        message += _read(descriptor, most)
    size = int.from_bytes(message[:_HEADER], "little") + _HEADER
    if len(message) < size:
        whole = bytearray(message)
        while len(whole) < size:
            whole += _read(descriptor, ONE_READ)
        return memoryview(whole)[_HEADER:]
    return memoryview(message)[_HEADER:]


def _read(descriptor: int, most: int) -> bytes:
    part = os.read(descriptor, most)
    if not part:
        raise EOFError
    return part


def _watch(arrived: Callable[[float], bool], seconds: float) -> None:
    """Stay awake for a message that is likely to be there so soon, unless others wait for this processor."""
    until = time.monotonic() + seconds
    while _SEVERAL and not arrived(0) and time.monotonic() < until:
        _give_way()


def _waiting_for(pipe: Connection) -> Callable[[float], bool]:
    """What waits some seconds for a message, or the end of the pipe: whether there is one."""
    if not hasattr(select, "poll"):
        return pipe.poll
    poller = select.poll()  # made once: what a pipe's own ``poll`` makes each time takes longer than the message
    poller.register(pipe.fileno(), select.POLLIN)
    return lambda seconds: bool(poller.poll(seconds * 1000))


def _serve(requests: Connection, answers: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """What runs in the child, until the pipe of requests closes."""
    for parents_end in list(_pipes):
        parents_end.close()
    prepare(*arguments)
    if ASKS_WHERE is not None:
        faulthandler.register(ASKS_WHERE)
    _send(answers, b"")  # the first answer may follow before this is read
    arrived = _waiting_for(requests)
    function: Callable[..., Any] = tuple
    given: tuple[Any, ...] = ()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            _watch(arrived, NEXT_CALL)
            message = _receive(requests)
            if message:  # else it is the request before
                function, given = pickle.loads(message)  # noqa: S301 (from the parent)
            _answer(answers, function, given)


def _answer(answers: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        message = pickle.dumps((function(*arguments), None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 (an object of somebody else's may raise anything while it is pickled)
        message = pickle.dumps((None, f"{type(error).__name__}: {error}"))
    _send(answers, message)


def _started(*arguments: Any) -> BaseProcess:
    is_command = getattr(getattr(sys.modules.get("__main__"), "main", None), "__module__", None) == COMMAND
    if is_command and sys.platform == "linux" and threading.active_count() == 1:
        process: BaseProcess = get_context("fork").Process(target=_serve, args=arguments, daemon=True)
        process.start()
        return process
    process = get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
    with _SPAWNING, _without_main():
        process.start()
    return process


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """No spawned process runs the parent's script again: a script needs no main guard for us."""
    from multiprocessing import spawn

    whole = spawn.get_preparation_data
    try:
        spawn.get_preparation_data = lambda name: {
            key: value for key, value in whole(name).items() if not key.startswith("init_main")
        }
        yield
    finally:
        spawn.get_preparation_data = whole
