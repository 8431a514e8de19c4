"""Run cases through backends, each framework in a worker of its own, and judge what they give."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.harness.adapters.backend import BackendInfo, by_worker, pairs
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.worker import Worker, WorkerGroup
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.info import case_info
from lockstep.harness.comparison.results import Limit, Results, RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.judge_run import Judge, measurable
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.settings import JOBS, TIMEOUT
from lockstep.harness.reference.exact import description
from lockstep.harness.text import counted

if TYPE_CHECKING:
    from lockstep.harness.jobs.cache.store import TraceCache

MOST_WAITING = 2  # traces that wait to be judged
LARGE_TRACE = 2**24  # bytes, of those that are counted there
_Done = tuple[Case, BackendInfo, Outcome]
# Gives what came of runs, as they come: ``outcomes``, or a cluster.
OutcomeSource = Callable[[list[Case], list[BackendInfo], Problems, float], Iterator[tuple[Case, BackendInfo, Outcome]]]


def outcomes(
    cases: list[Case],
    backends: list[BackendInfo],
    problems: Problems,
    timeout: float = TIMEOUT,
    jobs: int = JOBS,
    cache: TraceCache | None = None,
    workers: WorkerGroup | None = None,
) -> Iterator[_Done]:
    """Run every case through every backend of its model, the frameworks side by side; outcomes as they come.

    ``jobs``: how many frameworks at once; a framework's process ends with its last case. ``cache``: where to look
    for what came of a run before, and to keep it. ``workers``: those that have begun already.
    """
    groups, workers = by_worker(backends), workers or WorkerGroup(timeout, jobs)
    if cache is None:
        workers.begin(backends)
    done = _Queue()
    waiting = deque((workers.of(group[0]), group) for group in groups)

    def serve_groups() -> None:
        try:
            while waiting:
                worker, group = waiting.popleft()  # the largest group first: it takes longest
                with worker:
                    for case, backend in pairs(cases, group):
                        done.put((case, backend, _outcome(worker, backend, case, problems, cache)))
        except BaseException as error:  # noqa: BLE001 (a fault of ours: whoever waits for the queue must hear of it)
            done.put(error)

    # Daemons: whoever presses Ctrl-C does not wait for a framework that hangs.
    threads = [threading.Thread(target=serve_groups, daemon=True) for _ in groups[: workers.jobs]]
    for thread in threads:
        thread.start()
    try:
        for _ in pairs(cases, backends):
            yield from done.next()
    finally:
        workers.close()  # a generator that nobody reads to its end still ends its processes
        done.room.release(len(threads))  # and nobody waits for it


class _Queue:
    """What came of runs and waits to be judged. Of large traces few do: the others wait where they were made."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Done | BaseException] = SimpleQueue()
        self.room = threading.Semaphore(MOST_WAITING)

    def put(self, done: _Done | BaseException) -> None:
        """Put in what is done, as soon as there is room."""
        if self._is_large(done):
            self.room.acquire()
        self._queue.put(done)

    def next(self) -> Iterator[_Done]:
        """The next, which is there until the iterator goes on; an exception is raised."""
        done = self._queue.get()
        if isinstance(done, BaseException):
            raise done
        yield done
        if self._is_large(done):
            self.room.release()

    def _is_large(self, done: _Done | BaseException) -> bool:
        trace = None if isinstance(done, BaseException) else done[2].trace
        return trace is not None and sum(array.nbytes for array in trace.arrays.values()) > LARGE_TRACE


def _outcome(worker: Worker, backend: BackendInfo, case: Case, problems: Problems, cache: TraceCache | None) -> Outcome:
    try:
        problem = problems.problem(case)
        kept = None if cache is None else cache.get(backend, problem)
        outcome = kept or worker.run(backend, problem)
    except (LockstepError, MemoryError) as error:
        return Outcome("failed", message=f"the problem could not be made: {error or 'out of memory'}")
    if cache is not None and not outcome.cached:
        cache.keep(backend, problem, outcome)
    return outcome


def run_cases(
    cases: list[Case],
    backends: list[BackendInfo],
    *,
    timeout: float = TIMEOUT,
    limit: float | Limit | None = None,
    jobs: int = JOBS,
    on_result: Callable[[RunResult], None] = lambda result: None,
    details: bool = False,
    cache: TraceCache | None = None,
    source: OutcomeSource | None = None,
) -> list[RunResult]:
    """Run every case, no two of one name, through every backend of its model, and judge what they give.

    Results come in the order of cases, then backends; an interruption from the keyboard ends the run early with those
    so far. ``timeout``: seconds for one run. ``jobs``: how many frameworks run at the same time. ``limit`` and
    ``details``: as of ``Judge``. ``cache``: where to look for traces first. ``source``: where
    runs are made if not by processes here.
    """
    from threadpoolctl import threadpool_limits

    problems = Problems()
    for case in cases:
        problems.check(case)
    judge = Judge(problems, limit, details=details)
    results: dict[tuple[str, str], RunResult] = {}
    wanted = [(case.name, backend.name) for case, backend in pairs(cases, backends)]
    left = Counter(case for case, _ in wanted)
    # The reference multiplies small matrices: more threads would only take the workers' time.
    with contextlib.suppress(KeyboardInterrupt), threadpool_limits(THREADS):
        here = partial(outcomes, jobs=jobs, cache=cache)
        for case, backend, outcome in (source or here)(cases, backends, problems, timeout):
            result = judge.judge(case, backend.name, outcome)
            results[case.name, backend.name] = result
            on_result(result)
            left[case.name] -= 1
            if not left[case.name]:
                problems.drop(case)  # the arrays of many cases would fill the memory
    listed = {backend.name for backend in backends if backend.listed}
    runs = judge.explain([results[key] for key in wanted if key in results])
    # lockstep anatomy takes no file of a model.
    return [measurable(run) if run.backend in listed else run for run in runs]


def results_of(cases: Iterable[Case], runs: list[RunResult], **facts: Any) -> Results:
    """The runs of cases, with what a report says of these and where they ran; ``facts``: what else to tell of that."""
    infos = {case.name: case_info(case) for case in cases}
    cached = sum(run.cached for run in runs)
    if cached:
        facts["cached"] = f"{cached} of {counted(len(runs), 'run')}"
    return Results(environment={**environment(), **facts}, runs=runs, cases=infos)


def environment() -> dict[str, Any]:
    """Where results come from: the command, when it ended, versions, machine, precision of the reference."""
    arguments = command()
    return {
        **({} if arguments is None else {"command": arguments}),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "lockstep": lockstep_version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "reference": {dtype: description(dtype) for dtype in ("float32", "float64")},
        "platform": _platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": THREADS,
    }


def _platform() -> str:
    """The system, its release, the machine and the C library; ``platform.platform`` would start a program for them."""
    return "-".join(filter(None, [platform.system(), platform.release(), platform.machine(), *platform.libc_ver()]))


def command() -> str | None:
    """The command line of this process, if it is one of ours or pytest's: a script's or a notebook's says nothing."""
    path = Path(sys.argv[0])
    program = path.parent.name if path.stem == "__main__" else path.stem  # python -m pytest
    return shlex.join([program, *sys.argv[1:]]) if program in {"lockstep", "pytest"} else None


def lockstep_version() -> str:
    """The version of this package; it may also run from a folder where nothing is installed."""
    try:
        return version("lockstep-rnn")
    except PackageNotFoundError:
        return "not installed"
