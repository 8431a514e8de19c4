"""A user's implementation that a campaign searches: opened in a worker, and given what it can take."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.unit import TargetWords
from lockstep.harness.ports.port import AnyPort, Port
from lockstep.harness.ports.programs.command import parse_command
from lockstep.harness.ports.programs.program import Program


def open_port(words: TargetWords, timeout: float) -> AnyPort:
    """What answers problems; nothing of it runs yet.

    Raises:
        LockstepError: If the words name nothing, or several things, or do not go together.
    """
    given = [word for word in (words.target, words.command, words.command_serve) if word is not None]
    if len(given) != 1:
        raise LockstepError("one thing is searched at a time: give --port, --command or --command-serve.")
    if words.target is not None:
        target = parse_target(words.target)
        return Port(target, layout=words.layout, arrays=words.arrays, init=words.init, timeout=timeout)
    if words.arrays is not None or words.init is not None:
        raise LockstepError(
            "--arrays and --init are for a --port: a program gets its arrays in a file. Leave them out."
        )
    return Program(parse_command(given[0], serves=words.command is None), layout=words.layout, timeout=timeout)


class PortRunner:
    """A port, called for one problem after the other."""

    def __init__(self, port: AnyPort) -> None:
        """Take a port that is open."""
        self._port = port

    def fitted(self, case: Case) -> Case:
        """The case as the port takes it: without gradients where it gives none, with the sizes of an object."""
        if case.run.gradients and (case.model != "lstm" or self._port.forward_only):
            case = replace(case, run=replace(case.run, gradients=False, cotangents=None))
        return self._port.fitted(case)

    def run(self, backend: str, problem: AnyProblem) -> Outcome:
        """Call it."""
        del backend
        return self._port.call([problem])[0]

    def megabytes(self) -> float | None:
        """Nothing: its process is the user's own."""
        return None

    def close(self) -> None:
        """End its process."""
        self._port.close()


def named(words: TargetWords, folder: Path) -> TargetWords:
    """The words with the file of a port made absolute, as workers elsewhere see it."""
    if words.target is None:
        return words
    file, colon, name = words.target.rpartition(":")
    return replace(words, target=f"{(folder / file).absolute()}{colon}{name}")
