"""What a case can ask of a backend, each feature as a small case that has it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.backend import BackendInfo, by_worker, find_backends
from harness.case import LSTM, Case, Run
from harness.worker import Worker


def _case(**changes: object) -> Case:
    lstm = {key: changes.pop(key) for key in ("bias", "forget_bias") if key in changes}
    return Case(
        lstm=LSTM(input_size=2, hidden_size=3, **lstm),  # type: ignore[arg-type]
        run=Run(timesteps=4, batch=2, **changes),  # type: ignore[arg-type]
        name="feature",
    )


FEATURES: dict[str, Case] = {
    "float32": _case(),
    "float64": _case(dtype="float64"),
    "no bias": _case(bias=False, forget_bias=0.0),
    "initial state": _case(initial_state="probe"),
    "lengths": _case(lengths=(4, 2)),
    "lengths with 0": _case(lengths=(4, 0)),
}


@dataclass(frozen=True)
class Support:
    """What one backend supports: by feature, None or the reason why not; or why it could not be asked."""

    backend: BackendInfo
    versions: dict[str, str]
    reasons: dict[str, str | None]
    problem: str | None = None


def support(timeout: float = 60.0) -> list[Support]:
    """Ask every installed backend what it supports, the frameworks side by side."""
    backends = find_backends()
    groups = by_worker(backends)
    with ThreadPoolExecutor(max_workers=max(len(groups), 1)) as threads:
        found = {one.backend.name: one for group in threads.map(lambda g: _ask(g, timeout), groups) for one in group}
    return [found[backend.name] for backend in backends]


def _ask(group: list[BackendInfo], timeout: float) -> list[Support]:
    with Worker(group[0].environment, timeout) as worker:
        return [_support(worker, backend) for backend in group]


def _support(worker: Worker, backend: BackendInfo) -> Support:
    answer = worker.ask(backend, list(FEATURES.values()))
    if not isinstance(answer, tuple):
        return Support(backend, {}, {}, answer.message)
    versions, reasons = answer
    return Support(backend, versions, dict(zip(FEATURES, reasons, strict=True)))
