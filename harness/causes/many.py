# ruff: noqa: PLR2004 (numbers of axes)
"""Many sets of edits run as one: every value may have an axis of candidates, in front of that of sequences.

What no candidate has edited yet is computed once. Each candidate's own edits see its own part of a value, of the shape
that they are written for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError, Steps, WeightKey, every
from lockstep.harness.causes.noisy_curves import NoisyCurve, curve_of
from lockstep.harness.causes.stored import WeightReading
from lockstep.harness.causes.tape import Node

ByCandidate = list[tuple[int, Steps, Any]]  # whose, at which timesteps, what
WHOLE = frozenset({"x.seq", "x.turned.seq", "h.seq", "c.seq", "up.seq"})  # edges that whole sequences (T, B, n) go over


def rules_of(edits: Edits) -> frozenset[Any]:
    """What has to be alike for edits to be run as one: their rules, but for curves."""
    return frozenset((key, _identity(value)) for key, value in edits.rules.items() if not _of_curve(key[1]))


def can_join(edits: Edits) -> bool:
    """Whether edits can be run with others: parts of batches, and what an encoder gives, cannot."""
    # Parts of a batch are put together of two runs, one with the edits and one without.
    if edits.alone or edits.first_sequence or edits.touch("encoder"):
        return False
    if any(site in {"enc", "keys", "values"} for _, site in edits.changes) or any(
        rule == "sequences" for _, rule in edits.rules
    ):
        return False
    return all(reading.adds for of_key in edits.readings.values() for _, _, reading in of_key)


def _of_curve(rule: str) -> bool:
    return rule in _CURVES


_CURVES = frozenset(f"{kind} {gate}" for kind in ("curve", "slope") for gate in "ifgou")


def _identity(value: Any) -> Any:
    # Functions have no equality of their own: one object for all, or not alike.
    return id(value) if callable(value) else value


@dataclass
class Many(Edits):
    """The edits of candidates that have their rules in common."""

    each: Sequence[Edits] = ()
    alive: Array = field(default_factory=lambda: np.zeros(0, bool))  # those whose edits are still asked for
    _read: dict[WeightKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    _readings: dict[tuple[Any, ...], WeightReading] = field(default_factory=dict)
    _standing: dict[WeightKey, tuple[tuple[int, ...], WeightReading]] = field(default_factory=dict)

    @classmethod
    def of(cls, each: Sequence[Edits]) -> Many:
        """Join edits that ``can_join``, and of which ``rules_of`` are alike."""
        many = cls(each=each, alive=np.ones(len(each), bool))
        many.rules = {key: value for key, value in each[0].rules.items() if not _of_curve(key[1])}
        changes: defaultdict[tuple[str, str], ByCandidate] = defaultdict(list)
        curves: defaultdict[tuple[str, str], ByCandidate] = defaultdict(list)
        returned: defaultdict[tuple[str, str], ByCandidate] = defaultdict(list)
        for n, edits in enumerate(each):
            for site, entries in edits.changes.items():
                changes[site] += [(n, steps, change) for steps, change in entries]
            for site, value in edits.rules.items():
                if _of_curve(site[1]):
                    curves[site].append((n, every, value))
            for site, timed in edits.curves.items():
                curves[site] += [(n, steps, name) for steps, name in timed]
            for kind, functions in edits.returned.items():
                returned[kind] += [(n, every, function) for function in functions]
            for key in edits.readings:
                many._read[key].append(n)
        many.changes = {site: [(every, many._changing(site, entries))] for site, entries in changes.items()}
        for site, entries in curves.items():
            if site[1].startswith("curve "):
                many.curves[site] = [(every, _choosing(entries, len(each)))]
            else:
                many.rules[site] = _choosing(entries, len(each))
        many.returned = {kind: [many._returning(kind[1], entries)] for kind, entries in returned.items()}
        # What is read is asked for by key, as of any edits.
        many.readings = {key: [] for key in many._read}
        many._join_back()
        return many

    def in_piece(self, timesteps: int) -> Many:
        """The same for a piece of a sequence; who is not asked for there is not asked for in later ones."""
        many = Many.of([edits.in_piece(timesteps) for edits in self.each])
        many.alive = self.alive
        return many

    def _join_back(self) -> None:
        """Join what is read otherwise on the way back."""
        if any(edits.back is not None for edits in self.each):
            back = self.back = Many.of([edits.both_ways for edits in self.each])
            back.alive = self.alive

    def reading(self, key: WeightKey, step: int, size: int) -> tuple[tuple[int, ...], WeightReading | None]:
        """How a timestep reads a weight, by candidate."""
        if key in self._standing:
            return self._standing[key]
        read = [(n, *self.each[n].reading(key, step, size)) for n in self._read.get(key, ()) if self.alive[n]]
        which: Any = tuple((n, turns) for n, turns, _ in read if turns)
        if not which:
            return (), None
        if (key, which) not in self._readings:
            by_candidate = {n: reading for n, _, reading in read if reading is not None}
            # All readings of one weight are of one home: those of other candidates read it as it is stored.
            home = next(iter(by_candidate.values())).home
            assert home is not None
            self._readings[key, which] = _Readings(home, home=home, of_candidates=by_candidate, count=len(self.each))
        if all(steps is every for n, *_ in read for of_key in self.each[n].readings.values() for _, steps, _ in of_key):
            self._standing[key] = which, self._readings[key, which]  # alike at every timestep
        return which, self._readings[key, which]

    @property
    def both_ways(self) -> Edits:  # type: ignore[override]
        """Weights as the way back reads them, by candidate."""
        assert self.back is not None
        return self.back

    def _changing(self, site: tuple[str, str], entries: ByCandidate) -> Change:
        """The change that gives each candidate its own."""
        ndim = 3 if site[0] == "" or site[1] in WHOLE else 2
        common = len(entries) == len(self.each) and len({(id(steps), id(edit)) for _, steps, edit in entries}) == 1

        def change(lane: Any, node: Node, t: int) -> Node:
            if common and node.value.ndim == ndim:  # what all candidates do to one value is done once
                _, steps, of_all = entries[0]
                return of_all(lane, node, t) if steps(t) else node
            changed: dict[int, Node] = {}
            for n, steps, of_candidate in entries:
                if self.alive[n] and steps(t):
                    part = changed[n] if n in changed else _part(node, n, ndim)
                    try:
                        changed[n] = of_candidate(lane, part, t)
                    # It has no place for its edit: the others go on, and nobody looks at it any more. Before the
                    # first step that says nothing: what only a step computes has its place later.
                    except NoPlaceError:
                        self.alive[n] &= t < 0
                    except LookupError:
                        if t >= 0:
                            raise
            return _put_together(lane, node, changed, self.alive, ndim) if changed else node

        return change

    def _returning(self, kind: str, entries: ByCandidate) -> Callable[[Array], Array]:
        """What becomes of a gradient that is returned, by candidate."""
        ndim = 3 if kind in {"dx", "denc"} else 1 if kind.startswith("db") else 2
        axis = 1 if ndim == 3 else 0  # behind time

        def change(array: Array) -> Array:
            once = np.expand_dims(array, axis) if array.ndim == ndim else array
            rows = np.moveaxis(once, axis, 0)
            # Until here it was alike for all candidates.
            rows = np.repeat(rows, len(self.each), 0) if len(rows) == 1 else rows.copy()
            for n, _, of_candidate in entries:
                try:
                    rows[n] = of_candidate(rows[n])
                except NoPlaceError:
                    self.alive[n] = False
            return np.moveaxis(rows, 0, axis)

        return change


@dataclass(frozen=True, eq=False)
class _Readings(WeightReading):
    """A reading for each candidate; those that have none of their own read what is stored."""

    of_candidates: Mapping[int, WeightReading] = field(default_factory=dict)
    count: int = 0

    def of(self, flat: Array) -> Array:
        """What each reads, (candidates, ...)."""
        read = np.repeat(flat[self.places][None], self.count, 0)
        for n, reading in self.of_candidates.items():
            read[n] = reading.of(flat)
        return read


def _part(node: Node, n: int, ndim: int) -> Node:
    """One candidate's part of a value."""
    return Node(node.value[..., n, :, :]) if node.value.ndim > ndim else node


