# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of the way back alone: of what comes back, of what is saved for it, and of gradients as they are returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, permutations

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.noisy_curves import curve_of
from lockstep.harness.causes.stored import WeightReading
from lockstep.harness.causes.tape import Node, both
from lockstep.harness.faults.deviation import (
    BACK,
    ON_THE_WAY_BACK,
    STEPS,
    Deviation,
    Put,
    Scope,
    spread_over,
    steps_of,
    timesteps_of,
)
from lockstep.harness.faults.moves import Move
from lockstep.harness.faults.value_edits import (
    CLIP_BOUNDS,
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
    PARTS,
    WEIGHT_GROUPS,
    groups_made_anew,
    names_of,
    ordered,
    places_of,
    rows_in,
    weight_deviations,
)

# Operands that are saved going forward, for the gradient of what they are multiplied by.
SAVED = (
    "h_in", "keep.f", "keep.c", "add.i", "add.g", "out.o", "out.u", "x", "peep.i", "peep.f", "peep.o", "m",
    "join.context", "join.h", "target.y", "query", "context.attention",
)  # fmt: skip
# Products of two saved operands, of which each is the other's slope.
PRODUCTS = (("keep.f", "keep.c"), ("add.i", "add.g"), ("out.o", "out.u"))
USED = {"i": "add.i", "f": "keep.f", "g": "add.g", "o": "out.o"}  # where a gate is used, beside its own slope
# What the curve of each kind is applied to.
ARGUMENT_OF = {**{gate: f"z.{gate}" for gate in GATES}, "u": "c", "y": "bare"}
PLACES = ((0, ""), (-1, "previous "), (1, "next "))  # in time, with the words for them
Pull = Callable[[LaneRun, Node], Node]


