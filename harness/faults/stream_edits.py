"""Edits of states between the pieces of a sequence that arrives in several: dropped, narrowed, exchanged, kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.edits import Edits, every
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.stream_run import ALL_BETWEEN_PIECES, BETWEEN_PIECES, Handover, StreamRun
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import Deviation, Put, Scope, spread_over
from lockstep.harness.faults.network_edits import orders_of
from lockstep.harness.faults.value_edits import cast, fit, put_group, shorter_formats

StateChange = Callable[[Handover, Node, str], Node]  # of a lane's states, one of them, and its name

STATES_BETWEEN_PIECES = {"state between pieces": "hc", "h between pieces": "h", "c between pieces": "c"}
CHANGES: dict[str, StateChange] = {
    "zero": lambda lane, node, name: lane.tape.zeros(node),
    "initial": lambda lane, node, name: fit(lane.initial[name], node),
    "exchanged": lambda lane, node, name: fit(lane.ended["c" if name == "h" else "h"], node),
}
# What is returned as the final state of a piece is what the next one gets.
_FINALS = {"h_n and c_n": ("h_n", "c_n"), "h_n": ("h_n",), "c_n": ("c_n",)}


def stream_deviations(problem: Problem) -> Iterator[Deviation]:
    """Everything that may become of a state between two pieces."""
    for site, names in STATES_BETWEEN_PIECES.items():
        for edit, change in CHANGES.items():
            yield from spread_over(problem, site, edit, _put(names, change))
        for edit, order in orders_of(problem).items():
            yield Deviation(site, edit, Scope("", ("",)), partial(_reorder, names=names, order=order))
    for form in shorter_formats(problem):
        for site, names in STATES_BETWEEN_PIECES.items():
            yield from spread_over(problem, site, f"in {form}", _put(names, _narrowed(form)), form=form)
        for site, sites in _FINALS.items():
            put = put_group(sites, [partial(cast, form=form)] * len(sites))
            yield from spread_over(problem, site, f"in {form}", put, form=form)
    yield from spread_over(problem, "h_n and c_n", "zero", put_group(_FINALS["h_n and c_n"], [_zero] * 2))


def _zero(lane: LaneRun, node: Node, t: int) -> Node:  # noqa: ARG001 (edits have one signature)
    return lane.tape.zeros(node)


def _put(names: str, change: StateChange) -> Put:
    """Put a change on the way of h, of c, or of both, in every lane in scope."""

    def changed(lane: Handover, node: Node, t: int, name: str) -> Node:  # noqa: ARG001 (edits have one signature)
        return change(lane, node, name)

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:  # noqa: ARG001
        for label in scope.lanes:
            for name in names:
                edit = every, partial(changed, name=name)
                edits.changes.setdefault((label, BETWEEN_PIECES[name]), []).append(edit)

    return put


def _narrowed(form: str) -> StateChange:
    return lambda lane, node, name: lane.tape.cast(node, form)


def _reorder(edits: Edits, problem: AnyProblem, scope: Scope, names: str, order: list[int]) -> None:  # noqa: ARG001
    """Hand the states of lanes to others, in another order."""

    def change(run: StreamRun, node: Node, t: int) -> Node:  # noqa: ARG001
        # Nothing goes back through pieces.
        return run.tape.moved(node, lambda a: a[order], lambda d: d)

    for name in names:
        edits.changes.setdefault(("", ALL_BETWEEN_PIECES[name]), []).append((every, change))
