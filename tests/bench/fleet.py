"""What each backend costs by itself: building, a first and a steady run, memory at its peak; ratios to plain NumPy.

Each has a worker of its own, in which nothing else is imported, and the loop in NumPy is timed in turn with it. Where
the graph has nodes for every timestep, what building and the first run take is measured up to T 400, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from figures import duration
from frameworks import make_case

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.case import AttentionDecoder, Case
from lockstep.harness.cases.decoder_problem import problem_of

SIZES = (32, 8, 64, 128)  # T, B, I, H
PLAIN = {"lstm": "numpy_loop", "attention_decoder": "numpy_attention"}  # what ratios are to
UNROLLED = {"tf_loop", "tf_static_rnn", "jax_unrolled", "tf_attention_cell", "tf_attention_reuse"}
GROWTH_SIZES, GROWTH_TIMESTEPS = (2, 16, 32), (10, 100, 400)
STEADY_RUNS, STEADY_SECONDS = 7, 10.0  # so many in turn, unless they take longer together
TIMEOUT = 300.0


@dataclass(frozen=True)
class Cost:
    """What was measured of one backend; seconds and millions of bytes, None where it could not be."""

    backend: str
    framework: str
    build: float = 0.0
    first: float = 0.0
    steady: float = 0.0
    megabytes: float | None = None  # of its process at its peak
    steady_ratio: float = 1.0
    megabytes_ratio: float | None = None
    growth: dict[int, float] | None = None  # building and first run together, by timesteps
    exponent: float | None = None  # of T in these
    reason: str | None = None  # why nothing was measured, or not the growth

    beyond = False  # it is told, not judged

    def as_json(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self)


def fleet() -> list[Cost]:
    """Measure every backend of the registry."""
    return [_cost(backend) for backend in sorted(find_backends(), key=lambda one: (one.model, one.framework, one.name))]


def show(costs: Sequence[Cost]) -> None:
    """Print the table, and what is not in it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    T, B, I, H = SIZES
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("backend", no_wrap=True)
    for column in ("build", "first", "steady", "ratio", "MB", "ratio", "T 400", "T^"):
        table.add_column(column, justify="right")
    for one in costs:
        if one.first:
            table.add_row(one.backend, *_cells(one))
    console = Console(highlight=False)
    console.print(f"One call at T {T}, B {B}, I {I}, H {H}, float32; ratios to the loop in NumPy, timed in turn.")
    console.print("MB: its process at its peak, frameworks included.")
    console.print(table)
    console.print(f"T 400: building and first run of an unrolled graph at B, I, H {GROWTH_SIZES};")
    console.print("T^: the power of T with which they grow from T 100 on.")
    for one in costs:
        if one.reason:
            console.print(f"{one.backend}: {one.reason}", markup=False, soft_wrap=True)


def peak_megabytes() -> float | None:
    """Give the most memory that this process has had; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


def _cost(backend: BackendInfo) -> Cost:
    cost = Cost(backend.name, backend.framework)
    missing = backend.missing()
    if missing is not None:
        return replace(cost, reason=missing)
    (plain,) = find_backends([PLAIN[backend.model]])
    with Worker(backend.environment, TIMEOUT) as worker, Worker(plain.environment, TIMEOUT) as beside:
        problem = problem_of(_case(backend))
        first, plain_first = worker.run(backend, problem), beside.run(plain, problem)
        if first.trace is None or first.seconds is None:
            return replace(cost, reason=f"{first.status}: {first.message}")
        pairs = _in_turn((worker, backend), (beside, plain), problem)
        megabytes, plain_megabytes = (one._process.call(peak_megabytes, (), TIMEOUT) for one in (worker, beside))
    assert plain_first.trace is not None, plain_first
    cost = replace(
        cost,
        build=first.seconds.get("build", 0.0),
        first=first.seconds["first"],
        steady=median(own for own, _ in pairs),
        steady_ratio=median(own / other for own, other in pairs),
        megabytes=megabytes,
        megabytes_ratio=megabytes / plain_megabytes if megabytes else None,
    )
    return _grown(backend, cost) if backend.name in UNROLLED else cost


def _case(backend: BackendInfo, timesteps: int | None = None) -> Case:
    """Make the case of a backend's model: of the usual sizes, or of the small ones whose timesteps grow."""
    T, (B, I, H) = (SIZES[0], SIZES[1:]) if timesteps is None else (timesteps, GROWTH_SIZES)
    case = make_case(T, B, I, H)
    if backend.model == "lstm":
        return case
    return Case(name=case.name, lstm=case.lstm, run=case.run, attention_decoder=AttentionDecoder(source_timesteps=20))


def _in_turn(one: tuple[Worker, BackendInfo], other: tuple[Worker, BackendInfo], problem: Any) -> list[Any]:
    """Time steady runs of two backends alternately; the shape has been seen, so what a run calls first is steady."""
    started, pairs = time.perf_counter(), []
    while len(pairs) < STEADY_RUNS and (not pairs or time.perf_counter() - started < STEADY_SECONDS):
        answers: list[Outcome] = [worker.run(backend, problem) for worker, backend in (one, other)]
        pairs.append(tuple((answer.seconds or {})["first"] for answer in answers))
    return pairs


def _grown(backend: BackendInfo, cost: Cost) -> Cost:
    """Measure building and first runs of more and more timesteps."""
    taken: dict[int, float] = {}
    with Worker(backend.environment, TIMEOUT) as worker:
        for T in GROWTH_TIMESTEPS:
            answer = worker.run(backend, problem_of(_case(backend, T)))
            if answer.trace is None or answer.seconds is None:
                return replace(cost, growth=taken, reason=f"at T {T} {answer.status}: {answer.message}")
            taken[T] = answer.seconds.get("build", 0.0) + answer.seconds["first"]
    # From 100 on: below, what does not depend on T at all outweighs the rest.
    steps = list(taken)[1:]
    exponent, _ = linear_regression([math.log(T) for T in steps], [math.log(taken[T]) for T in steps])
    return replace(cost, growth=taken, exponent=exponent)


def _cells(cost: Cost) -> list[str]:
    memory = ("", "") if cost.megabytes is None else (f"{cost.megabytes:.0f}", f"{cost.megabytes_ratio or 0:.1f}")
    grown = cost.growth or {}
    last = ("", "") if cost.exponent is None else (duration(grown[GROWTH_TIMESTEPS[-1]]), f"{cost.exponent:.2f}")
    build = duration(cost.build) if cost.build else "-"
    return [build, duration(cost.first), duration(cost.steady), f"{cost.steady_ratio:.2g}", *memory, *last]
