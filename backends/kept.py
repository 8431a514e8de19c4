"""What is built of a problem's weights and shapes, kept for the next problem that has the same ones.

Runtimes are called as their users call them: a model is converted and loaded once, and called again and again. What it
remembers from one call to the next shows only where it is the same one that is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from lockstep.harness.cases.problem import Problem, digest_of

Model = TypeVar("Model")
MOST = 4  # models that are kept of each kind


def kept(build: Callable[[Problem], Model]) -> Callable[[Problem], Model]:
    """Make ``build`` give the model that it made before of the same weights, for the same shapes and dtype."""
    models: dict[Any, Model] = {}

    def built(problem: Problem) -> Model:
        case = problem.case
        key = (case.shape, case.lstm, case.run.dtype, problem.lengths is None, digest_of(problem.named_weights()))
        if key not in models:
            while len(models) >= MOST:
                del models[next(iter(models))]
            models[key] = build(problem)
        return models[key]

    return built
