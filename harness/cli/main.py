"""The command ``lockstep``. Exit status: 0 agree, 1 something diverges, 2 a wrong request, 3 a backend failed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

NO_COLOR = "--no-color"


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
    """Run a command: its exit status. What only tells which there are is there before all else."""
    values = words[words.index("--") :] if "--" in words else []  # what stands there is no option
    own = [word for word in words[: len(words) - len(values)] if word != NO_COLOR] + values
    if len(own) < len(words):
        os.environ["NO_COLOR"] = "1"  # so that everything that prints hears of it, in other processes too
    if not own or own[0] in {"--help", "-h"}:
        from lockstep.harness.cli.help import QUESTIONS, overview

        print(overview() if own else QUESTIONS)  # noqa: T201 (a console would take longer than all else)
        return 0
    from lockstep.harness.cli.words import plain_call
    from lockstep.harness.errors import LockstepError

    try:
        call = plain_call(own)
        status = _read_by_cyclopts(own) if call is None else call()
    except (LockstepError, KeyboardInterrupt) as error:
        from lockstep.harness.output.console import INTERRUPTED, complain

        told = isinstance(error, LockstepError)
        complain(str(error) if told else "interrupted.")
        return error.exit_status if told else INTERRUPTED
    return status if isinstance(status, int) else 0


def _read_by_cyclopts(words: list[str]) -> object:
    from lockstep.harness.cli.app import answered

    return answered(words)
