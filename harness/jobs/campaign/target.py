"""A user's implementation that a campaign searches: opened in a worker, and given what it can take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.random_cases import features_of
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.unit import TargetWords
from lockstep.harness.jobs.checks.forms import form_of
from lockstep.harness.ports.port import AnyPort, Port
from lockstep.harness.ports.programs.command import PLACEHOLDERS, parse_command
from lockstep.harness.ports.programs.program import Program

MOST_PROBED = 3  # cases of a feature that a port is asked before it is left out


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
        self.port = port

    def fitted(self, case: Case) -> Case:
        """The case as the port takes it: without gradients where it gives none, with the sizes of an object."""
        if case.run.gradients and (case.model != "lstm" or self.port.forward_only):
            case = replace(case, run=replace(case.run, gradients=False, cotangents=None))
        return self.port.fitted(case)

    def reasons(self, backend: BackendInfo, cases: list[Case]) -> Sequence[str | None]:
        """The reasons against each of several cases: what a call cannot tell a port, and what this one never answers.

        It is asked for each feature that some case has alone: what fails there without numbers is no mistake of it.
        """
        del backend
        reasons = [_untold(case) for case in cases]
        alone: dict[str, list[Case]] = {}
        for case, reason in zip(cases, reasons, strict=True):
            features = features_of(case)
            if reason is None and len(features) == 1:
                alone.setdefault(next(iter(features)), []).append(case)
        unanswered = {feature: message for feature, of_it in alone.items() if (message := self._never(of_it))}
        return [
            reason or next((unanswered[feature] for feature in features_of(case) if feature in unanswered), None)
            for case, reason in zip(cases, reasons, strict=True)
        ]

    def _never(self, cases: list[Case]) -> str | None:
        """What it says to the smallest of cases, where it answers none of them."""
        smallest = sorted(cases, key=lambda case: case.run.timesteps)[:MOST_PROBED]
        outcomes = self.port.call([self._problem(case) for case in smallest])
        if not all(outcome.status in {"unsupported", "failed"} for outcome in outcomes):
            return None
        return (outcomes[0].message or outcomes[0].status).partition("\n")[0]

    def _problem(self, case: Case) -> AnyProblem:
        case = self.fitted(case)
        return form_of(case).problem(case)

    def run(self, backend: str, problem: AnyProblem) -> Outcome:
        """Call it."""
        del backend
        return self.port.call([problem])[0]

    def megabytes(self) -> float | None:
        """Nothing: its process is the user's own."""
        return None

    def close(self) -> None:
        """End its process."""
        self.port.close()


def _untold(case: Case) -> str | None:
    """Why a port cannot be given a case: the arguments of a call do not tell all settings."""
    lstm, run = case.lstm, case.run
    standard = ("tanh", "sigmoid", "tanh")
    if (
        lstm.merged
        or lstm.input_forget
        or (lstm.activation, lstm.recurrent_activation, lstm.cell_activation) != standard
    ):
        return "the arguments of a port do not tell it"
    return (
        None if run.dtype in {"float32", "float64"} else f"ports are searched in float32 and float64, not {run.dtype}"
    )


def named(words: TargetWords, folder: Path) -> TargetWords:
    """The words with the files in them made absolute, as workers elsewhere and the folder of a finding see them."""
    if words.target is not None:
        file, colon, name = words.target.rpartition(":")
        words = replace(words, target=f"{(folder / file).absolute()}{colon}{name}")
    return replace(
        words, command=_with_files(words.command, folder), command_serve=_with_files(words.command_serve, folder)
    )


def _with_files(command: str | None, folder: Path) -> str | None:
    """A command whose files of a folder are absolute; a program without a slash is searched for elsewhere."""
    if command is None:
        return None
    try:
        words = shlex.split(command)
    except ValueError:  # told where it is parsed
        return command
    for n, word in enumerate(words):
        if (n or "/" in word) and (folder / word).is_file():
            words[n] = str((folder / word).absolute())
    return " ".join(word if word in PLACEHOLDERS else shlex.quote(word) for word in words)
