# ruff: noqa: ARG001 (edits have one signature)
"""Edits of the errors that come back through a step: in one product, or at one gate."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.tensors import lanes
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.network_run import label_of
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import BACK, Deviation, Put, Scope, spread_over
from lockstep.harness.faults.value_edits import put_group, put_value


def error_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Products of the way back whose errors are not those of the pre-activations, at their own timestep."""
    for site, through in (("d h_in", {"h_in": "R"}), ("d x", {"x": "W"}), ("d x and h_in", {"x": "W", "h_in": "R"})):
        if not (isinstance(problem, DecoderProblem) and "x" in through):
            sites = [*GATES, *through]
            changes = [*(partial(_remembered, gate=gate) for gate in GATES)]
            changes += [partial(_without_slopes, name=name) for name in through.values()]
            yield from spread_over(problem, site, "of errors without slopes", _put_alone(sites, changes), BACK)
    yield from _part_deviations(problem)
    if isinstance(problem, DecoderProblem):
        return
    for site, names in (("dW", "W"), ("dR", "R"), ("dW and dx", "Wx"), ("dR, dW and dx", "RWx")):
        yield from spread_over(problem, site, "of errors in the order of the way back", _in_reverse(names), BACK)
    put = put_value("c.carry", _with_final_cotangent)
    yield from spread_over(problem, "d c.carry", "plus dc", put, BACK, ("earlier",))
    if problem.case.lstm.single and not problem.case.lstm.proj_size:
        for site, kept in (("d out.o", "u"), ("d out.u", "o")):
            put = put_value(site[2:], partial(_from_outside, kept=kept))
            yield from spread_over(problem, site, "without what comes from the next step", put, BACK)


# -- slopes of a part --------------------------------------------------------------------------------------------


def _part_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """The slope of a gate on one of the two parts of its error: what comes through h, and what comes through c."""
    for gate in PARTNER_OF:
        for part in ("h", "c"):
            changes = [partial(_remembered, gate="through h"), partial(_remembered, gate=gate)]
            changes.append(partial(_sloped_in_part, gate=gate, part=part))
            put = _put_alone(["tanh.c", gate, f"z.{gate}"], changes)
            yield from spread_over(problem, f"slope of {gate}", f"on what comes through {part} alone", put, BACK)


PARTNER_OF = {"i": "g", "f": "c_in", "g": "i"}  # what each gate is multiplied by in the new c


def _sloped_in_part(lane: LaneRun, node: Node, t: int, gate: str, part: str) -> Node:
    def pull(d: Node) -> Node:
        whole, through = lane.errors[t, gate], lane.errors.get((t, "through h"))
        if through is None:
            return d
        of_h = lane.tape.multiply(through, lane.history[PARTNER_OF[gate]][t])
        bare = lane.tape.add(whole, lane.tape.scale(of_h, -1.0)) if part == "h" else of_h
        value = lane.history[gate][t]
        slope = Node(lane.curve(gate).slope(node.value, value.value))
        sloped = lane.tape.multiply(bare, slope)
        return lane.tape.add(d, lane.tape.add(bare, lane.tape.scale(sloped, -1.0)))

    return lane.tape.through(node, pull)


# -- without slopes ----------------------------------------------------------------------------------------------


def _put_alone(sites: list[str], changes: list[Change]) -> Put:
    """Put changes that keep what came back to one site for another."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        edits.alone = True
        put_group(sites, changes)(edits, problem, scope)

    return put


def _remembered(lane: LaneRun, node: Node, t: int, gate: str) -> Node:
    """Keep what arrives at a gate, before its slope."""

    def pull(d: Node) -> Node:
        lane.errors[t, gate] = d
        return d

    return lane.tape.through(node, pull)


def _without_slopes(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    """What comes back through a kernel is made of the errors of the gates, not of their pre-activations."""
    leaf = lane.leaf(name)

    def pull(d: Node) -> Node:
        parts = [lane.errors.get((t, gate)) for gate in GATES]
        like = next(part for part in parts if part is not None)
        errors = lane.tape.join([lane.tape.zeros(like) if part is None else part for part in parts])
        return lane.tape.back_through(errors, leaf)

    return lane.tape.through(node, pull)


# -- in the order of the way back --------------------------------------------------------------------------------


def _in_reverse(names: str) -> Put:
    """Match the errors, which are made from the last step to the first, with inputs in the order of time."""
    operands: dict[str, Change] = {
        {"W": "x", "R": "h_in"}[name]: partial(_of_mirrored_step, name={"W": "x", "R": "h_in"}[name])
        for name in names
        if name != "x"
    }

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        put_group(operands, operands.values())(edits, problem, scope)
        if "x" in names:
            edits.returned.setdefault(("", "dx"), []).append(_turned_round)

    return put


def _turned_round(gradient: Array) -> Array:
    return np.flip(gradient, 0)


def _of_mirrored_step(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    passed = lane.tape.through(node, lambda d: d)
    passed.saved = lambda: lane.history[name][len(lane.history[name]) - 1 - t]
    return passed


# -- from outside alone ------------------------------------------------------------------------------------------


def _from_outside(lane: LaneRun, node: Node, t: int, kept: str) -> Node:
    """What arrives at a factor of h = o tanh(c) is made of the given gradient of h alone."""
    problem = lane.problem
    if lane.reverse or problem.dh is None:
        raise NoPlaceError
    given = problem.dh[t]
    if lane.lengths is not None:
        given = given * (t < lane.lengths)[:, None]
    other = lane.tape.exact(given)
    return lane.tape.through(node, lambda d: lane.tape.multiply(other, lane.history[f"out.{kept}"][t].kept))


def _with_final_cotangent(lane: LaneRun, node: Node, t: int) -> Node:
    """What comes back to the c of a step that is not the last, with the gradient of the final c added again."""
    labels = [label_of(place) for place in lanes(lane.lstm)]
    given = lane.tape.exact(lane.problem.states("dc")[labels.index(lane.label)])
    return lane.tape.through(node, lambda d: lane.tape.add(d, given))
