"""What many causes give for one observation, at a small part of the price of one run for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.tensors import kind_of
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.interpret import values_with
from lockstep.harness.causes.many import Many, can_join, rules_of
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.seen import Cause, MissError, Seen, flip_of, form_of
from lockstep.harness.faults.deviation import FORWARD, edits_of

MOST_AT_ONCE = 64  # candidates in one run
MOST_VALUES = 100_000  # of all candidates that run at once: their values should stay near the processor


class Comparison(NamedTuple):
    """How a cause's values compare with what was returned."""

    passes: bool
    passed: int = 0  # comparisons before the first that differs
    failed: str = ""  # the tensor in which a number differs first
    repaired: int = 0  # numbers that are as they were returned, where all were counted
    effect: float = 0.0  # alike where all values are


NO_PLACE = Comparison(passes=False)


class Tally:
    """Compares the values of many candidates; ends their run when each of them has a number that differs."""

    def __init__(self, observation: Observation, many: Many, flip: float, *, counts: bool) -> None:
        """Take what was returned, and by how much of values rounding to a shorter format may put these off.

        With ``counts`` all numbers are compared, and those that are right counted.
        """
        self.observation, self.many, self.flip, self.counts = observation, many, flip, counts
        size = len(many.each)
        self.right = np.ones(size, bool)
        self.passed, self.repaired = np.zeros(size, int), np.zeros(size, int)
        self.failed = [""] * size
        self.effect = np.zeros(size)

    def tensor(self, name: str, value: Array) -> None:
        """Compare a whole tensor."""
        self._compare(name, ..., value)

    def step(self, name: str, t: Any, value: Array) -> None:
        """Compare one timestep."""
        if not self.counts:
            self._compare(name, t, value)

    def _compare(self, name: str, rows: Any, value: Array) -> None:
        actual = self.observation.values.get(name)
        if actual is None:
            return
        actual, near = actual[rows], self.observation.near[name][rows]
        if self.flip:
            near = np.maximum(near, self.flip * np.maximum(np.abs(actual), 1))
        value = by_candidate(name, value, actual.ndim)
        within = np.abs(actual - value) <= near
        if not within.all():
            within |= (actual == value) | (np.isnan(actual) & np.isnan(value))
        within = within.reshape(len(within), -1)
        if self.counts:
            self.repaired += within.sum(axis=1)
            # One number for all that a candidate gives: those that give the same are recognised by it.
            flat = np.broadcast_to(value, (len(within), *actual.shape)).reshape(len(within), -1)
            self.effect = self.effect + np.nan_to_num(flat @ np.sin(1.0 + np.arange(flat.shape[1])))
        agrees = within.all(axis=1)
        for n in np.flatnonzero(self.right & ~agrees):
            self.failed[n] = name
        self.right &= agrees
        self.passed += self.right
        if not self.counts:
            self.many.alive &= self.right
            if not self.many.alive.any():
                raise MissError


def by_candidate(name: str, value: Array, ndim: int) -> Array:
    """The values of a tensor with the axis of candidates in front, of one entry where they are alike."""
    if value.ndim == ndim:
        return value[None]
    return np.moveaxis(value, 1 if kind_of(name).endswith("_t") else max(value.ndim - 3, 0), 0)


def outcomes(
    seen: Seen, causes: Sequence[Cause], names: set[str] | None = None, *, counts: bool = False
) -> list[Comparison | None]:
    """How each cause's values compare with an observation; None for those that have to be run by themselves.

    ``names`` are the tensors that are compared, all that go forward if left out; with ``counts`` every number of them.
    """
    comparisons: list[Comparison | None] = [None] * len(causes)
    wanted = seen.forward_names if names is None else names & set(seen.observation.tensors)
    for numbers, each, form in _groups(seen, causes, wanted, comparisons):
        for k, outcome in zip(numbers, _compared(seen, each, wanted, flip_of(form), counts=counts), strict=True):
            comparisons[k] = outcome
    return comparisons


