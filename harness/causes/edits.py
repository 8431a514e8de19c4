"""The edits of one run, by lane and site: what a run asks at every edge, weight and rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.causes.stored import WeightKey, WeightReading
from lockstep.harness.causes.tape import Node

Joined = tuple[Array, Array, Array]  # places, factors and constants of all stored numbers
Steps = Callable[[int], bool]  # whether an edit holds at a timestep, in the lane's own order
Change = Callable[[Any, Node, int], Node]  # of a lane, a value, a timestep: what stands in its place


class NoPlaceError(Exception):
    """A problem has no place for an edit: there is no such value, or it has another shape."""


def every(_step: int) -> bool:
    """Whether an edit that holds at every timestep holds at this one."""
    return True


@dataclass(frozen=True)
class AtEnd:
    """Whether a timestep is the last of so many, or, with ``is_last`` false, one before it."""

    timesteps: int
    is_last: bool

    def __call__(self, step: int) -> bool:
        """Whether an edit holds at a timestep."""
        return (step == self.timesteps - 1) == self.is_last


@dataclass
class Edits:
    """What is edited, by lane ("" is what belongs to no lane) and site."""

    changes: dict[tuple[str, str], list[tuple[Steps, Change]]] = field(default_factory=dict)
    # Each with its turn: a later one reads what earlier ones left.
    readings: dict[WeightKey, list[tuple[int, Steps, WeightReading]]] = field(default_factory=dict)
    rules: dict[tuple[str, str], Any] = field(default_factory=dict)
    curves: dict[tuple[str, str], list[tuple[Steps, Any]]] = field(default_factory=dict)  # of some timesteps
    # Of gradients that are returned: by tensor's kind and lane.
    returned: dict[tuple[str, str], list[Callable[[Array], Array]]] = field(default_factory=dict)

    back: Edits | None = None  # how weights are read on the way back alone: going forward they stay as they are

    alone: bool = False  # whether they keep what came back from one place for another, and cannot run with others
    first_sequence: int = 0  # sequences of the batch before it are run without edits
    turn: int = 0  # of the deviation that is put: later ones read what earlier ones left
    _joined: dict[tuple[int, ...], Joined] = field(default_factory=dict)

    def in_piece(self, timesteps: int) -> Edits:
        """The same for a piece of a sequence, which has a last timestep of its own."""

        def here(steps: Steps) -> Steps:
            return AtEnd(timesteps, steps.is_last) if isinstance(steps, AtEnd) else steps

        return replace(
            self,
            changes={key: [(here(steps), edit) for steps, edit in of_key] for key, of_key in self.changes.items()},
            readings={
                key: [(turn, here(steps), reading) for turn, steps, reading in of_key]
                for key, of_key in self.readings.items()
            },
            curves={key: [(here(steps), edit) for steps, edit in of_key] for key, of_key in self.curves.items()},
            _joined={},
        )

    def touch(self, label: str) -> bool:
        """Whether anything in a lane is edited."""
        return label in self._touched

    @cached_property
    def _touched(self) -> set[str]:
        """The lanes in which anything is edited, once all edits are put."""
        tables = (self.changes, self.readings, self.rules, self.curves, {} if self.back is None else self.back.readings)
        return {key[0] for table in tables for key in table}

    def whole(self, name: str, node: Node, lane: Any = None) -> Node:
        """What arrives over an edge that belongs to no lane."""
        for _, change in self.changes.get(("", name), ()):
            node = change(lane, node, 0)
        return node

    def read(self, key: WeightKey, steps: Steps, reading: WeightReading) -> None:
        """Have a weight read otherwise."""
        self.readings.setdefault(key, []).append((self.turn, steps, reading))

    def reading(self, key: WeightKey, step: int, size: int) -> tuple[tuple[int, ...], WeightReading | None]:
        """How a timestep reads a weight, of ``size`` stored numbers in all; and by which turns, none if it is right."""
        if key not in self.readings:
            return (), None
        entries = [entry for of_key in self.readings.values() for entry in of_key]
        active = tuple(sorted({turn for turn, steps, _ in entries if steps(step)}))
        readings = [reading for turn, steps, reading in self.readings[key] if turn in active and steps(step)]
        if not readings:
            return (), None
        if len(active) == 1 and len(readings) == 1:
            return active, readings[0]
        if active not in self._joined:
            self._joined[active] = self._join(active, step, size)
        places, factors, constants = self._joined[active]
        at = readings[0].home
        form = next((reading.form for reading in readings if reading.form), "")
        adds = all(reading.adds for reading in readings)
        return active, WeightReading(places[at], factors[at], constants[at], adds, form, at)

    def reading_back(self, key: WeightKey, step: int, size: int) -> tuple[tuple[int, ...], WeightReading | None]:
        """How a timestep reads a weight on the way back, where that is edited."""
        if self.back is None or key not in self.back.readings:
            return (), None
        return self.both_ways.reading(key, step, size)

    @cached_property
    def both_ways(self) -> Edits:
        """Weights as the way back reads them: what holds there alone is done to what is read going forward."""
        back = {} if self.back is None else self.back.readings
        keys = {**self.readings, **back}
        return Edits(readings={key: [*self.readings.get(key, ()), *back.get(key, ())] for key in keys})

    def _join(self, active: tuple[int, ...], step: int, size: int) -> Joined:
        """Where every stored number is taken from when turns follow each other, each of what the one before left."""
        places, factors, constants = np.arange(size), np.ones(size), np.zeros(size)
        for turn in active:
            read = [places.copy(), factors.copy(), constants.copy()]
            for entries in self.readings.values():
                for whose, steps, reading in entries:
                    if whose == turn and steps(step):
                        taken = reading.places
                        read[0][reading.home] = places[taken]
                        read[1][reading.home] = factors[taken] * reading.factor
                        read[2][reading.home] = constants[taken] * reading.factor + reading.constant
            places, factors, constants = read
        return places, factors, constants

    def rule(self, label: str, name: str, default: Any) -> Any:
        """A rule, as it is edited or else as it is."""
        return self.rules.get((label, name), default)
