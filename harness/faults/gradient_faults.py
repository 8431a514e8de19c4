"""Deviations of the way back, told as expected values that are other than the right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import FORWARD, WEIGHT_STEPS, WEIGHT_SUMS, kind_of
from lockstep.harness.faults.fault import Variation, only_if
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.network import Way
from lockstep.harness.reference.noise import roundoff


def _cotangents(problem: Problem, **changes: Callable[[Array], Array]) -> Problem | None:
    if problem.dh is None:
        return None
    return replace(problem, **{name: change(getattr(problem, name)) for name, change in changes.items()})


def _scaled(
    expected: Expected, problem: Problem, factor: Callable[[Problem], float], kinds: tuple[str, ...] | None
) -> Expected:
    k = factor(problem)
    changed = dict(expected)
    for name, tensor in expected.items():
        kind = kind_of(name)
        if kind not in FORWARD and (kinds is None or kind in kinds):
            value, rest, noise = (array.astype(np.float64) * k for array in (tensor.value, tensor.rest, tensor.noise))
            dtype = tensor.value.dtype
            kept = (value + rest).astype(dtype)
            # The factor itself is rounded once more.
            noise = np.hypot(noise, 2 * roundoff(problem.case.run.dtype) * np.abs(value))
            changed[name] = ExpectedTensor(kept, (value + rest - kept).astype(dtype), noise.astype(dtype))
    return changed


_COTANGENTS = (
    Variation(
        "cotangent-of-final-state-lost",
        "The gradient that comes in at the final cell state is not passed on.",
        "Start the way back from dc, not from zeros.",
        partial(_cotangents, dc=lambda dc: 0 * dc),
    ),
    Variation(
        "cotangent-of-last-output-only",
        "Only the last timestep's output passes a gradient back.",
        "Add dh[t] at every timestep, not only at the last.",
        partial(_cotangents, dh=lambda dh: dh * (np.arange(len(dh)) == len(dh) - 1)[:, None, None].astype(dh.dtype)),
    ),
    Variation(
        "cotangent-of-outputs-lost",
        "Only the final cell state passes a gradient back.",
        "Add dh[t] at every timestep.",
        partial(_cotangents, dh=lambda dh: 0 * dh),
    ),
)

# What gradients are multiplied by: words, the factor, and of which kinds of tensors; None: of all.
_SCALES: dict[str, tuple[str, Callable[[Problem], float], tuple[str, ...] | None]] = {
    "averaged-over-sequences": ("divided by the number of sequences", lambda p: 1 / p.case.run.batch, None),
    "averaged-over-timesteps": ("divided by the number of timesteps", lambda p: 1 / p.case.run.timesteps, None),
    "negated": ("negated", lambda p: -1.0, None),
    "halved": ("halved", lambda p: 0.5, None),
    "doubled": ("doubled", lambda p: 2.0, None),
    "of-bias-doubled": ("doubled for the bias", lambda p: 2.0, ("db", "db_t")),
    "of-weights-averaged": (
        "divided by the number of sequences for the weights", lambda p: 1 / p.case.run.batch,
        (*WEIGHT_SUMS, *WEIGHT_STEPS),
    ),
}  # fmt: skip


def gradient_variations() -> Iterator[Variation]:
    """What goes wrong on the way back."""
    trained = only_if(lambda problem: problem.dh is not None)
    for what, words in (("hc", "h and c"), ("h", "h"), ("c", "c")):
        yield Variation(
            f"gradient-stopped-through-{what}",
            f"No gradient passes through {words} from one step to the step before.",
            "Do not detach the state between steps (stop_gradient, detach, a copy through NumPy).",
            trained,
            Way(detached=what),
        )
    yield from _COTANGENTS
    for name, (words, factor, kinds) in _SCALES.items():
        yield Variation(
            f"gradient-{name}",
            f"Gradients are {words}.",
            "Take the gradient of the sum of dh * h and dc * c_n, over all timesteps and sequences.",
            trained,
            returned=partial(_scaled, factor=factor, kinds=kinds),
        )
