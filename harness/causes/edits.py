"""The edits of one run, by lane and site: what a run asks at every edge, weight and rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lockstep.harness.arrays import Array
from lockstep.harness.causes.stored import Reading
from lockstep.harness.causes.tape import Node

Steps = Callable[[int], bool]  # whether an edit holds at a timestep, in the lane's own order
Change = Callable[[Any, Node, int], Node]  # of a lane, a value, a timestep: what stands in its place


class NoPlaceError(Exception):
    """A problem has no place for an edit: there is no such value, or it has another shape."""


def every(_step: int) -> bool:
    """Whether an edit that holds at every timestep holds at this one."""
    return True


@dataclass
class Edits:
    """What is edited, by lane ("" is what belongs to no lane) and site."""

    changes: dict[tuple[str, str], list[tuple[Steps, Change]]] = field(default_factory=dict)
    readings: dict[tuple[str, str], list[tuple[Steps, Reading]]] = field(default_factory=dict)
    rules: dict[tuple[str, str], Any] = field(default_factory=dict)
    # Of gradients that are returned: by tensor's kind and lane.
    returned: dict[tuple[str, str], list[Callable[[Array], Array]]] = field(default_factory=dict)

    def touch(self, label: str) -> bool:
        """Whether anything in a lane is edited."""
        return any(key[0] == label for table in (self.changes, self.readings, self.rules) for key in table)

    def whole(self, name: str, node: Node, lane: Any = None) -> Node:
        """What arrives over an edge that belongs to no lane."""
        for _, change in self.changes.get(("", name), ()):
            node = change(lane, node, 0)
        return node

    def reading(self, label: str, name: str, step: int) -> tuple[int, Reading | None]:
        """How a timestep reads a weight, and which of several readings that is; 0 is what is right."""
        for which, (steps, reading) in enumerate(self.readings.get((label, name), ())):
            if steps(step):
                return which + 1, reading
        return 0, None

    def rule(self, label: str, name: str, default: Any) -> Any:
        """A rule, as it is edited or else as it is."""
        return self.rules.get((label, name), default)
