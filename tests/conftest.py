"""What tests share: worker processes, one for each framework, kept for the whole session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from harness.backend import BackendInfo
from harness.case import Case
from harness.problem import Problem
from harness.serve import Answer
from harness.worker import Worker

pytest_plugins = ["pytester"]

# Times on shared machines say nothing, and a fixture kept for the session is meant to be shared by examples.
settings.register_profile(
    "lockstep", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("lockstep")


@pytest.fixture(scope="session")
def run_backend() -> Iterator[Callable[[BackendInfo, Case], tuple[Problem, Answer]]]:
    """Run a case through a backend in its framework's worker; give the problem and the answer."""
    workers: dict[object, Worker] = {}

    def run(backend: BackendInfo, case: Case) -> tuple[Problem, Answer]:
        if backend.worker not in workers:
            workers[backend.worker] = Worker(backend.environment, timeout=120)
        problem = Problem.from_case(case)
        return problem, workers[backend.worker].run(backend, problem)

    yield run
    for worker in workers.values():
        worker.close()
