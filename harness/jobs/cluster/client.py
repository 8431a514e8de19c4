"""Run a campaign's tasks on a Dask cluster.

A worker that is lost costs what it had in hand, which Dask runs elsewhere; a scheduler that is lost ends the campaign,
with all that was done in the journal.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lockstep.harness.adapters.worker import Closing
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.tasks import Answer, Task
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.cluster.alike import backends_of, check_alike, facts_of

if TYPE_CHECKING:
    from distributed import Client  # type: ignore[import-not-found] (an extra)

CONNECT_SECONDS = 15.0
WORKERS_SECONDS = 60.0  # that a campaign waits for a worker where there is none
AHEAD = 2  # tasks for each thread: the next one is there when one is done


def connect(address: str) -> Client:
    """A client of the scheduler at an address.

    Raises:
        LockstepError: If Dask is not installed here, or nothing answers there.
    """
    try:
        from distributed import Client  # type: ignore[import-not-found]
    except ImportError as error:
        raise LockstepError("distributed is not installed: pip install 'lockstep-rnn[cluster]'") from error
    for name in ("distributed", "distributed.client"):  # what it would say is told in our own words
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="lockstep")
    except (OSError, TimeoutError, ValueError) as error:
        raise LockstepError(
            f"no Dask scheduler answers at {address}: {error}. Start one with `dask scheduler`, and give the address "
            "that it prints."
        ) from error


class ClusterLostError(LockstepError):
    """The scheduler is gone, or has no workers."""


class Workers(Closing):
    """The workers of a Dask cluster, each of which keeps the frameworks of a campaign warm."""

    def __init__(self, campaign: Campaign, address: str, *, allow_mixed: bool = False) -> None:
        """Connect, and prepare the workers.

        Raises:
            LockstepError: If nothing answers, or the workers are not alike.
        """
        self._client, self._address = connect(address), address
        self._name = f"lockstep-{uuid4().hex}"
        self._futures: dict[int, Any] = {}
        self._arrived: SimpleQueue[int] = SimpleQueue()
        self._looked, self._threads, self._manned = 0.0, 0, time.monotonic()
        try:
            self._prepare(campaign, allow_mixed=allow_mixed)
        except BaseException:
            self._client.close()
            raise

    def _prepare(self, campaign: Campaign, *, allow_mixed: bool) -> None:
        from lockstep.harness.jobs.cluster.there import WarmHands

        with contextlib.suppress(TimeoutError):
            self._client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        names = backends_of(campaign)
        facts: Any = self._client.run(facts_of, names, on_error="return")
        check_alike(facts, facts_of(names), allow_mixed=allow_mixed)
        expected = None if allow_mixed else next(iter(facts.values()))
        self._client.register_plugin(WarmHands(self._name, campaign, expected))

    @property
    def threads(self) -> int:
        """How many tasks run at the same time: workers may come and go."""
        now = time.monotonic()
        if now - self._looked > 1:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
            self._threads = sum(worker["nthreads"] for worker in workers.values())
            self._looked = now
            self._manned = now if self._threads else self._manned
        return self._threads

    def start(self, number: int, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a function called in some worker, with the name under which it finds what is warm there."""
        key = f"{self._name}-{number}"
        future = self._client.submit(function, self._name, *arguments, pure=False, key=key)
        self._futures[number] = future
        future.add_done_callback(lambda _: self._arrived.put(number))

    def ended(self, timeout: float) -> list[tuple[int, Any]]:
        """The answers that came since the last call, by number; a text where workers were lost over it, each time.

        Waits for a first one, at most so many seconds.

        Raises:
            ClusterLostError: If the scheduler is gone, or has had no workers for long.
            LockstepError: If something raised that nobody expected.
        """
        numbers: list[int] = []
        with contextlib.suppress(Empty):
            numbers.append(self._arrived.get(timeout=timeout))
            while True:
                numbers.append(self._arrived.get_nowait())
        self._check()
        return [(number, self._answer(number)) for number in numbers]

    def _answer(self, number: int) -> Any:
        from distributed import KilledWorker  # type: ignore[import-not-found]

        future = self._futures.pop(number)
        try:
            return future.result(timeout=WORKERS_SECONDS)
        except KilledWorker as error:
            return f"{error.allowed_failures + 1} workers of the cluster ended at it"
        except Exception as error:
            self._check()
            raise LockstepError(f"a worker of the cluster failed: {type(error).__name__}: {error}") from error
        finally:
            future.release()

    def _check(self) -> None:
        if self._client.status != "running":
            raise ClusterLostError(f"the Dask scheduler at {self._address} is gone.")
        if not self.threads and time.monotonic() - self._manned > WORKERS_SECONDS:
            raise ClusterLostError(
                f"the Dask scheduler at {self._address} has had no worker for {WORKERS_SECONDS:.0f} s."
            )

    def close(self) -> None:
        """Let go of all that runs, and end what workers keep warm."""
        with contextlib.suppress(Exception):  # the scheduler may go at any moment, and has then nothing to end
            if self._client.status == "running":
                self._client.cancel(list(self._futures.values()), force=True)
                self._client.unregister_worker_plugin(self._name)
            self._client.close(timeout=CONNECT_SECONDS)


class ClusterExecutor(Closing):
    """The tasks of a campaign, carried out by the workers of a cluster."""

    def __init__(self, campaign: Campaign, address: str, *, allow_mixed: bool = False) -> None:
        """Connect, as ``Workers`` does."""
        self._workers = Workers(campaign, address, allow_mixed=allow_mixed)

    @property
    def capacity(self) -> int:
        """Tasks that are worth having in hand at once."""
        return max(1, AHEAD * self._workers.threads)

    def submit(self, task: Task) -> None:
        """Have a task run."""
        from lockstep.harness.jobs.cluster.there import carry_out

        self._workers.start(task.number, carry_out, task)

    def answers(self, timeout: float) -> list[Answer]:
        """What has come since the last call; waits for a first one, at most so many seconds."""
        try:
            ended = self._workers.ended(timeout)
        except LockstepError as error:
            return [Answer(number=-1, fatal=str(error))]
        return [
            answer
            for number, answers in ended
            for answer in ([Answer(number=number, done=True, lost=answers)] if isinstance(answers, str) else answers)
        ]

    def close(self) -> None:
        """Let go of the workers."""
        self._workers.close()
