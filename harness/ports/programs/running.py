"""Processes of programs: each leads a group of its own, which is ended as a whole, and what it prints is read away."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from itertools import groupby
from queue import Empty, Full, Queue
from threading import Thread
from typing import IO, Any

from lockstep.harness.adapters.outcome import TAIL
from lockstep.harness.adapters.user_code import MOST_TEXT
from lockstep.harness.adapters.worker import GRACE, Closing
from lockstep.harness.text import printable

MOST_LINE = 2000  # bytes of an answer's line, of which a text for people is a part
MOST_LINES = 16  # of answers that nobody has asked for
# Bytes that no encoding of text has; an escape is that of a color.
_NO_TEXT = re.compile("[\x00-\x06\x0e-\x1a\ufffd]")
MOST_UNREADABLE = 0.05  # of a line's characters: a stray one is no reason to hide the others


def readable(raw: bytes) -> str:
    """What a program wrote, in lines that are fit to be shown: cut, and told where they are no text, as of `cat`."""
    shown = []
    for is_text, lines in groupby(re.split("\r\n?|\n", raw.decode("utf-8", "replace")), _is_text):
        if is_text:
            shown += [line if len(line) <= MOST_TEXT else f"{line[:MOST_TEXT]}..." for line in map(printable, lines)]
        else:
            shown.append(f"({sum(map(len, lines))} characters that are no text)")
    return "\n".join(shown).rstrip("\n")


def _is_text(line: str) -> bool:
    return len(_NO_TEXT.findall(line)) <= MOST_UNREADABLE * len(line)


class Started(Closing):
    """A program that was started, and leads a group of processes."""

    def __init__(self, words: Sequence[str], *, stdin: int, stderr: int) -> None:
        """Start it; what it prints as errors is read away, or all that it prints where that is one stream.

        Raises:
            OSError: If it cannot be started.
        """
        # A session of its own: what it starts ends with it, and Ctrl-C reaches us alone.
        self._process = subprocess.Popen(  # noqa: S603 (it is the user's own)
            words, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        )
        self._printed = Printed(self._process.stderr or self._process.stdout)

    def wait(self, timeout: float) -> int:
        """Wait for its end: its exit status, or minus the signal that killed it; a TimeoutError if it goes on."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def end(self) -> bool:
        """End what is left of the group; whether anything but the program itself was."""
        ended = self._process.poll() is not None
        left = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
                left = ended
            else:
                self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # what was not yet written has nobody to go to
                self._process.stdin.close()
        return left

    def close(self) -> None:
        """End it with all that it started."""
        self.end()

    def printed(self) -> str:
        """The end of what it printed, so far or, where it has ended, at all."""
        return self._printed.end(GRACE if self._process.returncode is not None else 0)


class Printed:
    """The end of what a process prints: the rest is read and forgotten, so that it neither fills a disk nor waits."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        """Read a stream from here on."""
        assert stream is not None
        self._end = b""
        self._reader = Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while part := os.read(stream.fileno(), 2**16):
                self._end = (self._end + part)[-TAIL:]

    def end(self, seconds: float) -> str:
        """The end of it, for the rest of which it is waited so long: what left the group may hold the stream on."""
        self._reader.join(seconds)
        return readable(self._end)


class Serving(Started):
    """A program that is started once, and answers lines with lines."""

    def __init__(self, words: Sequence[str]) -> None:
        """Start it.

        Raises:
            OSError: If it cannot be started.
        """
        super().__init__(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self._lines: Queue[str | None] = Queue(MOST_LINES)
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Put its lines in a row, and None at their end; what writes on and on without being asked is left to wait."""
        stream: Any = self._process.stdout
        with stream, contextlib.suppress(Full):
            while line := stream.readline(MOST_LINE):
                self._lines.put_nowait(readable(line).strip())
            self._lines.put_nowait(None)

    def ask(self, line: str, timeout: float) -> str | None:
        """Write a line, and read the answer; None where the program has closed its output.

        Raises:
            TimeoutError: If there is none in so many seconds.
        """
        if not self._lines.empty():  # it has ended since, or wrote what nobody asked for
            early = self._lines.get()
            return early and f"{early} (before it was asked)"
        stream: Any = self._process.stdin
        with contextlib.suppress(OSError):  # it has ended, as its output will show
            stream.write(f"{line}\n".encode())
            stream.flush()
        try:
            return self._lines.get(timeout=timeout)
        except Empty as error:
            raise TimeoutError from error

    def close(self) -> None:
        """Let it end at the end of its input, then end what is left."""
        stream: Any = self._process.stdin
        with contextlib.suppress(OSError, TimeoutError):
            stream.close()
            self.wait(GRACE)
        super().close()