def back_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that may become of a gradient on its way, and of what it is multiplied by there."""
    yield from _cotangents(problem)
    yield from _saved_operands(problem)
    yield from _saved_slopes(problem)
    yield from _saved_together(problem)
    yield from _weights_back(problem)


# -- what comes back --------------------------------------------------------------------------------------------


def _cotangents(problem: AnyProblem) -> Iterator[Deviation]:
    """What arrives at an edge on the way back, at one or at several at once."""
    for name, group in groups_of(problem).items():
        for edit, (pull, steps) in _pulls(problem).items():
            put = put_group(group, [_back(pull)] * len(group))
            yield from spread_over(problem, f"d {name}", edit, put, BACK, steps)
    for site in sites_of(problem, order_of(problem)):
        for edit, (pull, steps) in _pulls(problem).items():
            yield from spread_over(problem, f"d {site}", edit, put_value(site, _back(pull)), BACK, steps)
    for edit, move in _block_moves():
        put = put_value("z", _back(partial(_back_moved, move=move)))
        yield from spread_over(problem, "d z", edit, put, BACK)


def _pulls(problem: AnyProblem) -> dict[str, tuple[Pull, tuple[str, ...]]]:
    pulls: dict[str, tuple[Pull, tuple[str, ...]]] = {"zero": (lambda lane, d: lane.tape.zeros(d), ("", *STEPS))}
    pulls |= {f"times {name}": (partial(_back_sized, name=name), ("",)) for name in factors_of(problem)}
    return pulls | {f"clip {bound:g}": (partial(_back_held, bound=bound), ("",)) for bound in CLIP_BOUNDS}


def _block_moves() -> Iterator[tuple[str, Move]]:
    """Blocks of gates in the place of others: in another order, one for another, one for several."""
    for letters in permutations(GATES):
        if letters != tuple(GATES):
            yield f"returned as {''.join(letters)}", partial(ordered, order="".join(letters))
    yield from _one_for_others()


def _one_for_others() -> Iterator[tuple[str, Move]]:
    for gate in GATES:
        others = GATES.replace(gate, "")
        for count in (1, 2, 3):
            for replaced in combinations(others, count):
                # The input gate's for all is among the moves of cells.
                if (gate, count) != ("i", 3):
                    words = "all" if count == 3 else " and ".join(replaced)
                    yield f"block {gate} for {words}", partial(_copied, gate=gate, replaced="".join(replaced))


def _copied(array: Array, gate: str, replaced: str) -> Array:
    if len(array) % 4:
        raise NoPlaceError
    parts = dict(zip(GATES, np.split(array, 4), strict=True))
    return np.concatenate([parts[gate if name in replaced else name] for name in GATES])


def _back_sized(lane: LaneRun, d: Node, name: str) -> Node:
    return lane.tape.scale(d, FACTORS[name](lane.problem))


def _back_held(lane: LaneRun, d: Node, bound: float) -> Node:
    return Node(np.clip(d.value, -bound, bound), d.variance)


def _back_moved(lane: LaneRun, d: Node, move: Move) -> Node:
    def moved(array: Array) -> Array:
        return np.moveaxis(move(np.moveaxis(array, -1, 0)), 0, -1)

    return Node(*both(d, moved))


def _back(pull: Pull) -> Change:
    return lambda lane, node, t: lane.tape.through(node, lambda d: pull(lane, d))


# -- what is saved for the way back -----------------------------------------------------------------------------


def _saved_operands(problem: AnyProblem) -> Iterator[Deviation]:
    order = order_of(problem)
    for site in [site for site in SAVED if site in set(sites_of(problem, order))]:
        for edit, change in _values_saved(order, USES.get(site, site)):
            yield from spread_over(problem, site, edit, put_value(site, change), BACK)
        for name in [name for name in order if name in STATES_OF_STEPS]:
            change = partial(_saved, name=name, at=-1, started=False)
            yield from spread_over(
                problem, site, f"saved as previous {name}, 0 at first", put_value(site, change), BACK
            )
        yield from spread_over(problem, site, "saved as 1", put_value(site, _saved_as_one), BACK)
        if site == "out.u":
            put = put_value(site, _saved_of_old_c)
            yield from spread_over(problem, site, "saved as previous u, that of c0 at first", put, BACK)


def _values_saved(order: tuple[str, ...], value: str) -> Iterator[tuple[str, Change]]:
    for name in order:
        for at, words in PLACES:
            if (name, at) != (value, 0):
                yield f"saved as {words}{name}", partial(_saved, name=name, at=at)


def _saved_slopes(problem: AnyProblem) -> Iterator[Deviation]:
    """The slope of a curve, taken of another value than the one that the curve gave, or at another argument."""
    order = order_of(problem)
    # Coupled, f is 1 - i, and has no curve of its own.
    without_slope = "f" if problem.case.lstm.input_forget else ""
    kinds = [kind for kind in (*"ifgou", "y", "attention") if kind in order and kind != without_slope]
    for kind in kinds:
        site = f"slope.{kind}"
        for edit, change in _values_saved(order, kind):
            yield from spread_over(problem, site, edit, put_value(site, change), BACK)
        for name in [name for name in _arguments(kind) if name in order]:
            for at, words in PLACES:
                if (name, at) != (ARGUMENT_OF[kind], 0):
                    put = put_value(site, partial(_taken_at, kind=kind, name=name, at=at))
                    yield from spread_over(problem, site, f"taken at {words}{name}", put, BACK)


def _arguments(kind: str) -> tuple[str, ...]:
    """Where the slope of a curve may be taken; the softmax has none of one argument."""
    in_the_cell = ("z.i", "z.f", "z.g", "z.o", "c_in", "raw", "c")
    return {"attention": (), "y": ("bare",)}.get(kind, in_the_cell)


def _saved_together(problem: AnyProblem) -> Iterator[Deviation]:
    """Several values that are saved wrongly at once."""
    for letters in permutations(GATES):
        order = "".join(letters)
        if order != GATES:
            saved = dict(zip(GATES, order, strict=True))
            yield from spread_over(problem, "gates", f"saved as {order}", _gates_saved(saved, 0), BACK)
    for at, words in PLACES[1:]:
        put = _gates_saved(dict(zip(GATES, GATES, strict=True)), at)
        yield from spread_over(problem, "gates", f"saved as {words.strip()}", put, BACK)
        operands = [partial(_saved, name=name, at=at) for name in ("x", "h_in")]
        put = put_group(("x", "h_in"), operands)
        yield from spread_over(problem, "x and h_in", f"saved as {words.strip()}", put, BACK)
    for sites in PRODUCTS:
        exchanged = [partial(_saved, name=USES[site], at=0) for site in reversed(sites)]
        yield from spread_over(problem, " and ".join(sites), "saved for each other", put_group(sites, exchanged), BACK)


def _gates_saved(saved: dict[str, str], at: int) -> Put:
    """Every use of gates on the way back takes what is saved in a gate's place."""
    sites, changes = [], []
    for gate, name in saved.items():
        if gate != name or at:
            sites += [USED[gate], f"slope.{gate}"]
            changes += [partial(_saved, name=name, at=at)] * 2
    return put_group(sites, changes)


