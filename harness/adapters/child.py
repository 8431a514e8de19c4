"""A child process and the pipe to it: one message there and one back, and what it dies of is known at once.

The command ``lockstep`` forks, as long as nothing else runs in it: its child has NumPy and what is ours already. A
user's process may hold a framework, or threads with locks, that would not outlive a fork: there a child starts afresh.

What is small goes through the pipe, arrays through a file: a pipe takes some 64 KB at a time and wakes both sides for
each; a file that is written again and again stays in memory, and whoever maps it copies nothing.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from mmap import ACCESS_COPY, mmap
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# The command as both ways to start it leave it in ``__main__``.
COMMAND = "lockstep.harness.cli.main"
START_TIMEOUT = 60.0  # for a process to run, on a busy machine
END_SECONDS = 5.0  # for it to be gone, once the system has been told to end it
POLL = 0.1  # seconds between two looks whether it still lives

# One at a time: what is patched while a process is spawned is shared by all threads.
_SPAWNING = threading.Lock()
# Our ends of the pipes to all children: a child that held one would keep another alive when this process dies.
_pipes: weakref.WeakSet[Connection] = weakref.WeakSet()


# What is larger would reach the disk, and copying it takes its time anyway: it goes through the pipe.
MOST_SHARED_BYTES = 2**30
ALIGNED = 64  # bytes at whose multiples arrays begin


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
        self._pipe, theirs = Pipe()
        _pipes.add(self._pipe)
        self._process = _started(theirs, prepare, arguments)
        self._ready = False  # whether it has said that it runs
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def send(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Have it call a function; what that gives is received next."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever receives is told what it died of
            self._pipe.send((function, arguments))

    def receive(self, timeout: float) -> Any:
        """What the function gave.

        Raises:
            TimeoutError: If it is not there after so many seconds; a later call may still receive it.
            ChildDiedError: If the process went before.
            NotSentError: If it could not be sent.
        """
        if not self._ready:  # its own start is no part of a call
            self._message(max(timeout, START_TIMEOUT))
            self._ready = True
        answer, failure = self._message(timeout)
        if failure is not None:
            raise NotSentError(failure)
        return answer

    def _message(self, timeout: float) -> Any:
        until = time.monotonic() + timeout
        while not (ready := wait([self._pipe, self._process.sentinel], min(POLL, timeout))):
            # A child of its own may hold all that tells of its end.
            if not self._process.is_alive():
                raise ChildDiedError(self._process.exitcode)
            if time.monotonic() > until:
                raise TimeoutError
        try:
            if self._pipe in ready:
                return self._pipe.recv()
        except (EOFError, OSError):
            pass
        self._process.join(END_SECONDS)  # its end of the pipe closes a moment before
        raise ChildDiedError(self._process.exitcode)

    def close(self) -> None:
        """End the process, whatever it is at; whoever waits for it is told that it died."""
        self._process.kill()
        self._process.join(END_SECONDS)
        self._pipe.close()


def _serve(pipe: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """What runs in the child, until the pipe closes."""
    for parents_end in list(_pipes):
        parents_end.close()
    prepare(*arguments)
    pipe.send(None)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            function, given = pipe.recv()
            _answer(pipe, function, given)


def _answer(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send((function(*arguments), None))
    except (BrokenPipeError, EOFError):
        raise
    except Exception as error:  # noqa: BLE001 (an object of somebody else's may raise anything while it is pickled)
        pipe.send((None, f"{type(error).__name__}: {error}"))


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


@dataclass(frozen=True)
class Parcel:
    """A pickled value whose arrays lie in a file, one after the other."""

    pickled: bytes
    path: Path
    sizes: tuple[int, ...]

    @classmethod
    def pack(cls, value: Any, path: Path) -> Parcel:
        """Pack a value over what ``path`` held before; an OSError if there is no place for its arrays."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        if not 0 < sum(array.nbytes for array in arrays) <= MOST_SHARED_BYTES:
            return cls(pickle.dumps(value, protocol=5), path, ())
        sizes = tuple(array.nbytes for array in arrays)
        # Not truncated: the file keeps its pages, and the copy is all that writing costs.
        with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
            for place, array in zip(_places(sizes), arrays, strict=True):
                file.seek(place)
                while array:  # the system may take a part at a time
                    array = array[file.write(array) :]  # noqa: PLW2901
            if file.seek(0, os.SEEK_END) < _end(sizes):
                file.truncate(_end(sizes))
        return cls(pickled, path, sizes)

    def unpack(self) -> Any:
        """The value, with arrays of its own."""
        arrays = [bytearray(size) for size in self.sizes]
        if arrays:
            with self.path.open("rb") as file:
                for place, array in zip(_places(self.sizes), arrays, strict=True):
                    file.seek(place)
                    file.readinto(array)
        return pickle.loads(self.pickled, buffers=arrays)  # noqa: S301 (from this run's own processes)

    def unpack_in_place(self) -> tuple[Any, mmap | None]:
        """The value, with arrays that lie in the file, and what holds them: while it lives, nothing is packed there.

        What is written into them stays in this process.
        """
        if not self.sizes:
            return self.unpack(), None
        with self.path.open("rb") as file:
            held = mmap(file.fileno(), _end(self.sizes), access=ACCESS_COPY)
        whole = memoryview(held)
        arrays = [whole[place : place + size] for place, size in zip(_places(self.sizes), self.sizes, strict=True)]
        return pickle.loads(self.pickled, buffers=arrays), held  # noqa: S301 (from this run's own processes)


def _places(sizes: Sequence[int]) -> list[int]:
    """Where arrays begin in a file."""
    ends = accumulate(-(-size // ALIGNED) * ALIGNED for size in sizes)
    return [0, *ends][:-1]


def _end(sizes: Sequence[int]) -> int:
    return _places(sizes)[-1] + sizes[-1]
