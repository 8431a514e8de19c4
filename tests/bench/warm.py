"""A warm run over all frameworks, graphs and compiled functions kept: against the bare framework calls.

Bare is the time of a backend's ``run`` in a plain process of its framework, one at a time while nothing else
runs. Measured is the wall time of the five in their workers, the frameworks side by side, arrays on their way
there and back included.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from bare import CALLS, BareGroup
from cores import cores_figure, cores_given, figure_on_two_cores
from figures import Figure, Pair, against, figure_of
from frameworks import framework_backends, usual_case
from timing import typical_seconds

from lockstep.harness.adapters.backend import BackendInfo, by_worker
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.problem import Problem

REPETITIONS = 7
BOUND, ALONE_BOUND = 1.05, 1.15
ALTERNATIONS = 40
SAME, OTHER, NUMBERS = "the same case again", "other seeds, same shapes", "making another seed's numbers"


@dataclass(frozen=True)
class Frameworks:
    """Workers that are kept, each with its backends, and plain processes that run the same."""

    served: list[tuple[Worker, list[BackendInfo]]]
    bare: list[BareGroup]
    threads: ThreadPoolExecutor

    @classmethod
    def started(cls, stack: ExitStack) -> Self:
        """Start them, to be ended by ``stack``."""
        groups = by_worker(framework_backends())
        return cls(
            [(stack.enter_context(Worker(group[0].environment, timeout=120)), group) for group in groups],
            [stack.enter_context(BareGroup([backend.name for backend in group])) for group in groups],
            stack.enter_context(ThreadPoolExecutor(len(groups))),
        )

    def run(self, problem: Problem) -> None:
        """Run a problem through every backend, the frameworks side by side."""

        def run_group(group: tuple[Worker, list[BackendInfo]]) -> None:
            worker, backends = group
            for backend in backends:
                _run(worker, backend, problem)

        list(self.threads.map(run_group, self.served))

    def bare_seconds(self, seed: int) -> dict[str, float]:
        """Time the bare calls by backend."""
        return {name: taken for group in self.bare for name, taken in group.seconds(seed).items()}


def warm() -> list[Figure]:
    """Measure the same case once more, the same shapes under other seeds, and each backend by itself."""
    with ExitStack() as stack:
        frameworks = Frameworks.started(stack)
        frameworks.run(Problem.from_case(usual_case()))
        measured = [_repetition(frameworks, seed) for seed in range(1, REPETITIONS * CALLS, CALLS)]
    cores = [given for given, _ in measured]
    pairs = {name: [pairs[name] for _, pairs in measured] for name in measured[0][1]}
    return [*(_figure(name, pairs[name], cores) for name in pairs), cores_figure(cores)]


def _repetition(frameworks: Frameworks, seed: int) -> tuple[float, dict[str, Pair]]:
    """Measure everything once; its problems have seeds from ``seed`` on."""
    cores = cores_given()
    bare = frameworks.bare_seconds(seed=0)
    other: list[Problem] = []
    together = {
        NUMBERS: typical_seconds(
            [lambda k=k: other.append(Problem.from_case(usual_case(seed + k))) for k in range(CALLS)]
        ),
        SAME: _seconds_of([Problem.from_case(usual_case())] * CALLS, frameworks),
        OTHER: _seconds_of(other, frameworks),
    }
    pairs = {name: (taken, sum(bare.values())) for name, taken in together.items()}
    return cores, pairs | _each(frameworks, bare)


def _figure(name: str, pairs: list[Pair], cores: list[float]) -> Figure:
    if name == NUMBERS:
        return figure_of(f"{name} / sum of bare calls", pairs, note=against)
    if name not in {SAME, OTHER}:
        return figure_of(f"{name} by itself / its bare call", pairs, ALONE_BOUND, note=against)
    return figure_on_two_cores(f"{name} / sum of bare calls", pairs, cores, BOUND)


def _seconds_of(problems: list[Problem], frameworks: Frameworks) -> float:
    return typical_seconds([lambda p=problem: frameworks.run(p) for problem in problems])


def _each(frameworks: Frameworks, bare: dict[str, float]) -> dict[str, Pair]:
    """Time each backend in its worker while nothing else runs."""
    problem = Problem.from_case(usual_case())
    return {
        backend.name: (
            typical_seconds([lambda w=worker, b=backend: _run(w, b, problem)] * CALLS),
            bare[backend.name],
        )
        for worker, group in frameworks.served
        for backend in group
    }


def _run(worker: Worker, backend: BackendInfo, problem: Problem) -> None:
    answer = worker.run(backend, problem)
    if answer.trace is None:
        raise RuntimeError(f"{backend.name}: {answer.status}: {answer.message}")
