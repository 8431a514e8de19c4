"""How far healthy layers, decoders and networks in all styles are from what is expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import healthy_decoders
import healthy_layers
import healthy_networks
import numpy as np

from lockstep.harness.jobs.problems import Problems
from lockstep.harness.reference.noise import LIMIT_SIGMA

FORMS = {"decoder": healthy_decoders, "network": healthy_networks}  # that give every tensor
ALL_FORMS = {"layer": healthy_layers, **FORMS}


class Distance(NamedTuple):
    """The largest sigma of a run: by the noise of first order, and as it is judged."""

    first_order: float
    judged: float  # where the first is beyond the limit, by the noise of copies
    tensor: str  # where that is


def distances(case, problems: Problems) -> Iterator[tuple[str, str, Distance]]:
    """Run a case in all styles that take it: the form, the style, and how far it is."""
    for form, module in ALL_FORMS.items():
        if module.takes(case):
            for name, parts in module.STYLES.items():
                yield form, name, distance(case, problems, module.run(problems.problem(case), parts))


def distance(case, problems: Problems, found: dict[str, np.ndarray]) -> Distance:
    """How far tensors are from what is expected."""
    first, tensor = _largest(found, problems.expected(case))
    if first <= LIMIT_SIGMA:
        return Distance(first, first, tensor)
    return Distance(first, *_largest(found, problems.widened(case)))


def _largest(found, expected) -> tuple[float, str]:
    return max((_sigma(array, expected[name]), name) for name, array in found.items())


def _sigma(actual, tensor) -> float:
    """The largest sigma of a tensor; infinitely many if its shape or type is another, or it is not finite.

    Where the noise is NaN or infinite nothing is determined.
    """
    if actual.shape != tensor.value.shape or actual.dtype != tensor.value.dtype:
        return np.inf
    with np.errstate(all="ignore"):
        sigma = np.abs((actual - tensor.value) - tensor.rest) / tensor.noise
    same = (actual == tensor.value) | ~np.isfinite(tensor.noise)
    return float(np.where(same, 0, np.where(np.isnan(sigma), np.inf, sigma)).max(initial=0))
