"""A worker process as its parent sees it: it runs problems, and survives what they do to it."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

from lockstep.harness.adapters import backend_process as serve
from lockstep.harness.adapters.backend import BackendInfo, by_worker
from lockstep.harness.adapters.outcome import Outcome, end_of
from lockstep.harness.adapters.processes.child import POLL, Child, ChildDiedError
from lockstep.harness.adapters.processes.parcel import Exchange, Parcel
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem

# Importing a framework is no part of a run: on a busy machine it has been seen to take half a minute.
IMPORT_TIMEOUT = 300.0
# How long a process has, once its time is up, to say where it hangs.
GRACE = 1.0


def quiet_environment(*wanted: tuple[str, str], legacy_keras: bool = False) -> tuple[tuple[str, str], ...]:
    """What a process that runs a user's code has in its environment, where the user's own does not say otherwise."""
    keras = (("TF_USE_LEGACY_KERAS", "1"),) if legacy_keras else ()
    variables = (("TF_CPP_MIN_LOG_LEVEL", "3"), *keras, *wanted)
    return tuple((name, value) for name, value in variables if name not in os.environ)


class Closing:
    """What a ``with`` block closes at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End nothing, where there is nothing to end."""


class Process(Closing):
    """One worker process, started when it is first needed; one that dies or hangs is replaced by a fresh one."""

    def __init__(self, environment: tuple[tuple[str, str], ...]) -> None:
        """Start nothing yet; the process will have these environment variables."""
        # Arrays of an answer may outlive it, and where they lie is not to be removed everywhere.
        self._temporary = tempfile.TemporaryDirectory(prefix="lockstep-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "log"
        self._log = str(self.log)
        self._environment = environment
        self.exchange = Exchange(str(self.folder / "answer"))
        self._unheard = count()
        self.place = self._new_place()  # a file that the process has free
        self._child: Child | None = None
        self._closing, self._closed = threading.Lock(), False
        self.replaced = 0  # how often: a fresh process has imported nothing yet

    def begin(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Have a function called there, whose answer the next ``finish`` waits for; the process is started for it."""
        if self._log_size():
            # Cut, not removed: the process has it open as its stdout.
            os.truncate(self.log, 0)
        with self._closing:
            if self._closed:
                return  # whoever waits for the answer is told
            if self._child is not None and not self._child.alive:
                self._end()  # it died between two calls, of something that the last one left behind
            if self._child is None:
                self._child = Child(serve.start, self._environment, str(self.log))
            self._child.send(function, arguments)

    def call(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        timeout: float,
        watch: Callable[[], None] | None = None,
    ) -> Any:
        """Call a function there; every way to fail is an answer, none an exception.

        It has ``timeout`` seconds, and a moment on top to say where it hangs; or in their place ``watch`` is asked
        again and again whether the call is still well, and raises TimeoutError or ChildDiedError if not.

        Returns:
            What the function gave, parcels unpacked; or an Outcome: "failed", "timeout", "crashed".
        """
        return self.finish(timeout, watch, lambda: self.begin(function, arguments))

    def finish(
        self, timeout: float, watch: Callable[[], None] | None = None, begin: Callable[[], None] = lambda: None
    ) -> Any:
        """The answer of what was begun, or is begun now; the rest as of ``call``."""
        try:
            begin()
            answer = self._received(timeout, watch)
            if isinstance(answer, Parcel):
                self.place, answer = answer.reply, self.exchange.unpack(answer)
        except TimeoutError:
            if watch is None:
                self._ask_where()
            answer = Outcome("timeout", message=f"not done after {timeout:g} s")
        except ChildDiedError as error:
            if self._closed:
                answer = Outcome("failed", message="the run was ended before it was done")
            else:
                code = error.exitcode
                answer = Outcome("crashed", message=death_of(code), exited=code is not None and code >= 0)
        except Exception as error:  # noqa: BLE001 (an object of somebody else's may raise anything while it is unpickled)
            answer = Outcome("failed", message=f"its answer could not be sent: {error}")
            self.place = self._new_place()  # it did not say which it holds
        if isinstance(answer, Outcome) and answer.status in {"timeout", "crashed", "failed"}:
            answer = answer.with_printed(end_of(self.log) if self.log.exists() else "")
            if answer.status != "failed":
                with self._closing:
                    self._end()
        return answer

    def close(self) -> None:
        """End the process, whatever it is at; a call it is at is answered as failed."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._end()
                self._temporary.cleanup()

    def _log_size(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._log).st_size  # noqa: PTH116 (asked before each call: a third of the time)
        return 0

    def _new_place(self) -> str:
        return str(self.folder / f"new{next(self._unheard)}")

    def _ask_where(self) -> None:
        """Have the log told where the process hangs."""
        child, before = self._child, self.log.stat().st_size
        if child is not None and child.ask_where():
            until = time.monotonic() + GRACE
            while self.log.stat().st_size == before and time.monotonic() < until:
                time.sleep(POLL / 10)
            time.sleep(POLL)  # it takes a moment to write

    def _end(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
            self.replaced += 1

    def _received(self, timeout: float, watch: Callable[[], None] | None) -> Any:
        child = self._child  # another thread may close this at any time
        if child is None:
            raise ChildDiedError(None)
        while True:
            try:
                return child.receive(timeout if watch is None else POLL)
            except TimeoutError:
                if watch is None:
                    raise
                watch()


class _Run(NamedTuple):
    backend: BackendInfo
    problem: AnyProblem
    replaced: int  # in which of the processes
    arguments: tuple[Any, ...]


class Worker(Closing):
    """One process that serves the backends of one framework, started when it is first needed.

    A process that dies or hangs is replaced; only the run it was at is lost.
    """

    def __init__(self, environment: tuple[tuple[str, str], ...], timeout: float) -> None:
        """Serve with these environment variables and ``timeout`` seconds for a run."""
        self._timeout = timeout
        self._process = Process(environment)
        self._loaded: set[tuple[BackendInfo, int]] = set()  # and by which of the processes
        self._ran: _Run | None = None  # the last one, if it went well
        self._importing: BackendInfo | None = None  # which nobody waits for yet

    def begin(self, backend: BackendInfo) -> None:
        """Have it import a backend, and do not wait: whoever asks for something first does."""
        if backend.missing() is None:
            self._process.begin(serve.load, (backend.module,))
            self._importing = backend

    def close(self) -> None:
        """End the process, whatever it is at; a run it is at is answered as failed."""
        self._process.close()

    def run(self, backend: BackendInfo, problem: AnyProblem) -> Outcome:
        """Run a problem through a backend; every way to fail is an answer, none an exception."""
        last, replaced, reply = self._ran, self._process.replaced, self._process.exchange.free()
        # Backends that run the same problem, one after the other, are sent it once.
        if last is not None and (last.problem is not problem or last.replaced != replaced):
            last = None
        if last is not None and last.backend is backend and last.arguments[-1] == reply and self._importing is None:
            return self._answer(last)
        loading = self.load(backend)
        if loading.status != "ran":
            return loading
        try:
            sent = reply if last is not None else self._process.exchange.pack(problem, self._process.place)
        except OSError as error:
            return Outcome("failed", message=f"the problem could not be sent: {error}")
        arguments = (backend.module, backend.requires, sent)
        answer = self._answer(_Run(backend, problem, self._process.replaced, arguments))
        return replace(answer, seconds={**loading.seconds, **answer.seconds}) if loading.seconds else answer

    def _answer(self, run: _Run) -> Outcome:
        answer = self._process.call(serve.run, run.arguments, self._timeout)
        # What failed may have written into them.
        self._ran = run if answer.status == "ran" else None
        return answer

    def ask(self, backend: BackendInfo, cases: list[Case]) -> tuple[dict[str, str], list[str | None]] | Outcome:
        """Ask for versions, and for the reasons against each of several cases.

        Returns:
            Versions by module and reasons, None where a case is supported; an Outcome if it could not be asked.
        """
        loading = self.load(backend)
        if loading.status != "ran":
            return loading
        return self._process.call(serve.ask, (backend.module, backend.requires, cases), self._timeout)

    def megabytes(self) -> float | None:
        """The memory that the process has now; None where the system does not tell, or it runs no more."""
        answer = self._process.call(serve.resident_megabytes, (), self._timeout)
        return answer if isinstance(answer, float) else None

    def load(self, backend: BackendInfo) -> Outcome:
        """Import a backend there, once; a run does so too. The first time tells seconds and megabytes."""
        if self._importing is not None:
            begun, self._importing = self._importing, None
            answer = self._loaded_now(begun, self._process.finish(IMPORT_TIMEOUT))
            if begun == backend:
                return answer
        if (backend, self._process.replaced) in self._loaded:
            return Outcome("ran")
        missing = backend.missing()
        if missing is not None:
            return Outcome("unsupported", message=missing)
        return self._loaded_now(backend, self._process.call(serve.load, (backend.module,), IMPORT_TIMEOUT))

    def _loaded_now(self, backend: BackendInfo, answer: Outcome) -> Outcome:
        if answer.status == "ran":
            self._loaded.add((backend, self._process.replaced))
        return answer


class WorkerGroup(Closing):
    """The workers of a request, one for each framework."""

    def __init__(self, timeout: float, jobs: int) -> None:
        """Serve ``jobs`` frameworks at once, with ``timeout`` seconds for a run."""
        self.jobs = jobs
        self._timeout = timeout
        self._by_key: dict[Hashable, Worker] = {}

    def begin(self, backends: Iterable[BackendInfo]) -> None:
        """Have the first frameworks imported while other things are done, such as reading cases."""
        for group in by_worker(backends)[: self.jobs]:
            if group[0].worker not in self._by_key:
                self.of(group[0]).begin(group[0])

    def of(self, backend: BackendInfo) -> Worker:
        """The worker that serves a backend."""
        if backend.worker not in self._by_key:
            self._by_key[backend.worker] = Worker(backend.environment, self._timeout)
        return self._by_key[backend.worker]

    def close(self) -> None:
        """End all processes."""
        for worker in list(self._by_key.values()):
            worker.close()


def death_of(exitcode: int | None) -> str:
    """What a process died of, by its exit status: a signal below zero, None where nobody knows it."""
    if exitcode is not None and exitcode < 0:
        known = {number.value: number.name for number in signal.Signals}
        name = known.get(-exitcode, f"signal {-exitcode}")  # of real time signals two have names
        memory = " (often: out of memory)" if -exitcode == signal.SIGKILL else ""
        return f"its process was killed by {name}{memory}"
    if exitcode is None:
        return "its process died"
    return f"its process ended with exit status {exitcode}"
