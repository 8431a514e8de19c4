"""What is built of a problem's weights and shapes, kept for the next problem that has the same ones.

Runtimes are called as their users call them: a model is converted and loaded once, and called again and again. What it
remembers from one call to the next shows only where it is the same one that is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from lockstep.harness.cases.problem import Problem, digest_of

Model = TypeVar("Model")
MOST = 4  # models that are kept of each kind


def kept(
    build: Callable[[Problem], Model], load: Callable[[Model, Problem], bool] | None = None, most: int = MOST
) -> Callable[[Problem], Model]:
    """Make ``build`` give the model that it made before of the same weights, for the same shapes and dtype.

    With ``load``, which sets a model's weights to those of another problem and says whether it could, the same shapes
    and dtype are enough. Of more than ``most`` models the one that was not asked for longest is made anew.
    """
    models: dict[Any, tuple[Model, str]] = {}

    def built(problem: Problem) -> Model:
        weights = digest_of(problem.named_weights())
        key = _graph(problem) if load else (_graph(problem), weights)
        model, held = models.pop(key, None) or (build(problem), weights)
        if load and held != weights and not load(model, problem):
            model = build(problem)
        models[key] = model, weights
        if len(models) > most:
            del models[next(iter(models))]
        return model

    return built


def _graph(problem: Problem) -> Any:
    """What a model is compiled for, beside weights: a forget bias is a number among these."""
    case = problem.case
    return case.shape, replace(case.lstm, forget_bias=0.0), case.run.dtype, problem.lengths is None
