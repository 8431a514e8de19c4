"""What the variances cost: expected values with their noise against the plain reference."""

from __future__ import annotations

from figures import Figure, against, figure_of
from frameworks import usual_case
from threadpoolctl import threadpool_limits
from timing import in_turn

from harness.problem import Problem
from harness.reference import expect, forward
from harness.serve import THREADS

REPETITIONS = 21
BOUND = 3.5


def reference() -> list[Figure]:
    """Measure ``expect`` against ``forward``, both in float64."""
    problem = Problem.from_case(usual_case())
    with threadpool_limits(THREADS):  # as in a run
        pairs = in_turn(lambda: expect(problem), lambda: forward(problem), REPETITIONS)
    return [figure_of("expected values with variances / values alone", pairs, BOUND, against)]