def _saved(lane: LaneRun, node: Node, t: int, name: str, at: int, *, started: bool = True) -> Node:
    passed = lane.tape.through(node, lambda d: d)
    passed.saved = lambda: _of_step(lane, node, t + at, name, started=started)
    return passed


def _taken_at(lane: LaneRun, node: Node, t: int, kind: str, name: str, at: int) -> Node:
    """The value of which the slope is taken, as the curve gives it at another argument."""
    curve = curve_of("tanh") if kind == "y" else lane.curve(kind)
    passed = lane.tape.through(node, lambda d: d)
    passed.saved = lambda: lane.tape.curve(_of_step(lane, node, t + at, name), curve)
    return passed


def _saved_of_old_c(lane: LaneRun, node: Node, t: int) -> Node:
    passed = lane.tape.through(node, lambda d: d)
    passed.saved = lambda: lane.tape.curve(lane.history["c_in"][t], lane.curve("u"))
    return passed


def _saved_as_one(lane: LaneRun, node: Node, t: int) -> Node:
    passed = lane.tape.through(node, lambda d: d)
    passed.saved = lambda: Node(np.ones_like(node.value))
    return passed


def _of_step(lane: LaneRun, node: Node, t: int, name: str, *, started: bool = True) -> Node:
    """What a value was at a timestep; before the first a state as it started, or zeros; zeros behind the last."""
    history = lane.history.get(name, [])
    if t < 0:
        start = lane.initial.get(name[0]) if started and name in STATES_OF_STEPS else None
        return lane.tape.zeros(node) if start is None else fit(start, node)
    # Asked on the way back, when all steps have been: behind the last there is none, as in an array that ends.
    if t >= len(history):
        return lane.tape.zeros(node) if history else _no_place()
    return fit(history[t], node)


def _no_place() -> Node:
    raise NoPlaceError


# -- weights as the way back reads them --------------------------------------------------------------------------

# What gradients are multiplied by on their way: biases are not read there.
_KERNELS = frozenset({"W", "R", "WR", "P", "p", "W_tilde", "W_target", "W_a", "W_q", "W_k", "v_a"})
_NOT_BACK = frozenset({"absolute", "one", "plus 1", "minus 1", *PARTS})
_FUSED_BACK = frozenset({"W and R exchanged", "W for both", "R for both"})


def _weights_back(problem: AnyProblem) -> Iterator[Deviation]:
    """Weights that are right going forward, and read otherwise on the way back: biases are not read there."""
    for deviation in weight_deviations(problem):
        array = deviation.site.removesuffix(" weights of lanes").partition(".")[0]
        reads = array in _KERNELS and deviation.edit not in _NOT_BACK
        reads = reads or (array == "[W R]" and deviation.edit in _FUSED_BACK)
        if reads and not deviation.form and not deviation.scope.steps:
            put = partial(_put_back, put=deviation.put)
            yield deviation._replace(site=f"{deviation.site}{ON_THE_WAY_BACK}", put=put, way=BACK)


def _put_back(edits: Edits, problem: AnyProblem, scope: Scope, put: Put) -> None:
    # Under the same turn: on the way back it follows what earlier deviations left.
    back = edits.back = edits.back or Edits()
    back.turn = edits.turn
    put(back, problem, scope)


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
        reading = WeightReading(places[key], adds=False, home=places[key])
        edits.read(key, steps_of(steps, timesteps_of(problem)), reading)


