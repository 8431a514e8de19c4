# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of the way back alone: of what comes back, of what is saved for it, and of gradients as they are returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError
from lockstep.harness.causes.lane import Lane
from lockstep.harness.causes.stored import Reading
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import BACK, STEPS, Deviation, Put, Scope, spread_over, steps_of, timesteps_of
from lockstep.harness.faults.value_edits import (
    BOUNDS,
    FACTORS,
    STATES_OF_STEPS,
    USES,
    factors_of,
    fit,
    groups_of,
    order_of,
    put_group,
    put_value,
    sites_of,
)
from lockstep.harness.faults.weight_edits import (
    CELL_MOVES,
    GATES,
    GROUPS,
    Move,
    groups_made_anew,
    names_of,
    ordered,
    places_of,
    rows_in,
)

SAVED = ("h_in", "keep.f", "keep.c", "add.i", "add.g", "out.o", "out.u", "x", "peep.i", "peep.f", "peep.o")


def back_deviations(problem: AnyProblem) -> Iterator[Deviation]:  # noqa: C901 (a table)
    """Everything that may become of a gradient on its way, and of what is saved for it."""
    order = order_of(problem)
    for name, group in groups_of(problem).items():
        changes = [_back(lambda lane, d: lane.tape.zeros(d))] * len(group)
        yield from spread_over(problem, f"d {name}", "zero", put_group(group, changes), BACK, ("", *STEPS))
    for site in sites_of(problem, order):
        pulls: dict[str, tuple[Callable[[Lane, Node], Node], tuple[str, ...]]] = {
            "zero": (lambda lane, d: lane.tape.zeros(d), ("", *STEPS)),
        }
        for name in factors_of(problem):
            pulls[f"times {name}"] = (partial(_back_sized, name=name), ("",))
        for bound in BOUNDS:
            pulls[f"clip {bound:g}"] = (partial(_back_held, bound=bound), ("",))
        for edit, (pull, steps) in pulls.items():
            yield from spread_over(problem, f"d {site}", edit, put_value(site, _back(pull)), BACK, steps)
    for site in [site for site in SAVED if site in set(sites_of(problem, order))]:
        for name in order:
            for at, words in ((0, ""), (-1, "previous "), (1, "next ")):
                if not (name == USES.get(site, site) and at == 0):
                    edit = f"saved as {words}{name}"
                    yield from spread_over(
                        problem, site, edit, put_value(site, partial(_saved, name=name, at=at)), BACK
                    )
            if name in STATES_OF_STEPS:
                put = put_value(site, partial(_saved, name=name, at=-1, started=False))
                yield from spread_over(problem, site, f"saved as previous {name}, 0 at first", put, BACK)


def _back_sized(lane: Lane, d: Node, name: str) -> Node:
    return lane.tape.scale(d, FACTORS[name](lane.problem))


def _back_held(lane: Lane, d: Node, bound: float) -> Node:
    return Node(np.clip(d.value, -bound, bound), d.variance)


def _back(pull: Callable[[Lane, Node], Node]) -> Change:
    return lambda lane, node, t: lane.tape.through(node, lambda d: pull(lane, d))


def _saved(lane: Lane, node: Node, t: int, name: str, at: int, *, started: bool = True) -> Node:
    passed = lane.tape.through(node, lambda d: d)

    def kept() -> Node:
        history = lane.history.get(name, [])
        if t + at < 0:
            zeros = lane.tape.zeros(node)
            return fit(lane.initial.get(name[0], zeros), node) if started else zeros
        if t + at >= len(history):
            return lane.tape.zeros(node) if history else _no_place()
        return fit(history[t + at], node)

    passed.saved = kept
    return passed


def _no_place() -> Node:
    raise NoPlaceError


# -- gradients that are returned ---------------------------------------------------------------------------------


# By the steps whose uses of a weight add nothing to its gradient.
_SUMS = {"of the first step only": "later", "of the last step only": "earlier", "without the first step": "first",
         "without the last step": "last"}  # fmt: skip


def summed_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Gradients of weights that are not summed over all steps, as of weights that no two steps share."""
    weights = names_of(problem)
    groups = {f"d{name}": (name,) for name in weights} | {"gradients of weights": tuple(weights)}
    if isinstance(problem, DecoderProblem):
        groups |= {f"gradients of {site}": names for site, names in groups_made_anew(problem).items()}
    for site, names in groups.items():
        for edit, steps in _SUMS.items():
            yield from spread_over(problem, site, edit, partial(_put_sum, names=names, steps=steps), BACK)


def _put_sum(edits: Edits, problem: AnyProblem, scope: Scope, names: tuple[str, ...], steps: str) -> None:
    places = places_of(problem)
    for key in [(label, name) for label in scope.lanes for name in names if (label, name) in places]:
        reading = Reading(places[key], adds=False, home=places[key])
        edits.read(key, steps_of(steps, timesteps_of(problem)), reading)


def returned_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that may become of gradients after they are computed."""
    weights = names_of(problem)
    inputs = ["y0", "h0", "c0", "enc"] if isinstance(problem, DecoderProblem) else ["x", "h0", "c0"]
    groups: dict[str, list[str]] = {f"d{name}": [name] for name in [*weights, *inputs]}
    groups |= {"gradients of weights": weights, "all gradients": [*weights, *inputs], "dh0 and dc0": ["h0", "c0"]}
    for site, names in groups.items():
        yield from spread_over(problem, site, "zero", _returned(names, lambda a: 0 * a), BACK)
        for name in factors_of(problem):
            yield from spread_over(problem, site, f"times {name}", partial(_put_sized, names=names, name=name), BACK)
        for bound in (1.0, 5.0):
            yield from spread_over(
                problem, site, f"clip {bound:g}", _returned(names, partial(_clipped, bound=bound)), BACK
            )
        yield from spread_over(problem, site, "first axis flipped", _returned(names, lambda a: a[::-1]), BACK)
        yield from spread_over(problem, site, "last axis flipped", _returned(names, lambda a: a[..., ::-1]), BACK)
    for site in (*GROUPS, "p"):
        names = list(site)
        for order in permutations(GATES if site != "p" else "ifo"):
            if "".join(order) not in {GATES, "ifo"}:
                label = "".join(order)
                move = (
                    partial(ordered, order=label)
                    if site != "p"
                    else partial(rows_in, order=["ifo".index(g) for g in order])
                )
                yield from spread_over(
                    problem, f"d{site}", f"returned as {label}", _returned(names, partial(_safe, move=move)), BACK
                )
        for edit, move in CELL_MOVES.items():
            yield from spread_over(problem, f"d{site}", f"{edit}", _returned(names, partial(_safe, move=move)), BACK)


def _put_sized(edits: Edits, problem: AnyProblem, scope: Scope, names: list[str], name: str) -> None:
    _returned(names, partial(_times, number=FACTORS[name](problem)))(edits, problem, scope)


def _times(array: Array, number: float) -> Array:
    return array * array.dtype.type(number)


def _clipped(array: Array, bound: float) -> Array:
    return np.clip(array, -bound, bound)


def _safe(array: Array, move: Move) -> Array:
    if array.ndim > 2 or len(array) % 4 not in {0, 3}:
        return array
    return move(array)


def _returned(names: list[str], change: Move) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        for label in scope.lanes:
            for name in names:
                for key in ((label, f"d{name}"), ("", f"d{name}")):
                    edits.returned[key] = [change]

    return put
