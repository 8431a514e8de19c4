"""Parts of what was observed, which one fault of several may explain alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.diagnosis.observation import Observation, close
from lockstep.harness.faults.execution import Execution
from lockstep.harness.faults.interpret import interpret_values, returns_as_computed


@dataclass(frozen=True, eq=False)
class Part:
    """Some numbers of an observation: a mask for each tensor that is looked at."""

    observation: Observation
    masks: Arrays
    sorted_over: int | None = None  # an axis along which only the set of numbers is looked at, not where they stand


def _where(
    observation: Observation, names: str, *, t: int | None = None, b: int | None = None, valid: bool = False
) -> Part | None:
    if observation.finite is not observation or not set(names) & observation.tensors.keys():
        return None
    masks = {}
    for name in names:
        if name not in observation.tensors:
            continue
        mask = np.ones(observation.tensors[name].shape, bool)
        if t is not None:
            mask[t + 1 :] = False
        if b is not None:
            mask[:, b + 1 :] = False
        if valid and observation.problem.lengths is not None:
            mask &= (np.arange(len(mask))[:, None] < observation.problem.lengths)[:, :, None]
        masks[name] = mask
    return Part(observation, masks)


def _sorted(observation: Observation, axis: int) -> Part | None:
    part = _where(observation, "hc")
    if part is None or observation.problem.lengths is not None or observation.problem.x.shape[axis] == 1:
        return None
    return replace(part, sorted_over=axis)


def _from_zero(observation: Observation) -> bool:
    return not (observation.problem.h0.any() or observation.problem.c0.any())


VIEWS: tuple[Callable[[Observation], Part | None], ...] = (
    lambda observation: _where(observation, "hc") if observation.problem.lengths is None else None,
    lambda observation: _where(observation, "hc", valid=True),
    lambda observation: _where(observation, "c"),
    lambda observation: _where(observation, "h"),
    lambda observation: _where(observation, "hc", b=0, valid=True),
    lambda observation: _where(observation, "hc", t=0, valid=True),
    lambda observation: _where(observation, "c", t=0, valid=True),
    lambda observation: _where(observation, "h", t=0, valid=True),
    lambda observation: _where(observation, "hc", t=0, b=0, valid=True),
    lambda observation: _where(observation, "hc") if observation.problem.x.shape[1] == 1 else None,
    lambda observation: _where(observation, "hc") if _from_zero(observation) else None,
    lambda observation: _where(observation, "c", valid=True) if _from_zero(observation) else None,
    lambda observation: _where(observation, "c", t=0) if _from_zero(observation) else None,
    lambda observation: _sorted(observation, 1),
    lambda observation: _sorted(observation, 0),
)


def matches(part: Part, execution: Execution) -> bool:
    """Whether an execution gives the numbers of a part."""
    observation = part.observation
    if part.sorted_over is not None:
        computed = interpret_values(observation.problem, execution)
        assert computed is not None
        return all(
            close(
                np.sort(observation.values[name], part.sorted_over),
                np.sort(computed[name], part.sorted_over),
                near,
                1.0,
            )
            for name, near in ((name, observation.near[name].max()) for name in part.masks)
        )
    last = max(int(np.flatnonzero(mask.any(axis=(1, 2)))[-1]) for mask in part.masks.values() if mask.any())

    def watch(t: int, new_h: Array, new_c: Array) -> bool:
        new = {"h": new_h, "c": new_c}
        return t > last or all(
            close(observation.values[name][t], new[name], np.where(mask[t], observation.near[name][t], np.inf), 1.0)
            for name, mask in part.masks.items()
        )

    early = returns_as_computed(execution)
    computed = interpret_values(observation.problem, execution, watch if early else None)
    return computed is not None and (
        early
        or all(
            close(observation.values[name], computed[name], np.where(mask, observation.near[name], np.inf), 1.0)
            for name, mask in part.masks.items()
        )
    )
