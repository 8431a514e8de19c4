"""What the variances cost: expected values with their noise against the plain reference, forward and backward."""

from __future__ import annotations

import sys
import tracemalloc

from figures import Figure, against, figure_of
from frameworks import usual_case
from msgspec.structs import replace
from threadpoolctl import threadpool_limits
from timing import in_turn

from lockstep.harness import arrays
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.network import Network

REPETITIONS = 21
BOUND = 3.5
TRACES = 4  # of the case's dtype that may be alive at once
LONG = 10_000


def reference() -> list[Figure]:
    """Measure expected values against values alone, both in float64; and memory against the size of a trace."""
    case = usual_case()
    trained = replace(case, run=replace(case.run, gradients=True))
    problem = Problem.from_case(trained)
    with threadpool_limits(THREADS):  # as in a run
        plain = Problem.from_case(case)
        there = in_turn(lambda: expect(plain), lambda: Network(plain).forward(noisy=False), REPETITIONS)
        values, expected = Network(problem), Network(problem)
        values_there, expected_there = values.forward(noisy=False), expected.forward(noisy=True)
        back = in_turn(
            lambda: expected.backward(expected_there, noisy=True),
            lambda: values.backward(values_there, noisy=False),
            REPETITIONS,
        )
    return [
        figure_of("expected values with variances / values alone", there, BOUND, against),
        figure_of("gradients with variances / gradients alone", back, BOUND, against),
        _memory("peak memory at T 1,000 / one trace", _of_length(case, 1000)),
        _memory("the same with gradients", _of_length(trained, 1000)),
        _memory(f"peak memory at T {LONG:,} / one trace", _of_length(case, LONG)),
    ]


def _of_length(case: Case, timesteps: int) -> Case:
    return replace(case, run=replace(case.run, timesteps=timesteps))


def _memory(name: str, case: Case) -> Figure:
    problem = Problem.from_case(case)
    T, B, _, H = case.shape
    trace = 6 * T * B * H * problem.x.itemsize  # i, f, g, o, c, h
    large, arrays.LARGE_ARRAY = arrays.LARGE_ARRAY, sys.maxsize  # what would lie in files counts too
    tracemalloc.start()
    expect(problem)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    arrays.LARGE_ARRAY = large
    return Figure(name, peak / trace, TRACES, note=f"{peak / 1e6:.0f} MB against {trace / 1e6:.0f} MB")