def _spread(array: Array, count: int, ndim: int) -> Array:
    """A copy with an axis of candidates."""
    if array.ndim == ndim:
        array = np.broadcast_to(array[..., None, :, :], (*array.shape[:-2], count, *array.shape[-2:]))
    return array.copy()


def _put_together(lane: Any, node: Node, changed: dict[int, Node], alive: Array, ndim: int) -> Node:
    # The value itself stayed: these are edits of what comes back.
    if lane.tape.records and all(new.value is node.value for new in changed.values()):
        return _going_back(lane, node, changed, alive, ndim)
    value = _spread(node.value, len(alive), ndim)
    for n, new in changed.items():
        value[..., n, :, :] = _part(new, n, ndim).value
    return Node(value)


def _going_back(lane: Any, node: Node, changed: dict[int, Node], alive: Array, ndim: int) -> Node:
    """The same value; what comes back to it, and what is saved of it, is each candidate's own."""

    def pull(d: Node) -> Node:
        value = _spread(d.value, len(alive), ndim)
        for n, new in changed.items():
            part = _part(d, n, ndim)
            while new is not node:
                ((new, of_candidate, _),) = new.sources  # noqa: PLW2901 (back along its own edits)
                part = of_candidate(part)
            value[..., n, :, :] = _part(part, n, ndim).value
        return Node(value)

    result = lane.tape.through(node, pull)
    if any(new.saved for new in changed.values()):
        result.saved = lambda: _saved(node, changed, alive, ndim)
    return result


def _saved(node: Node, changed: dict[int, Node], alive: Array, ndim: int) -> Node:
    value = _spread(node.kept.value, len(alive), ndim)
    for n, new in changed.items():
        try:
            value[..., n, :, :] = _part(new.kept, n, ndim).value
        except NoPlaceError:
            alive[n] = False
    return Node(value)


@dataclass(frozen=True)
class _Curves(NoisyCurve):
    """A curve for each candidate; those that have none of their own keep the one that stands there."""

    standing: NoisyCurve = field(default_factory=lambda: curve_of("tanh"))
    own_of: Mapping[int, NoisyCurve] = field(default_factory=dict)
    count: int = 0

    def slope(self, z: Array, a: Array) -> Array:
        """The slope, by candidate."""
        slopes = _spread(self.standing.slope(z, a), self.count, 2)
        for n, curve in self.own_of.items():
            slopes[..., n, :, :] = curve.slope(_rows(z, n), _rows(a, n))
        return slopes


def _rows(array: Array, n: int) -> Array:
    return array[..., n, :, :] if array.ndim > 2 else array


def _choosing(entries: ByCandidate, count: int) -> Callable[[NoisyCurve, int], NoisyCurve]:
    """Curves by candidate, from the curve that stands there and a timestep."""

    def of(standing: NoisyCurve, step: int) -> NoisyCurve:
        curves = {n: curve_of(name) if isinstance(name, str) else name for n, steps, name in entries if steps(step)}

        def value(z: Array) -> Array:
            values = _spread(standing.value(z), count, 2)
            for n, curve in curves.items():
                values[..., n, :, :] = curve.value(_rows(z, n))
            return values

        return _Curves(standing.name, value, standing.activation, standing, curves, count)

    return of
