"""What a worker runs units with: frameworks' processes that stay warm, problems and what is expected of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.worker import Closing, Worker
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.jobs.campaign.target import PortRunner, open_port
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.problems import Problems

MOST_WARM = 24  # processes of frameworks that a worker keeps: each has some hundred megabytes
MOST_MEGABYTES = 2_500.0  # that a process may grow to: graphs that were compiled are never given back
NETWORKS_KEPT = 32  # of which expected values are kept for the backends that are still to come


class Runner(Protocol):
    """What runs problems in a process of its own, for one unit at a time."""

    def fitted(self, case: Case) -> Case:
        """The case as it can be given."""
        ...

    def reasons(self, backend: BackendInfo, cases: list[Case]) -> Sequence[str | None]:
        """The reasons against each of several cases; None where it is supported."""
        ...

    def run(self, backend: str, problem: AnyProblem) -> Outcome:
        """Run a problem; every way to fail is an answer."""
        ...

    def megabytes(self) -> float | None:
        """The memory that its process has now."""
        ...

    def close(self) -> None:
        """End its process."""
        ...


class BackendRunner:
    """The process of one framework, which runs its backends."""

    def __init__(self, info: BackendInfo, timeout: float) -> None:
        """Start nothing yet."""
        self._worker = Worker(info.environment, timeout)

    def fitted(self, case: Case) -> Case:
        """The case: a backend is given all of it, or refuses."""
        return case

    def reasons(self, backend: BackendInfo, cases: list[Case]) -> Sequence[str | None]:
        """The reasons against each of several cases; none where it could not be asked, which its runs will tell."""
        asked = self._worker.ask(backend, cases)
        if not isinstance(asked, Outcome):
            return asked[1]
        return [asked.message if asked.status == "unsupported" else None] * len(cases)

    def run(self, backend: str, problem: AnyProblem) -> Outcome:
        """Run a problem through one of its backends."""
        return self._worker.run(info_of(backend), problem)

    def megabytes(self) -> float | None:
        """The memory that its process has now."""
        return self._worker.megabytes()

    def close(self) -> None:
        """End the process."""
        self._worker.close()


@cache
def info_of(backend: str) -> BackendInfo:
    """What is known of a backend without importing it.

    Raises:
        LockstepError: If there is none of this name here.
    """
    if backend not in _infos():
        find_backends([backend])  # tells what there is
    return _infos()[backend]


@cache
def _infos() -> dict[str, BackendInfo]:
    """All backends, read once: each is a file to parse."""
    return {info.name: info for info in find_backends()}


def described(campaign: Campaign, backend: str) -> BackendInfo:
    """A backend of a campaign, or a port in the form of one."""
    if campaign.port is None:
        return info_of(backend)
    return BackendInfo(backend, "port", model=campaign.models[0])


def framework_of(campaign: Campaign, backend: str) -> object:
    """What is equal of backends that share a process."""
    return "port" if campaign.port is not None else info_of(backend).worker


@dataclass
class SharedProblems:
    """The problems of one network, made and expected once for all backends; one thread at a time judges by them."""

    problems: Problems = field(default_factory=Problems)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Hands(Closing):
    """The means of one worker process; its threads share them."""

    def __init__(self, campaign: Campaign, *, most_warm: int = MOST_WARM) -> None:
        """Start nothing yet."""
        self.campaign = campaign
        self._most_warm = most_warm
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, tuple[object, Runner]] = OrderedDict()  # the one used last stands last
        self._networks: OrderedDict[tuple[Case, ...], SharedProblems] = OrderedDict()
        self._busy: set[Runner] = set()

    def network(self, cases: tuple[Case, ...]) -> SharedProblems:
        """The problems of a network, shared by all who ask while it is kept."""
        with self._lock:
            network = self._networks.setdefault(cases, SharedProblems())
            self._networks.move_to_end(cases)
            while len(self._networks) > NETWORKS_KEPT:
                self._networks.popitem(last=False)
        return network

    @contextmanager
    def runner(self, backend: str) -> Iterator[Runner]:
        """The process that runs a backend, for one thread: a warm one, or a new one where there is none."""
        key = framework_of(self.campaign, backend)
        runner = self._taken(key) or self._new(backend)
        with self._lock:
            self._busy.add(runner)
        try:
            yield runner
        finally:
            self._give_back(key, runner)

    def close(self) -> None:
        """End all processes, whatever they are at."""
        with self._lock:
            runners = [*self._busy, *(runner for _, runner in self._idle.values())]
            self._idle.clear()
        for runner in runners:
            runner.close()

    def _taken(self, key: object) -> Runner | None:
        with self._lock:
            place = next((place for place, (of, _) in reversed(self._idle.items()) if of == key), None)
            return None if place is None else self._idle.pop(place)[1]

    def _new(self, backend: str) -> Runner:
        campaign = self.campaign
        if campaign.port is not None:
            return PortRunner(open_port(campaign.port, campaign.timeout))
        return BackendRunner(info_of(backend), campaign.timeout)

    def _give_back(self, key: object, runner: Runner) -> None:
        megabytes = runner.megabytes()
        spent = [runner] if megabytes is not None and megabytes > MOST_MEGABYTES else []
        with self._lock:
            self._busy.discard(runner)
            if not spent:
                self._idle[id(runner)] = key, runner
            while len(self._idle) > self._most_warm:
                spent.append(self._idle.popitem(last=False)[1][1])
        for closing in spent:
            closing.close()
