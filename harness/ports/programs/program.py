"""A program that answers problems: one call of it for each, or lines to one that is started once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from signal import Signals
from time import perf_counter
from typing import NamedTuple

from lockstep.harness.adapters.outcome import Outcome, run_in_pieces
from lockstep.harness.adapters.user_code import MOST_TEXT, UserCodeError
from lockstep.harness.adapters.worker import GRACE, death_of
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.ports.arguments import Form
from lockstep.harness.ports.port import AnyPort
from lockstep.harness.ports.programs.answer_file import read_answer
from lockstep.harness.ports.programs.command import Command
from lockstep.harness.ports.programs.problem_file import write_problem
from lockstep.harness.ports.programs.running import Serving, Started

UNSUPPORTED_STATUS = 77  # by an old custom of tests: this one is left out
_KILLED = 128  # a shell whose program was killed ends with this and the signal


class _Files(NamedTuple):
    """The files of one call, and when that of the problem was written, by the clock of the disk."""

    problem: Path
    answer: Path
    written: int


class Program(AnyPort):
    """A program in any language, whose problems and answers are files."""

    def __init__(self, command: Command, *, layout: str | None = None, timeout: float = 120.0) -> None:
        """Take the command, the layout of the weights, and how many seconds one call may take."""
        self._command, self._timeout = command, timeout
        self.name, self.layout = command.name, Form(layout or "canonical").layout
        self._temporary = tempfile.TemporaryDirectory(prefix="lockstep-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self._serving: Serving | None = None
        self._called_now: Started | None = None
        self._calls = 0

    def close(self) -> None:
        """End the process, whatever it is at, with all that it started."""
        for process in (self._serving, self._called_now):
            if process is not None:
                process.close()
        self._temporary.cleanup()

    def _answers(self, problems: Sequence[AnyProblem]) -> tuple[list[Outcome], Outcome | None]:
        """Have problems answered until one ends the process: the outcomes, and that of the one which did."""
        answered: list[Outcome] = []
        for problem in problems:
            try:
                outcome = run_in_pieces(problem, self._answer)
            except OSError as error:  # the disk is full, or the system does not start such a file
                return answered, Outcome("failed", message=f"it could not be asked: {error}")
            if outcome.status in {"crashed", "timeout"}:
                return answered, outcome
            answered.append(outcome)
        return answered, None

    def _answer(self, problem: AnyProblem) -> Outcome:
        """Have one problem answered; every way to fail is an outcome, but that files cannot be written."""
        self._calls += 1
        # Names of their own: an answer of the call before is none to this one.
        paths = [self._folder / f"{name}-{self._calls}.safetensors" for name in ("problem", "answer")]
        try:
            write_problem(paths[0], problem, self.layout)
            files = _Files(*paths, written=paths[0].stat().st_mtime_ns)
            started = perf_counter()
            outcome = self._served(files) if self._command.serves else self._called(files)
            outcome = replace(outcome, seconds={"run": perf_counter() - started})
            return self._with_answer(outcome, files, problem) if outcome.status == "ran" else outcome
        except UserCodeError as error:
            return error.outcome
        finally:
            for path in self._folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _with_answer(self, outcome: Outcome, files: _Files, problem: AnyProblem) -> Outcome:
        """The outcome of a program that has ended well, with what it answered."""
        if not files.answer.is_file():
            said = "says ok" if self._command.serves else "ended with exit status 0"
            return replace(outcome, status="failed", message=f"it {said} and wrote no answer: {self._missing(files)}")
        try:
            returned = read_answer(files.answer, problem, self.layout)
        except UserCodeError as error:
            return replace(outcome, status=error.outcome.status, message=error.outcome.message)
        notes = (*outcome.notes, *returned.notes)
        return replace(outcome, value=returned.trace, stderr=None, notes=notes, conversions=tuple(returned.conversions))

    def _missing(self, files: _Files) -> str:
        """What there is in the place of an answer."""
        if files.problem.exists() and files.problem.stat().st_mtime_ns != files.written:
            return "it wrote to the file of the problem instead: are the two paths exchanged?"
        astray = [path.name for path in self._folder.iterdir() if path not in {files.problem, files.answer}]
        astray += [path.name for path in Path().glob("*.safetensors") if path.stat().st_mtime_ns >= files.written]
        place = "the second path of its line" if self._command.serves else "{answer}"
        wrote = f"; {', '.join(sorted(astray))} was written" if astray else ""
        return f"there is no file at {place}{wrote}"

    def _called(self, files: _Files) -> Outcome:
        """Call the program once."""
        words = self._command.with_paths(files.problem, files.answer)
        with Started(words, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
            self._called_now = process
            try:
                status = process.wait(self._timeout)
            except TimeoutError:
                process.end()
                return Outcome(
                    "timeout", message=f"not done after {self._timeout:g} s", stderr=process.printed() or None
                )
            notes = ("it left processes behind, which were ended",) if process.end() else ()
            printed = process.printed()
        return replace(_outcome_of(status, printed), notes=notes)

    def _served(self, files: _Files) -> Outcome:
        """Ask the program that serves, which is started where none is."""
        if self._serving is None:
            self._serving = Serving(self._command.words)
        try:
            line = self._serving.ask(f"{files.problem}\t{files.answer}", self._timeout)
        except TimeoutError:
            hint = ", though its answer is there: is the line flushed?" if files.answer.exists() else ""
            message = f'no line "ok" after {self._timeout:g} s{hint}'
            return Outcome("timeout", message=message, stderr=self._stop() or None)
        if line is None:
            message = f"{self._death()} before it answered"
            return Outcome("crashed", message=message, stderr=self._stop() or None)
        word, _, text = line.partition(" ")
        if line == "ok":
            return Outcome("ran", stderr=self._serving.printed() or None)
        if word in {"error", "unsupported"}:
            status = "failed" if word == "error" else word
            said = f"it answered {word}{': ' if text else ' without a reason'}{text}"
            message = text if text and word == "unsupported" else said
            return Outcome(status, None, message, self._serving.printed() or None, raised=word == "error")
        message = (
            f'it wrote "{line[:MOST_TEXT]}" where "ok", "error TEXT" or "unsupported TEXT" is expected: what else it '
            "prints goes to standard error"
        )
        return Outcome("crashed", message=message, stderr=self._stop() or None)

    def _death(self) -> str:
        """How the program that served has ended."""
        assert self._serving is not None
        try:
            return death_of(self._serving.wait(GRACE))
        except TimeoutError:
            return "it closed its standard output"

    def _stop(self) -> str:
        """End the program that serves, if one does; the end of what it printed."""
        if self._serving is None:
            return ""
        serving, self._serving = self._serving, None
        serving.end()
        return serving.printed()


def _outcome_of(status: int, printed: str) -> Outcome:
    """What a program that has ended came to, by its exit status, before its answer is read."""
    lines = printed.strip().splitlines()
    last, stderr = "".join(lines[-1:]), printed or None
    if status == 0:
        return Outcome("ran", stderr=stderr)
    if status < 0:
        return Outcome("crashed", message=death_of(status), stderr=stderr)
    if status == UNSUPPORTED_STATUS:
        return Outcome("unsupported", message=last or "it says so, by exit status 77")
    killed = {_KILLED + number.value: number.name for number in Signals}
    hint = f", as of a shell whose program was killed by {killed[status]}" if status in killed else ""
    message = f"it ended with exit status {status}{hint}{': ' if last else ''}{last}"
    # One line is in the message already.
    return Outcome("failed", message=message, stderr=stderr if len(lines) > 1 else None, raised=not hint)
