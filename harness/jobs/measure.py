"""The anatomy of what a target names, a port or a backend: each as a black box that answers problems."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy, anatomy
from lockstep.harness.diagnosis.anatomy.black_box import Reach
from lockstep.harness.errors import BackendError, LockstepError, unknown
from lockstep.harness.ports.port import LocalPort, Port


def anatomy_of(target: str, *, layout: str, arrays: str, timeout: float) -> Anatomy:
    """The measured conventions of a port, FILE.py:FUNCTION, or of a backend.

    Raises:
        LockstepError: If there is no such file, function or backend, or it answers nothing.
    """
    if ".py" in target or ":" in target or "/" in target:  # no backend's name has any of these
        with Port(parse_target(target), layout=layout, arrays=arrays, timeout=timeout) as port:
            return _measured(PortBlackBox(port))
    backends = {backend.name: backend for backend in find_backends()}
    if target not in backends:
        raise BackendError(unknown("backend", target, backends) + " A port is written FILE.py:FUNCTION.")
    backend = backends[target]
    if backend.model != "lstm":
        raise BackendError(f"{target} runs attention decoders, but anatomy measures the conventions of an LSTM.")
    missing = backend.missing()
    if missing is not None:
        raise BackendError(f"{target}: {missing}")
    with Worker(backend.environment, timeout) as worker:
        return _measured(BackendBlackBox(backend, worker))


def _measured(black_box: PortBlackBox | BackendBlackBox) -> Anatomy:
    """The anatomy of a black box, unless it never answered."""
    measured = anatomy(black_box)
    messages = [outcome.message for outcome in black_box.last]
    # A port that failed at every call has no conventions: its own message says more than "undecided".
    if not measured.proved and messages and all(messages):
        raise LockstepError(f"{measured.subject} gave no answer: {messages[0]}")
    return measured


class PortBlackBox:
    """A user's port."""

    def __init__(self, port: Port | LocalPort, *, calls: int | None = None) -> None:
        """Ask this port: ``calls`` times at most, and none twice for one question; None is once for each question."""
        self.name, self.layout, self.reach = port.name, port.layout, Reach()
        self._port, self._left = port, calls
        self._known: dict[str, Arrays | None] = {}
        self.refused: set[str] = set()  # questions, by digest, that were more than the calls that were left
        self.last: list[Outcome] = []

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """Call the port once for each problem; questions that are too many together have no answer."""
        if self._left is None:
            return self._called(problems)
        new = {problem.digest: problem for problem in problems if problem.digest not in self._known}
        if len(new) > self._left:  # half of a question's calls would measure nothing
            self.refused |= new.keys()
            return [None] * len(problems)
        self._left -= len(new)
        self._known |= dict(zip(new, self._called(list(new.values())), strict=True))
        return [self._known[problem.digest] for problem in problems]

    def _called(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        self.last = self._port.call(problems)
        return [None if outcome.trace is None else outcome.trace.tensors() for outcome in self.last]


class BackendBlackBox:
    """A backend, in a worker."""

    def __init__(self, backend: BackendInfo, worker: Worker) -> None:
        """Ask this backend, which the worker serves."""
        self.name, self.layout, self.reach = backend.name, "canonical", Reach()
        self._backend, self._worker = backend, worker
        self.last: list[Outcome] = []

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """Run the backend once for each problem."""
        self.last = [self._worker.run(self._backend, problem) for problem in problems]
        return [None if outcome.trace is None else _h_and_c(outcome.trace.tensors()) for outcome in self.last]


def _h_and_c(tensors: Arrays) -> Arrays:
    """The tensors without gates; over one timestep the final c is the c of every timestep."""
    without_gates = {name: array for name, array in tensors.items() if name not in GATES}
    if "c" not in without_gates and "c_n" in without_gates and "h" in without_gates and len(without_gates["h"]) == 1:
        without_gates["c"] = without_gates["c_n"][None]
    return without_gates


def tensors_of_calls(port: Port | LocalPort, problems: Sequence[AnyProblem]) -> list[Arrays | None]:
    """What a port returns for problems of any form, by lane; None where it gave nothing."""
    outcomes = port.call(problems)
    return [
        None if outcome.trace is None else outcome.trace.tensors(problem.case)
        for problem, outcome in zip(problems, outcomes, strict=True)
    ]