_BY_GATE = {"zero": 0.0, "times -1": -1.0, "times 1/2": 0.5, "times 2": 2.0}


def returned_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that may become of gradients after they are computed."""
    weights = names_of(problem)
    inputs = ["x", "h0", "c0"]
    if isinstance(problem, DecoderProblem):  # what an encoder takes in, or what it would give
        inputs = ["y0", "h0", "c0", "x" if problem.enc is None else "enc"]
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
    yield from _returned_blocks(problem)
    for names in (("h0", "c0"), ("W", "R")):
        put = partial(_put_exchanged, names=names)
        yield from spread_over(problem, " and ".join(f"d{name}" for name in names), "exchanged", put, BACK)


def _returned_blocks(problem: AnyProblem) -> Iterator[Deviation]:
    """Gradients that are made of blocks, one for each gate: their order, and each by itself."""
    moves = [*_block_moves(), *CELL_MOVES.items()]
    peephole_moves = [
        (f"returned as {''.join(letters)}", partial(rows_in, order=["ifo".index(gate) for gate in letters]))
        for letters in permutations("ifo")
        if letters != tuple("ifo")
    ]
    of_peepholes = [("p", "ifo", peephole_moves)] if problem.case.lstm.peephole else []
    for group, gates, own_moves in (*((group, GATES, moves) for group in WEIGHT_GROUPS), *of_peepholes):
        for edit, move in own_moves:
            put = _returned(list(group), partial(_safe, move=move))
            yield from spread_over(problem, f"d{group}", edit, put, BACK)
        for at, gate in enumerate(gates):
            for edit, number in _BY_GATE.items():
                put = _returned(list(group), partial(_of_gate, at=at, count=len(gates), number=number))
                yield from spread_over(problem, f"d{group}.{gate}", edit, put, BACK)


def _of_gate(array: Array, at: int, count: int, number: float) -> Array:
    """One gate's block times a number."""
    factors = np.repeat([number if k == at else 1.0 for k in range(count)], len(array) // count).astype(array.dtype)
    return array * factors.reshape(-1, *(1,) * (array.ndim - 1))


def _put_exchanged(edits: Edits, problem: AnyProblem, scope: Scope, names: tuple[str, str]) -> None:
    """Return one gradient in the other's place, where they have one shape."""
    places = places_of(problem)
    states = names == ("h0", "c0")
    labels = [label for label in scope.lanes if states or _alike(places, label, names)]
    if not labels or (states and (problem.case.lstm.proj_size or "encoder" in labels)):
        raise NoPlaceError
    for label in labels:
        for name, returned in (names, reversed(names)):
            edits.rules[label, f"returned d{name}"] = f"d{returned}"


def _alike(places: dict[tuple[str, str], Array], label: str, names: tuple[str, str]) -> bool:
    first, second = (places[label, name] for name in names)
    return first.shape == second.shape


def _put_sized(edits: Edits, problem: AnyProblem, scope: Scope, names: list[str], name: str) -> None:
    _returned(names, partial(_times, number=FACTORS[name](problem)))(edits, problem, scope)


def _times(array: Array, number: float) -> Array:
    return array * array.dtype.type(number)


def _clipped(array: Array, bound: float) -> Array:
    return np.clip(array, -bound, bound)


def _safe(array: Array, move: Move) -> Array:
    # Gradients by timestep have time in front: edits of blocks are for whole gradients alone.
    return array if array.ndim > 2 else move(array)


def _returned(names: list[str], change: Move) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        keys = {_returned_key(label, name) for label in scope.lanes for name in names if _has(label, name)}
        if not keys:
            raise NoPlaceError
        for key in keys:
            edits.returned.setdefault(key, []).append(change)

    return put


def _has(label: str, name: str) -> bool:
    """An encoder's are those of its weights; what it takes in belongs to the decoder."""
    return label != "encoder" or name in {"W", "R", "b"}


def _returned_key(label: str, name: str) -> tuple[str, str]:
    """The gradient of the inputs belongs to no lane of a network."""
    return "" if name == "x" and label != "decoder" else label, f"d{name}"
