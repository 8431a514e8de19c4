# ruff: noqa: ARG001 (edits have one signature)
"""Edits with a free number in them: a gain, a constant, a bound. The number is found from what was returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.causes.edits import Change
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import Deviation, Put, Scope, put_rules, scopes_of
from lockstep.harness.faults.value_edits import added, held, put_group, put_value, scaled, value_at, values_of
from lockstep.harness.faults.weight_edits import put_numbers

# Several: from one start a search may end at the wrong side of 0, or at a bound that nothing reaches.
AROUND_0 = (1.0, -1.0, 0.1)
AROUND_1 = (1.1, 2.0, 0.5, -1.0, 0.0)
SHARES = (0.1, 0.5)
START_BOUNDS = (0.1, 0.3, 1.0, 3.0)


class Numbered(NamedTuple):
    """A deviation but for its number."""

    site: str
    edit: str  # with {} for the number
    scope: Scope
    put: Callable[[float], Put]
    starts: tuple[float, ...]  # from which it is looked for

    def at(self, number: float) -> Deviation:
        """The deviation with that number."""
        return Deviation(self.site, self.edit.format(shown(number)), self.scope, self.put(number))


def shown(number: float) -> str:
    """A number as one would say it: 0.1, 2."""
    return f"{number:.7g}"


def numbered(problem: AnyProblem) -> Iterator[Numbered]:
    """Every edit with a number that a problem has a place for."""
    for site, edit, put, starts in _table(problem):
        for scope in scopes_of(problem):
            yield Numbered(site, edit, scope, put, starts)


Row = tuple[str, str, Callable[[float], Put], tuple[float, ...]]


def _table(problem: AnyProblem) -> Iterator[Row]:
    yield from _of_weights()
    yield from _of_states(problem)
    for site in values_of(problem):
        for edit, change, starts in (
            ("times {}", _scaled, AROUND_1),
            ("plus {}", _added, AROUND_0),
            ("clip {}", _held, START_BOUNDS),
        ):
            yield site, edit, partial(_at_one, site=site, change=change), starts


def _of_weights() -> Iterator[Row]:
    for gates in (*GATES, ""):
        suffix = f".{gates}" if gates else ""
        yield f"b{suffix}", "plus {}", partial(_constant, group="b", gates=gates), AROUND_0
        for group in ("b", "W", "R", "WR", "WRb"):
            yield f"{group}{suffix}", "times {}", partial(_gain, group=group, gates=gates), AROUND_1
    yield "WRb of i, f and o", "times {}", partial(_gain, group="WRb", gates="ifo"), AROUND_1


def _gain(number: float, group: str, gates: str) -> Put:
    return put_numbers(group, number, 0.0, gates)


def _constant(number: float, group: str, gates: str) -> Put:
    return put_numbers(group, 1.0, number, gates)


def _of_states(problem: AnyProblem) -> Iterator[Row]:
    for site, sites in (("h_in and c_in", ("h_in", "c_in")), ("h0 and c0", ("h0", "c0"))):
        yield site, "times {}", partial(_at_all, sites=sites, change=_scaled), AROUND_1
    late = ("c.carry", "c.out")
    yield "c.carry and c.out", "clip {}", partial(_at_all, sites=late, change=_held), START_BOUNDS
    for site, names in (("h and c", "hc"), ("h", "h"), ("c", "c")):
        yield site, "{} of the old kept", partial(_mixtures, names=names), SHARES
    for site, gates in (*((f"z.{gate}", gate) for gate in "ifo"), ("peepholes", "ifo")):
        yield site, "plus {} times c", partial(_peepholes, gates=gates), AROUND_0
    yield "z.o", "plus {} times the old c", partial(_peepholes, gates="O"), AROUND_0
    if problem.case.lstm.cell_clip is not None:
        yield "clip", "at {}", lambda number: put_rules({"clip": abs(number)}), START_BOUNDS


def _scaled(number: float) -> Change:
    return partial(scaled, factor=number)


def _added(number: float) -> Change:
    return partial(added, number=number)


def _held(number: float) -> Change:
    return partial(held, bound=abs(number))


def _at_one(number: float, site: str, change: Callable[[float], Change]) -> Put:
    return put_value(site, change(number))


def _at_all(number: float, sites: tuple[str, ...], change: Callable[[float], Change]) -> Put:
    return put_group(sites, [change(number)] * len(sites))


def _mixtures(number: float, names: str) -> Put:
    """Keep a share of the old state: h is mixed where it is made, c where it is carried and returned."""
    sites = [site for name in names for site in (("h",) if name == "h" else ("c.carry", "c.out"))]
    return put_group(sites, [partial(_mixed, share=number, old=f"{site[0]}_in") for site in sites])


def _mixed(lane: LaneRun, node: Node, t: int, share: float, old: str) -> Node:
    kept = lane.tape.scale(value_at(lane, old, 0, node), share)
    return lane.tape.add(lane.tape.scale(node, 1 - share), kept)


def _peepholes(number: float, gates: str) -> Put:
    states = {"i": "c_in", "f": "c_in", "o": "c", "O": "c_in"}
    changes = [partial(_with_peephole, weight=number, name=states[gate]) for gate in gates]
    return put_group([f"z.{gate.lower()}" for gate in gates], changes)


def _with_peephole(lane: LaneRun, node: Node, t: int, weight: float, name: str) -> Node:
    return lane.tape.add(node, lane.tape.scale(value_at(lane, name, 0, node), weight))
