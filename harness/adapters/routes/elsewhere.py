"""Programs that need an environment of their own, since they pin old packages: the user makes it, and names it.

Nothing is ever installed by a command: what is not there is told, with how to make it.
"""

from __future__ import annotations

import os
from pathlib import Path

from lockstep.harness.errors import LockstepError

VERSIONS = {"onnx2tf": "1.29.24"}  # of each program the one that is known to work
_PROGRAMS = "Scripts" if os.name == "nt" else "bin"


def variable_of(program: str) -> str:
    """The environment variable that names a program's environment, to the processes of routes too."""
    return f"LOCKSTEP_{program.upper()}"


def name_environment(program: str, folder: Path) -> None:
    """Have a folder be the environment of a program, in this process and those that it starts.

    Raises:
        LockstepError: If the program is not in it.
    """
    os.environ[variable_of(program)] = str(folder.absolute())
    if program_in_environment(program) is None:
        raise LockstepError(
            f"{folder}: there is no {_PROGRAMS}/{program} in it. Name a virtual environment that has it: "
            f"{_how_to_make(program)}."
        )


def program_in_environment(program: str) -> Path | None:
    """The program in the environment that is named; None if there is none."""
    folder = os.environ.get(variable_of(program))
    if not folder:
        return None
    path = Path(folder) / _PROGRAMS / (f"{program}.exe" if os.name == "nt" else program)
    return path if path.is_file() else None


def missing_environment(program: str) -> str | None:
    """Why a program cannot be run, and what to do; None if it can."""
    if program_in_environment(program) is not None:
        return None
    return (
        f"{program} pins old packages, and needs an environment of its own, which is not named: "
        f'{_how_to_make(program)}, then --{program} DIR, or {program} = "DIR" in [tool.lockstep]'
    )


def _how_to_make(program: str) -> str:
    return f"python -m venv DIR; DIR/{_PROGRAMS}/pip install {program}=={VERSIONS[program]}"
