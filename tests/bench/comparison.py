"""What a comparison costs: time against reading both sides once, memory against the trace's size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
from figures import Figure, against, figure_of
from frameworks import make_case
from timing import in_turn

from lockstep.backends import numpy_loop
from lockstep.harness.arrays import Array
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import PER_TIMESTEP
from lockstep.harness.comparison.compare import limit_for, measure
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import ExpectedTensor

REPETITIONS = 21
TIME_BOUND, MEMORY_BOUND = 5.0, 0.05
# Wide enough for every number: agreement is the usual answer, and a failure writes a message, which takes longer.
RTOL, ATOL = 1e-3, 1e-3

Tensors = list[tuple[Array, ExpectedTensor]]


def comparison() -> list[Figure]:
    """Measure the comparator over the four gates, c and h of one trace, T 512, B 8, H 128."""
    case = make_case(512, 8, 64, 128)
    problem = Problem.from_case(case)
    trace, expected = numpy_loop.run(problem).tensors(), expect(problem)
    tensors = [(trace[name], expected[name]) for name in PER_TIMESTEP]
    limit = limit_for(case)

    def compare() -> None:
        for actual, tensor in tensors:
            measure(actual, tensor, limit)

    return [*_times(compare, tensors), _memory(compare, tensors)]


def _times(compare: Callable[[], None], tensors: Tensors) -> list[Figure]:
    told: list[tuple[str, Callable[[], None], float | None]] = [
        ("comparison", compare, TIME_BOUND),
        ("np.testing.assert_allclose", partial(_assert_allclose, tensors), None),
        ("torch.testing.assert_close, one thread", _assert_close(tensors), None),
    ]
    return [
        figure_of(
            f"{name} / reading both sides once",
            in_turn(call, partial(_read, tensors), REPETITIONS),
            bound,
            against,
        )
        for name, call, bound in told
    ]


def _read(tensors: Tensors) -> None:
    for actual, expected in tensors:
        for array in (actual, expected.value, expected.rest, expected.noise):
            np.add.reduce(array, axis=None)


def _assert_allclose(tensors: Tensors) -> None:
    for actual, expected in tensors:
        np.testing.assert_allclose(actual, expected.value, RTOL, ATOL)


def _assert_close(tensors: Tensors) -> Callable[[], None]:
    import torch

    torch.set_num_threads(1)
    pairs = [(torch.from_numpy(actual), torch.from_numpy(expected.value)) for actual, expected in tensors]

    def call() -> None:
        for actual, expected in pairs:
            torch.testing.assert_close(actual, expected, rtol=RTOL, atol=ATOL)

    return call


def _memory(compare: Callable[[], None], tensors: Tensors) -> Figure:
    size = sum(actual.nbytes for actual, _ in tensors)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        compare()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    note = f"{(peak - before) / 1e6:.2g} MB at its peak, {size / 1e6:.3g} MB of trace"
    return Figure("comparison's memory / trace's", (peak - before) / size, MEMORY_BOUND, note=note)
