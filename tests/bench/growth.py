"""How the cost grows with the number of timesteps: the exponent is 1 where it is proportional to T."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import linear_regression, median

from figures import Figure, duration
from frameworks import FRAMEWORKS, make_case

from lockstep.harness.adapters.backend import BackendInfo, by_worker, find_backends
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.problem import Problem

TIMESTEPS = (10, 100, 1000, 10_000)
# Their graph has nodes for every timestep: building 10000 of them takes minutes.
UNROLLED = {"tf_loop": (10, 100, 400), "tf_static_rnn": (10, 100, 400)}
STEADY_RUNS = 3
KEPT = 1e-4  # seconds


def growth() -> list[Figure]:
    """Measure building, first and steady runs of the backends of the main job, B 2, I 16, H 32."""
    backends = find_backends(("numpy_loop", *FRAMEWORKS))
    return [figure for group in by_worker(backends) for figure in _growth_of(group)]


def _growth_of(group: list[BackendInfo]) -> Iterator[Figure]:
    with Worker(group[0].environment, timeout=120) as worker:
        for backend in group:
            timesteps = UNROLLED.get(backend.name, TIMESTEPS)
            taken = [_seconds_by_part(worker, backend, T) for T in timesteps]
            for part in ("build", "first", "steady"):
                # A part that a backend does not have takes no time, and one that it keeps next to none.
                if all(seconds.get(part, 0) > KEPT for seconds in taken):
                    yield _slope(f"{backend.name}, {part}", timesteps, [seconds[part] for seconds in taken])


def _seconds_by_part(worker: Worker, backend: BackendInfo, T: int) -> dict[str, float]:
    """Time the first run of a shape, and a few steady ones."""
    problem = Problem.from_case(make_case(T, 2, 16, 32))
    answers = [worker.run(backend, problem) for _ in range(STEADY_RUNS)]
    for answer in answers:
        if answer.trace is None:
            raise RuntimeError(f"{backend.name}, T {T}: {answer.status}: {answer.message}")
    first, *again = (answer.seconds for answer in answers)
    # The graph is there by then: the call of a later run is a steady one.
    return {**first, "steady": median([first["steady"], *(seconds["first"] for seconds in again)])}


def _slope(name: str, timesteps: tuple[int, ...], seconds: list[float]) -> Figure:
    exponent, _ = linear_regression([math.log(T) for T in timesteps], [math.log(s) for s in seconds])
    step = (seconds[-1] - seconds[0]) / (timesteps[-1] - timesteps[0])
    by_timesteps = ", ".join(f"T {T}: {duration(s)}" for T, s in zip(timesteps, seconds, strict=True))
    return Figure(f"{name}: exponent of T", exponent, note=f"{duration(step)} per timestep; {by_timesteps}")
