"""A worker process as its parent sees it: it runs problems, and survives what they do to it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any, Self

from pebble import ProcessExpired, ProcessPool

from lockstep.harness.adapters import backend_process as serve
from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.outcome import Outcome, end_of
from lockstep.harness.adapters.transfer import Parcel
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem

# Importing a framework is no part of a run: on a busy machine it has been seen to take half a minute.
IMPORT_TIMEOUT = 300.0
START_TIMEOUT = 60.0  # for the process itself, on top
# How long the worker has, after its own time-out, to say where it hangs.
GRACE = 1.0
POLL = 0.1  # seconds between two looks at a call that is watched

# One at a time: what ``_Popen`` patches is shared by all threads.
_SPAWNING = threading.Lock()


class _WithoutMain(SpawnProcess):
    """A spawned process that does not run the parent's script again: a script needs no main guard for us."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 (multiprocessing's name)
        with _SPAWNING:
            whole = spawn.get_preparation_data
            try:
                spawn.get_preparation_data = lambda name: {
                    key: value for key, value in whole(name).items() if not key.startswith("init_main")
                }
                return SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]  # noqa: SLF001
            finally:
                spawn.get_preparation_data = whole


class _Spawn(SpawnContext):
    """Spawn: a fork would carry the parent's threads and locks into the frameworks."""

    Process = _WithoutMain  # type: ignore[assignment]


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
        self._temporary = tempfile.TemporaryDirectory(prefix="lockstep-")
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "log"
        self._environment = environment
        self._pool = self._new_pool()
        self._running: Future[Any] | None = None
        self._closing, self._closed = threading.Lock(), False
        self.replaced = 0  # how often: a fresh process has imported nothing yet

    def call(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        timeout: float,
        watch: Callable[[], None] | None = None,
    ) -> Any:
        """Call a function there; every way to fail is an answer, none an exception.

        It has ``timeout`` seconds, and a moment on top to say where it hangs; or in their place ``watch`` is asked
        again and again whether the call is still well, and raises TimeoutError or ProcessExpired if not.

        Returns:
            What the function gave, parcels unpacked; or an Outcome: "failed", "timeout", "crashed".
        """
        if self.log.exists():
            # Cut, not removed: the process has it open as its stdout.
            os.truncate(self.log, 0)
        try:
            answer = self._result(function, arguments, timeout + GRACE, watch)
            if isinstance(answer, Parcel):
                answer = answer.unpack()
        except CancelledError:
            answer = Outcome("failed", message="the run was ended before it was done")
        except FutureTimeoutError:
            answer = Outcome("timeout", message=f"not done after {timeout:g} s")
        except (ProcessExpired, BrokenProcessPool) as error:
            code = getattr(error, "exitcode", None)
            answer = Outcome("crashed", message=death_of(code), exited=code is not None and code >= 0)
        except Exception as error:  # noqa: BLE001 (pebble hands on what the worker could not send)
            answer = Outcome("failed", message=f"its answer could not be sent: {type(error).__name__}: {error}")
        if isinstance(answer, Outcome) and answer.status in {"timeout", "crashed", "failed"}:
            answer = answer.with_printed(end_of(self.log) if self.log.exists() else "")
            if answer.status != "failed":
                self._replace()
        return answer

    def close(self) -> None:
        """End the process, whatever it is at; a call it is at is answered as failed."""
        with self._closing:
            if not self._closed:
                if self._running is not None:
                    self._running.cancel()  # stopping the pool alone leaves whoever waits for it waiting
                self._stop()
                self._temporary.cleanup()
            self._closed = True

    def _stop(self) -> None:
        self._pool.stop()
        self._pool.join()

    def _result(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float, watch: Callable[[], None] | None
    ) -> Any:
        if not self._pool.active:
            self._replace()  # it died between two calls, of something that the last one left behind
        future = self._pool.schedule(function, args=list(arguments), timeout=None if watch else timeout)
        self._running = future
        if watch is None:
            return future.result(timeout + START_TIMEOUT)
        while not wait([future], POLL).done:
            watch()
        return future.result()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(1, initializer=serve.start, initargs=(self._environment, str(self.log)), context=_Spawn())

    def _replace(self) -> None:
        """Start anew after a death. The pool too: an old one may hand the next run to the process it is killing."""
        with self._closing:
            if not self._closed:
                self._stop()
                self._pool = self._new_pool()
                self.replaced += 1


class Worker(Closing):
    """One process that serves the backends of one framework, started when it is first needed.

    A process that dies or hangs is replaced; only the run it was at is lost.
    """

    def __init__(self, environment: tuple[tuple[str, str], ...], timeout: float) -> None:
        """Serve with these environment variables and ``timeout`` seconds for a run."""
        self._timeout = timeout
        self._process = Process(environment)
        self._loaded: set[tuple[BackendInfo, int]] = set()  # and by which of the processes
        self._sent: tuple[AnyProblem, Parcel] | None = None

    def close(self) -> None:
        """End the process, whatever it is at; a run it is at is answered as failed."""
        self._process.close()

    def run(self, backend: BackendInfo, problem: AnyProblem) -> Outcome:
        """Run a problem through a backend; every way to fail is an answer, none an exception."""
        loading = self.load(backend)
        if loading.status != "ran":
            return loading
        try:
            # Backends that run the same problem, one after the other, get the same parcel.
            if self._sent is None or self._sent[0] is not problem:
                self._sent = problem, Parcel.pack(problem, self._process.folder / "problem")
        except OSError as error:
            return Outcome("failed", message=f"the problem could not be sent: {error}")
        arguments = (backend.module, backend.requires, self._sent[1], self._timeout, self._process.folder / "answer")
        answer = self._process.call(serve.run, arguments, self._timeout)
        return replace(answer, seconds={**loading.seconds, **answer.seconds}) if loading.seconds else answer

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
        if (backend, self._process.replaced) in self._loaded:
            return Outcome("ran")
        missing = backend.missing()
        if missing is not None:
            return Outcome("unsupported", message=missing)
        answer = self._process.call(serve.load, (backend.module,), IMPORT_TIMEOUT)
        if answer.status == "ran":
            self._loaded.add((backend, self._process.replaced))
        return answer


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
