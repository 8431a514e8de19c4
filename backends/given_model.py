"""The model file that this worker runs: what its readers, ``backends.model_*``, do with it alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from msgspec.structs import replace

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelFile,
    StoredModel,
    canonical,
    check_same,
    file_to_run,
    too_many,
    with_own_weights,
)


@cache
def given_model(
    read: Callable[[ModelFile, Any], StoredModel], value_of: Callable[[ModelFile], Any] | None = None
) -> StoredModel:
    """The given file, read once.

    Args:
        read: The reader's.
        value_of: What it takes beside the file.

    Raises:
        RuntimeError: If the file has not the weights that were read of it first.
    """
    file = file_to_run()
    model = read(file, value_of(file) if value_of else None)
    check_same(model, file)
    return model


def refused_by_runner(model: StoredModel, case: Case) -> str | None:
    """Why the backend that runs a model's weights cannot run a case with them; None if it can."""
    return _runner(model).unsupported(replace(case, lstm=model.lstm))


def run_by_runner(model: StoredModel, problem: Problem) -> Trace:
    """Run a model's weights, by the backend that does so, on the data of ``problem``."""
    return _runner(model).run(with_own_weights(problem, model))


def _runner(model: StoredModel) -> Any:
    # Imported late: a file may be read where the framework of its weights is not installed.
    return importlib.import_module(f"lockstep.backends.{model.runner}")


def read_lanes(
    layers: Iterable[Iterable[LaneArrays]], gates: str
) -> tuple[list[list[Weights]], list[tuple[Array, ...]]]:
    """Canonical weights by layer, then direction; and of each lane the biases before they were summed."""
    pairs = [[canonical(lane, gates) for lane in layer] for layer in layers]
    return [[weights for weights, _ in layer] for layer in pairs], [biases for layer in pairs for _, biases in layer]


def from_first_up(names: Sequence[str], below: dict[str, str]) -> list[str]:
    """The layers of one network from the first to the top one, from what stands below each.

    Raises:
        ModelError: If they do not all stand on each other.
    """
    tops = [name for name in names if name not in below.values()]
    if len(tops) != 1 or len({lower for lower in below.values() if lower in names}) < len(names) - 1:
        raise too_many(names, "LSTMs that do not stand on each other")
    order = tops
    while below[order[-1]] in names:
        order.append(below[order[-1]])
    return order[::-1]
