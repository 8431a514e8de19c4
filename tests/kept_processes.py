"""Processes that tests have in common: importing a framework takes longer than most of what is tested with it."""

from __future__ import annotations

from typing import Any

from lockstep.harness.adapters.worker import Closing, Process

Environment = tuple[tuple[str, str], ...]
# Where a process is started, by the modules that look it up there.
STARTED_IN = ("variables", "model_reader", "worker")


class KeptProcesses:
    """Processes that nobody uses at the moment, by their environments."""

    def __init__(self) -> None:
        self._free: dict[Environment, list[Process]] = {}

    def __call__(self, environment: Environment) -> Lent:
        """Lend a process that has this environment; start one where none is free."""
        free = self._free.setdefault(environment, [])
        return Lent(free.pop() if free else Process(environment), free)

    def end(self) -> None:
        """End them all."""
        for processes in self._free.values():
            for process in processes:
                process.close()


class Lent(Closing):
    """A process as long as somebody uses it; closing it hands it back."""

    def __init__(self, process: Process, free: list[Process]) -> None:
        self._process, self._free = process, free

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def close(self) -> None:
        """Hand the process back, once."""
        if self._process not in self._free:
            self._free.append(self._process)
