"""What tests share: worker processes, one for each framework, kept for the whole session."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples import register_profiles
from kept_processes import STARTED_IN, KeptProcesses
from model_reading import make

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.model_reader import find_readers
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of

pytest_plugins = ["pytester", "chromium"]

MOST_SECONDS = 300  # for one run: what compiles for seconds takes minutes where many processes share a core

register_profiles()

# In the background of a shell Ctrl-C is ignored, and by all that is started there: tests interrupt what they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is there by now stays to the end: it need not be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


class Workers:
    """A worker for each framework, started when it is first needed."""

    def __init__(self) -> None:
        self.workers: dict[object, Worker] = {}

    def __call__(self, backend: BackendInfo, case: Case) -> tuple[Any, Outcome]:
        """Run a case through a backend; give the problem and the answer."""
        problem = problem_of(case)
        return problem, self.problem(backend, problem)

    def problem(self, backend: BackendInfo, problem: AnyProblem) -> Outcome:
        """Run a problem through a backend."""
        if backend.worker not in self.workers:
            self.workers[backend.worker] = Worker(backend.environment, timeout=MOST_SECONDS)
        return self.workers[backend.worker].run(backend, problem)


@pytest.fixture(scope="session")
def run_backend() -> Iterator[Workers]:
    """Run cases through backends, each in its framework's worker."""
    workers = Workers()
    yield workers
    for worker in workers.workers.values():
        worker.close()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that PyTorch writes, in a process that is started once."""
    folder = tmp_path_factory.mktemp("torch")
    onnx = find_readers()["onnx"].missing() is None
    make("export_torch.py", folder, "programs", *(["onnx"] if onnx else []))
    return folder


@pytest.fixture(scope="session")
def processes() -> Iterator[KeptProcesses]:
    """Processes that are kept for the next test."""
    kept = KeptProcesses()
    yield kept
    kept.end()


@pytest.fixture
def kept_processes(processes: KeptProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that this test runs find the frameworks imported that an earlier test's commands have imported."""
    for module in STARTED_IN:
        monkeypatch.setattr(f"lockstep.harness.adapters.{module}.Process", processes)
