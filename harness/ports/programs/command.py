"""The command that starts a program: its words, where the paths go, and what is wrong with it before anything runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from lockstep.harness.adapters.user_code import similar_file
from lockstep.harness.errors import LockstepError

PLACEHOLDERS = ("{problem}", "{answer}")
_OF_SHELLS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"}


@dataclass(frozen=True)
class Command:
    """The words of a command; ``serves``: whether it is started once, and reads the paths from standard input."""

    words: tuple[str, ...]
    serves: bool

    @property
    def file(self) -> Path:
        """The program that the user wrote: of ``node lstm.js`` the script, not the interpreter."""
        program = Path(self.words[0])
        # What lies here is the user's own, and further files are what it reads.
        own = os.sep in self.words[0] and not program.is_absolute()
        return next((Path(word) for word in self.words[1:] if not own and Path(word).is_file()), program)

    @property
    def name(self) -> str:
        """What the program is called in results."""
        return re.sub(r"[^\w.+-]", "_", self.file.stem).lstrip("_.+-") or "program"

    def with_paths(self, problem: Path, answer: Path) -> list[str]:
        """The words with the paths of two files in their places."""
        return [word.replace("{problem}", str(problem)).replace("{answer}", str(answer)) for word in self.words]


def parse_command(text: str, *, serves: bool) -> Command:
    """Read what follows ``--command`` or ``--command-serve``.

    Raises:
        LockstepError: If it has not the places that it needs, or its program cannot be started.
    """
    option = f"--command{'-serve' if serves else ''} {shlex.quote(text)}"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LockstepError(f"{option}: cannot be split into words: {str(error).lower()}.") from error
    if not words:
        raise LockstepError(f"{option}: no program: write for example {_example(serves=serves)}.")
    of_shell = [word for word in words if word in _OF_SHELLS]
    if of_shell:
        raise LockstepError(
            f"{option}: no shell reads it, and {of_shell[0]} would go to the program as a word: "
            "put the line into a script, or write sh -c '...' for it."
        )
    there = [place for place in PLACEHOLDERS if any(place in word for word in words)]
    if serves and there:
        raise LockstepError(
            f"{option}: {' and '.join(there)} in a command that is started once: it reads the two paths from standard "
            "input, a line for each problem. Leave them out, or take --command."
        )
    missing = [place for place in PLACEHOLDERS if place not in there]
    if missing and not serves:
        raise LockstepError(
            f"{option}: {' and '.join(missing)} must be in it, where the path goes: for example "
            f"{_example(serves=False)}."
        )
    _check_program(option, words[0])
    return Command(tuple(words), serves)


def _example(*, serves: bool) -> str:
    return "--command-serve './my_lstm --serve'" if serves else "--command './my_lstm {problem} {answer}'"


def _check_program(option: str, program: str) -> None:
    """Check that a program can be started.

    Raises:
        LockstepError: If it is not there, or may not be run.
    """
    if shutil.which(program) is not None:
        return
    path = Path(program)
    if path.is_file() and os.sep in program:
        hint = f"chmod +x {program}, or begin with its interpreter, for example node {program}"
        raise LockstepError(f"{option}: {program} may not be run as a program: {hint}.")
    if path.is_file():
        raise LockstepError(f"{option}: no program {program} on the PATH: for the file here write ./{program}.")
    if "=" in program:
        raise LockstepError(f"{option}: no program {program}: to set a variable begin with env, as in env {program}.")
    hint = similar_file(path) if os.sep in program else " Is it installed, and on the PATH?"
    raise LockstepError(f"{option}: no program {program}.{hint}")