def _groups(
    seen: Seen, causes: Sequence[Cause], wanted: set[str], comparisons: list[Comparison | None] | None = None
) -> Iterator[tuple[list[int], list[Edits], str | None]]:
    """Causes that can be run as one: their numbers, edits and format; those without a place are put down as such."""
    groups: defaultdict[Any, list[tuple[int, Edits]]] = defaultdict(list)
    for k, cause in enumerate(causes):
        try:
            edits = edits_of(cause, seen.problem)
        except NoPlaceError:
            if comparisons is not None:
                comparisons[k] = NO_PLACE
            continue
        if joins(cause, edits, goes_back=bool(wanted - seen.forward_names)):
            groups[form_of(cause), alike(edits)].append((k, edits))
    size = sum(seen.observation.tensors[name].size for name in wanted)
    for (form, _), group in groups.items():
        for part in in_runs(group, size):
            yield [k for k, _ in part], [edits for _, edits in part], form


def joins(cause: Cause, edits: Edits, *, goes_back: bool) -> bool:
    """Whether a cause can be run with others; ``goes_back``: whether gradients are asked for."""
    # Gradients do not go back through what each candidate does otherwise going forward.
    return can_join(edits) and not (goes_back and any(deviation.way == FORWARD for deviation in cause))


def in_runs(group: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """A group in parts that run at once; ``size``: of how many values each candidate is asked."""
    most = max(1, min(MOST_AT_ONCE, MOST_VALUES // max(size, 1)))
    yield from (group[start : start + most] for start in range(0, len(group), most))


# Edges behind which what is compared at each timestep, or what a step starts from, is not what was returned.
_APART = frozenset({"x.seq", "x.turned.seq", "h.seq", "c.seq", "h.out", "c.out", "returned", "all h_n", "all c_n"})


def alike(edits: Edits) -> Any:
    """What has to be the same of edits that are run as one."""
    sites = frozenset(site for table in (edits.changes, edits.rules) for _, site in table if site in _APART)
    return rules_of(edits), sites, edits.touch("")


def _compared(seen: Seen, each: list[Edits], wanted: set[str], flip: float, *, counts: bool) -> list[Comparison]:
    many = Many.of(each)
    tally = Tally(seen.observation, many, flip, counts=counts)
    back = wanted - seen.forward_names
    states = None if back else seen.states_for(many)
    with np.errstate(all="ignore"):
        try:
            values_with(seen.problem, many, wanted, tally, None if states or back else seen.base, states)
        except MissError:
            pass
        except NoPlaceError:  # for what all of them do
            return [NO_PLACE] * len(each)
    tally.right &= many.alive  # those that have no place, or that differ
    effects = [float(f"{float(effect):.9g}") for effect in tally.effect]
    columns = zip(tally.right, tally.passed, tally.failed, tally.repaired, effects, strict=True)
    return [
        Comparison(bool(right), int(passed), failed, int(repaired), effect)
        for right, passed, failed, repaired, effect in columns
    ]


def misses(seen: Seen, causes: Sequence[Cause], names: set[str]) -> list[Array | None]:
    """For each cause all differences from what was returned, in noise, as one vector; None if one is not finite."""
    vectors: list[Array | None] = [None] * len(causes)
    for numbers, each, _ in _groups(seen, causes, names):
        many = Many.of(each)
        states = seen.states_for(many)
        with np.errstate(all="ignore"):
            try:
                values = values_with(seen.problem, many, names, None, None if states else seen.base, states)
            except NoPlaceError:
                continue
        parts = []
        for name, value in values.items():
            actual, noise = seen.observation.values[name], seen.observation.expected[name].noise
            by_candidate = np.moveaxis(value, max(value.ndim - 3, 0), 0) if value.ndim > actual.ndim else value[None]
            scaled = ((actual - by_candidate) / noise).astype(np.float64)
            parts.append(np.broadcast_to(scaled, (len(each), *actual.shape)).reshape(len(each), -1))
        for k, vector, alive in zip(numbers, np.concatenate(parts, axis=1), many.alive, strict=True):
            if alive and np.isfinite(vector).all():
                vectors[k] = vector
    return vectors
