"""The anatomy of what a target names, a port or a backend: each as a black box that answers problems."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from typing import get_args

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_code import Target, parse_target
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, ContextUse, Run, Score
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy, anatomy
from lockstep.harness.diagnosis.anatomy.black_box import Reach
from lockstep.harness.diagnosis.anatomy.lane_box import measurable
from lockstep.harness.diagnosis.anatomy.lanes import MeasuredNetwork, NetworkAnatomy, network_anatomy
from lockstep.harness.errors import BackendError, LockstepError, unknown
from lockstep.harness.ports.port import AnyPort, Port, is_decoder_port

# Forms in which a decoder's port is asked: scores, and where the context goes.
DECODER_FORMS = tuple(product(get_args(Score), get_args(ContextUse)))

# Forms in which a port is asked that takes no plain layer, by one call each: the first that it answers is measured.
FORMS = (
    {"num_layers": 2, "direction": "bidirectional"}, {"num_layers": 2}, {"direction": "bidirectional"},
    {"direction": "reverse"}, {"proj_size": 3}, {"peephole": True}, {"cell_clip": 0.5},
    {"num_layers": 2, "proj_size": 3}, {"proj_size": 3, "peephole": True, "cell_clip": 0.5},
)  # fmt: skip


def anatomy_of(
    target: str, *, layout: str | None, arrays: str | None, timeout: float, case: str | None = None
) -> Anatomy | NetworkAnatomy:
    """The measured conventions of a port, FILE.py:FUNCTION, or of a backend.

    ``case`` names a case of the form in which a port is measured: by default one plain layer, or, for a port that gives
    nothing for that, the first of ``FORMS`` for which it gives something.

    Raises:
        LockstepError: If there is no such file, function, backend or case, or it answers nothing.
    """
    if ".py" in target or ":" in target or "/" in target:  # no backend's name has any of these
        with Port(parse_target(target), layout=layout, arrays=arrays, timeout=timeout) as port:
            return anatomy_of_port(port, *_form_of(port, parse_target(target), case))
    if case is not None:
        raise LockstepError("--case is for ports: a backend is measured as one plain layer.")
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


def anatomy_of_port(port: AnyPort, lstm: LSTM, decoder: AttentionDecoder | None = None) -> Anatomy | NetworkAnatomy:
    """The measured conventions of a port, asked for networks, or decoders, of a form.

    Raises:
        LockstepError: If it answers nothing, or the form has conventions that are not measured.
    """
    if lstm.plain and decoder is None:
        return _measured(PortBlackBox(port))
    if measurable(lstm):
        raise LockstepError(f"{port.name} is not measured over that case: {measurable(lstm)}.")
    network = MeasuredNetwork(lambda problems: tensors_of_calls(port, problems), lstm, port.name, port.layout, decoder)
    measured = network_anatomy(network)
    reasons = [lane.left_out for lane in measured.lanes]
    if all(reasons):
        raise LockstepError(f"No lane of {port.name} can be measured: {reasons[0]}.")
    return measured


def _form_of(port: Port, target: Target, case: str | None) -> tuple[LSTM, AttentionDecoder | None]:
    """The form in which a port is measured: a case's, or the first that it answers."""
    if case is not None:
        asked = find_cases([case])[0].case
        return asked.lstm, asked.attention_decoder
    plain = LSTM(input_size=3, hidden_size=4)
    forms: list[tuple[LSTM, AttentionDecoder | None]] = [(plain, None)]
    if is_decoder_port(target):
        forms = [
            (plain, AttentionDecoder(source_timesteps=5, score=score, context=context))
            for score, context in DECODER_FORMS
        ]
    else:
        forms += [(LSTM(input_size=3, hidden_size=4, **form), None) for form in FORMS]  # type: ignore[arg-type]
    return next((form for form in forms if _answers(port, *form)), forms[0])


def _answers(port: Port, lstm: LSTM, decoder: AttentionDecoder | None) -> bool:
    run = Run(timesteps=2, batch=2, initial_state="probe")
    problem = problem_of(Case(lstm=lstm, run=run, attention_decoder=decoder, name="form"))
    return port.call([problem])[0].trace is not None


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

    def __init__(self, port: AnyPort, *, calls: int | None = None, until: int = sys.maxsize) -> None:
        """Ask this port, and none twice for one question.

        Args:
            port: What is called.
            calls: How often at most; None: once for each question.
            until: How often in all, whoever else calls it.
        """
        self.name, self.layout, self.reach = port.name, port.layout, Reach()
        self._port, self._left, self._until = port, calls, until
        self._known: dict[str, Arrays | None] = {}
        self.refused: set[str] = set()  # questions, by digest, that were more than the calls that were left
        self.last: list[Outcome] = []

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """Call the port once for each problem; questions that are too many together have no answer."""
        if self._left is None:
            return self._called(problems)
        # Measurements ask some questions again; a call of a port may take a second.
        new = {problem.digest: problem for problem in problems if problem.digest not in self._known}
        # Half of a question's calls would measure nothing.
        if len(new) > min(self._left, self._until - self._port.calls):
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


class LimitedCalls:
    """A port of any form that is called so often at most; questions that are too many together have no answer."""

    def __init__(self, port: AnyPort, calls: int, until: int = sys.maxsize) -> None:
        """Take a port, how often it is called, and how often in all, whoever else calls it."""
        self._port, self._left, self._until = port, calls, until

    def __call__(self, problems: Sequence[AnyProblem]) -> list[Arrays | None]:
        """What it returns for problems, by lane."""
        # Half of a question's calls would measure nothing.
        if len(problems) > min(self._left, self._until - self._port.calls):
            return [None] * len(problems)
        self._left -= len(problems)
        return tensors_of_calls(self._port, problems)


def tensors_of_calls(port: AnyPort, problems: Sequence[AnyProblem]) -> list[Arrays | None]:
    """What a port returns for problems of any form, by lane; None where it gave nothing."""
    outcomes = port.call(problems)
    return [
        None if outcome.trace is None else outcome.trace.tensors(problem.case)
        for problem, outcome in zip(problems, outcomes, strict=True)
    ]
