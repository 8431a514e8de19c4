"""The command ``lockstep``. Exit status: 0 agree, 1 something diverges, 2 a wrong request, 3 a backend failed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a table has characters that not every encoding has
    try:
        status = _status(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _status(words: list[str]) -> int:
    """Run a command: its exit status. What only tells which there are is there before the library that reads words."""
    if not words or words[0] in {"--help", "-h"}:
        from lockstep.harness.cli.help import QUESTIONS, overview

        print(overview() if words else QUESTIONS)  # noqa: T201 (a console would take longer than all else)
        return 0
    from lockstep.harness.cli.app import status_of

    return status_of(words)
