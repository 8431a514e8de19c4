"""Times framework calls where nothing is between: a plain process that runs backends of one framework.

Its arguments are the backends' names. For each seed on stdin it writes one line of JSON, seconds by name: the
median of a few calls. Threads and environment are a worker's.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Self

from frameworks import usual_case
from timing import HERE, typical_seconds

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.adapters.backend_process import start
from lockstep.harness.cases.problem import Problem

CALLS = 6


class BareGroup:
    """Such a process as its parent sees it."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start it; it answers once its framework is imported."""
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "bare.py"), *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._process.communicate()

    def seconds(self, seed: int) -> dict[str, float]:
        """Time the backends, one after the other, on the usual case with this seed."""
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _main(names: Sequence[str]) -> None:
    backends = find_backends(names)
    # Frameworks print to stdout, too: the answers keep it to themselves.
    with os.fdopen(os.dup(1), "w") as answers:
        start(backends[0].environment, os.devnull)
        modules = {backend.name: importlib.import_module(backend.module) for backend in backends}
        for line in sys.stdin:
            problem = Problem.from_case(usual_case(int(line)))
            taken = {name: _run_seconds(module, problem) for name, module in modules.items()}
            print(json.dumps(taken), file=answers, flush=True)


def _run_seconds(module: ModuleType, problem: Problem) -> float:
    return typical_seconds([lambda: module.run(problem)] * CALLS)


if __name__ == "__main__":
    _main(sys.argv[1:])
