"""What runs in the workers of a cluster. They need no nanny: what frameworks do, they do in processes of their own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import WorkerPlugin, get_worker  # type: ignore[import-not-found] (an extra)
from threadpoolctl import threadpool_limits
from tornado.ioloop import PeriodicCallback  # type: ignore[import-not-found]

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.jobs.campaign.hands import Hands
from lockstep.harness.jobs.campaign.tasks import Answer, Task
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.work import perform
from lockstep.harness.jobs.cluster.alike import Facts, backends_of, facts_of

# A client that died tells nobody: what its campaign kept warm ends by itself.
IDLE_SECONDS = 300.0
WARM_MEGABYTES = 700.0  # that a framework's process takes, to expect


class WarmHands(WorkerPlugin):
    """Frameworks' processes of one campaign, kept warm in a worker, also in one that joins later."""

    def __init__(self, name: str, campaign: Campaign, expected: Facts | None) -> None:
        """Start nothing yet. ``expected``: what a worker must have; anything goes if it is left out."""
        self.name, self._campaign, self._expected = name, campaign, expected

    def setup(self, worker: Any) -> None:
        """Prepare a worker."""
        # A nanny starts its worker as a daemon, which may have no children of its own.
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # noqa: SLF001
        threadpool_limits(THREADS)
        most = (worker.memory_manager.memory_limit or 2**35) / 1e6 / WARM_MEGABYTES
        self._hands = Hands(self._campaign, most_warm=max(worker.state.nthreads, int(most)))
        self._counting, self._at_work, self._last = threading.Lock(), 0, time.monotonic()
        self._watch = PeriodicCallback(self._rest, IDLE_SECONDS * 1000 / 4)
        self._watch.start()
        here = facts_of(backends_of(self._campaign)) if self._expected is not None else None
        self._stranger = None if here == self._expected else here

    def teardown(self, worker: Any) -> None:
        """End what is warm."""
        del worker
        self._watch.stop()
        self._hands.close()

    def _rest(self) -> None:
        if not self._at_work and time.monotonic() - self._last > IDLE_SECONDS:
            self._hands.close()  # who comes yet is given new ones

    def perform(self, task: Task) -> list[Answer]:
        """Carry out a task; all that comes of it."""
        if self._stranger is not None:
            told = ", ".join(f"{name} {version}" for name, version in self._stranger.items())
            return [Answer(number=task.number, fatal=f"a worker joined that is not as the others are: it has {told}.")]
        answers: list[Answer] = []
        with self._working():
            perform(task, self._hands, answers.append)
        return answers

    def run(self, backends: list[str], problem: AnyProblem) -> list[Outcome]:
        """Run a problem through backends of one framework."""
        with self._working(), self._hands.runner(backends[0]) as runner:
            return [runner.run(backend, problem) for backend in backends]

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self._counting:
            self._at_work += 1
        try:
            yield
        finally:
            with self._counting:
                self._at_work, self._last = self._at_work - 1, time.monotonic()


def carry_out(name: str, task: Task) -> list[Answer]:
    """Carry out a task of a campaign in the worker that this is called in."""
    return get_worker().plugins[name].perform(task)  # type: ignore[attr-defined]


def run_problems(name: str, backends: list[str], problem: AnyProblem) -> list[Outcome]:
    """Run a problem through backends of one framework in the worker that this is called in."""
    return get_worker().plugins[name].run(backends, problem)  # type: ignore[attr-defined]
