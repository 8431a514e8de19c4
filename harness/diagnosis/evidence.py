"""Views: parts of what was observed, which one fault of several may explain alone."""

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

    one: Observation
    masks: Arrays
    sorted_over: int | None = None  # an axis along which only the set of numbers is looked at, not where they stand


def _where(
    one: Observation, names: str, *, t: int | None = None, b: int | None = None, valid: bool = False
) -> Part | None:
    if one.finite is not one or not set(names) & one.tensors.keys():
        return None
    masks = {}
    for name in names:
        if name not in one.tensors:
            continue
        mask = np.ones(one.tensors[name].shape, bool)
        if t is not None:
            mask[t + 1 :] = False
        if b is not None:
            mask[:, b + 1 :] = False
        if valid and one.problem.lengths is not None:
            mask &= (np.arange(len(mask))[:, None] < one.problem.lengths)[:, :, None]
        masks[name] = mask
    return Part(one, masks)


def _sorted(one: Observation, axis: int) -> Part | None:
    part = _where(one, "hc")
    if part is None or one.problem.lengths is not None or one.problem.x.shape[axis] == 1:
        return None
    return replace(part, sorted_over=axis)


def _from_zero(one: Observation) -> bool:
    return not (one.problem.h0.any() or one.problem.c0.any())


VIEWS: tuple[Callable[[Observation], Part | None], ...] = (
    lambda one: _where(one, "hc") if one.problem.lengths is None else None,
    lambda one: _where(one, "hc", valid=True),
    lambda one: _where(one, "c"),
    lambda one: _where(one, "h"),
    lambda one: _where(one, "hc", b=0, valid=True),
    lambda one: _where(one, "hc", t=0, valid=True),
    lambda one: _where(one, "c", t=0, valid=True),
    lambda one: _where(one, "h", t=0, valid=True),
    lambda one: _where(one, "hc", t=0, b=0, valid=True),
    lambda one: _where(one, "hc") if one.problem.x.shape[1] == 1 else None,
    lambda one: _where(one, "hc") if _from_zero(one) else None,
    lambda one: _where(one, "c", valid=True) if _from_zero(one) else None,
    lambda one: _where(one, "c", t=0) if _from_zero(one) else None,
    lambda one: _sorted(one, 1),
    lambda one: _sorted(one, 0),
)


def matches(part: Part, execution: Execution) -> bool:
    """Whether an execution gives the numbers of a part."""
    one = part.one
    if part.sorted_over is not None:
        computed = interpret_values(one.problem, execution)
        assert computed is not None
        return all(
            close(np.sort(one.values[name], part.sorted_over), np.sort(computed[name], part.sorted_over), near, 1.0)
            for name, near in ((name, one.near[name].max()) for name in part.masks)
        )
    last = max(int(np.flatnonzero(mask.any(axis=(1, 2)))[-1]) for mask in part.masks.values() if mask.any())

    def watch(t: int, new_h: Array, new_c: Array) -> bool:
        new = {"h": new_h, "c": new_c}
        return t > last or all(
            close(one.values[name][t], new[name], np.where(mask[t], one.near[name][t], np.inf), 1.0)
            for name, mask in part.masks.items()
        )

    early = returns_as_computed(execution)
    computed = interpret_values(one.problem, execution, watch if early else None)
    return computed is not None and (
        early
        or all(
            close(one.values[name], computed[name], np.where(mask, one.near[name], np.inf), 1.0)
            for name, mask in part.masks.items()
        )
    )
