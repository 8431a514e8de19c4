"""Have a port or a backend, whichever a target names, asked."""

from __future__ import annotations

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy, anatomy
from lockstep.harness.diagnosis.anatomy.black_box import BackendSubject, PortSubject
from lockstep.harness.errors import BackendError, LockstepError, unknown
from lockstep.harness.ports.port import Port
from lockstep.harness.weights.dialects import TWO_BIASES


def anatomy_of(target: str, *, layout: str, arrays: str, timeout: float) -> Anatomy:
    """Measure the dialect of a port, FILE.py:FUNCTION, or of a backend.

    Raises:
        LockstepError: If there is no such file, function or backend, or it answers nothing.
    """
    if ".py" in target or ":" in target or "/" in target:
        with Port(parse_target(target), layout=layout, arrays=arrays, timeout=timeout) as port:
            subject = PortSubject(port, two_biases=layout in TWO_BIASES)
            found = anatomy(subject)
            _check_answers(found, [reply.message for reply in subject.last])
            return found
    backends = {backend.name: backend for backend in find_backends()}
    if target not in backends:
        raise BackendError(unknown("backend", target, backends) + " A port is written FILE.py:FUNCTION.")
    backend = backends[target]
    if backend.model != "lstm":
        raise BackendError(f"{target} runs attention decoders; what is measured are the conventions of an LSTM.")
    missing = backend.missing()
    if missing is not None:
        raise BackendError(f"{target}: {missing}")
    with Worker(backend.environment, timeout) as worker:
        subject = BackendSubject(backend, worker)
        found = anatomy(subject)
        _check_answers(found, [answer.message for answer in subject.last])
        return found


def _check_answers(found: Anatomy, messages: list[str | None]) -> None:
    """Refuse a table of something that never answered."""
    if not found.proved and messages and all(messages):
        raise LockstepError(f"{found.subject} gave no answer: {messages[0]}")
