# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of what lies between lanes: turning, joining, order of states, layers; and of what a network returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.tensors import lanes
from lockstep.harness.causes.edits import Edits, NoPlaceError, every
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.network_run import OUTPUT, label_of
from lockstep.harness.causes.noisy_curves import curve_of
from lockstep.harness.causes.tape import Node, with_candidates
from lockstep.harness.faults.deviation import Deviation, Put, Scope, put_rules, spread_over
from lockstep.harness.faults.value_edits import put_group
from lockstep.harness.reference.curves import CURVES

# What is made of the outputs of two directions, by the name of a merge mode or of what is done in its place.
MERGED = {
    "sum": "summed", "mul": "multiplied", "ave": "averaged", "max": "reduced to their maximum",
    "forward": "replaced by the forward one", "reverse": "replaced by the reverse one",
}  # fmt: skip
_EVERYWHERE = Scope("", ("",))  # what belongs to no lane


def network_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """All that may go wrong between lanes, and where a network takes in and returns what is of all of them."""
    lstm = problem.case.lstm
    yield from spread_over(problem, "returned", "exchanged", put_rules({"returned": "exchanged"}))
    for site, names in (("h0 and c0", "hc"), ("h0", "h"), ("c0", "c")):
        yield from spread_over(problem, site, "end of the sequence before", put_rules({"sequences": names}))
    if lstm.direction != "forward":
        yield from _turns(problem)
    if lstm.direction == "bidirectional":
        yield from _merges(lstm) if lstm.merged else _side_by_side()
    if not lstm.single:  # what a single lane takes in and returns is all there is
        yield from _from_other_lanes(problem)
        yield from _all_states(problem)
        yield from _between_layers(problem)


def _turns(problem: AnyProblem) -> Iterator[Deviation]:
    several = problem.case.run.batch > 1  # of one sequence nothing is turned along the batch
    for turn_in, turn_out in product(("within", "whole", "not", *(("along the batch",) if several else ())), repeat=2):
        if (turn_in, turn_out) != ("within", "within"):
            site = "turn" if turn_in == turn_out else "turn out" if turn_in == "within" else "turn in"
            edit = turn_in if turn_in == turn_out else f"{turn_in} and {turn_out}"
            yield from spread_over(problem, site, edit, put_rules({"turn in": turn_in, "turn out": turn_out}))


def _side_by_side() -> Iterator[Deviation]:
    """What becomes of the outputs of two directions where they are joined."""
    where = {"": ("joined", "joined between layers"), " between layers": ("joined between layers",),
             " in what is returned": ("joined",)}  # fmt: skip
    for words, rules in where.items():
        yield Deviation("joined", f"exchanged{words}", _EVERYWHERE, put_rules(dict.fromkeys(rules, "exchanged")))
    for edit, change in (ARRAY_CHANGES | _OF_HALVES).items():
        yield Deviation(OUTPUT, edit, _EVERYWHERE, whole((OUTPUT,), change))


def _merges(lstm: LSTM) -> Iterator[Deviation]:
    """What is made of the outputs of two directions, and what becomes of it."""
    where = {"": ("merge", "merge between layers"), " between layers": ("merge between layers",),
             " in what is returned": ("merge",)}  # fmt: skip
    for mode, done in MERGED.items():
        for words, rules in where.items() if mode != lstm.merge_mode else ():
            if not words or lstm.num_layers > 1:
                edit = f"{done} where {MERGED[lstm.merge_mode]}{words}"
                yield Deviation("merge", edit, _EVERYWHERE, put_rules(dict.fromkeys(rules, mode)))
    for edit, change in ARRAY_CHANGES.items():
        yield Deviation(OUTPUT, edit, _EVERYWHERE, whole((OUTPUT,), change))


def _all_states(problem: AnyProblem) -> Iterator[Deviation]:
    """What becomes of the states of all lanes, as one array."""
    for edit, order in orders_of(problem).items():
        for site, names in (("all h0 and c0", ("all h0", "all c0")), ("all h0", ("all h0",)), ("all c0", ("all c0",))):
            yield Deviation(site, edit, _EVERYWHERE, whole(names, _reordered(order)))
        for site, names in _FINALS.items():
            yield Deviation(site, edit, _EVERYWHERE, whole(names, _reordered(order)))
    for (site, names), (edit, change) in product(_FINALS.items(), (ARRAY_CHANGES | _RESHAPED_BACK).items()):
        yield Deviation(site, edit, _EVERYWHERE, whole(names, change))
    if not problem.case.lstm.proj_size:
        yield from _in_pairs()
        yield Deviation(
            "finals", "h_n and c_n exchanged", _EVERYWHERE, partial(_put_finals, of={"h_n": "c_n", "c_n": "h_n"})
        )
        yield Deviation("finals of h", "those of c", _EVERYWHERE, partial(_put_finals, of={"h_n": "c_n"}))
        yield Deviation("finals of c", "those of h", _EVERYWHERE, partial(_put_finals, of={"c_n": "h_n"}))
    yield Deviation("all h0 and c0", "exchanged", _EVERYWHERE, _exchanged)
    for edit, change in (ARRAY_CHANGES | _RESHAPED_BACK).items():
        yield Deviation("all h0 and c0", edit, _EVERYWHERE, whole(("all h0", "all c0"), change))
    for site, (edit, change) in product(("all h0", "all c0", "all x"), ARRAY_CHANGES.items()):
        yield Deviation(site, edit, _EVERYWHERE, whole((site,), change))


def _between_layers(problem: AnyProblem) -> Iterator[Deviation]:
    """What becomes of a layer's output where the next takes it in, and of those of all layers."""
    lstm = problem.case.lstm
    between = tuple(f"between {k}" for k in range(lstm.num_layers - 1))
    changes = ARRAY_CHANGES | (_OF_HALVES if lstm.direction == "bidirectional" and not lstm.merged else {})
    sites = {site: (site,) for site in between} | ({"between layers": between} if len(between) > 1 else {})
    for (site, names), (edit, change) in product(sites.items(), changes.items()):
        yield Deviation(site, edit, _EVERYWHERE, whole(names, change))
    for name, site in product(CURVES, between):
        yield Deviation(site, f"{name} of it", _EVERYWHERE, whole((site,), _curved(name)))
    outputs = {"sum": "sum over layers", "mean": "mean over layers", "upper": "sum over the upper layers",
               "lowest": "of the lowest layer", "second": "of the layer below the top one"}  # fmt: skip
    for which, edit in outputs.items():
        if len(between) > (which in {"upper", "second"}):
            yield Deviation(OUTPUT, edit, _EVERYWHERE, put_rules({"output of layers": which}))


def _from_other_lanes(problem: AnyProblem) -> Iterator[Deviation]:
    """Lanes that are not run, and initial states that are those, or the ends, of other lanes."""
    yield from spread_over(problem, "layer", "left out", put_rules({"left out": True}))
    for lane, of in (("layer below", _below), ("forward lane", _beside), ("lane before", _before)):
        for words, kinds in (("end", ("h_n", "c_n")), ("start", ("h0", "c0"))):
            for site, names in (("h0 and c0", "hc"), ("h0", "h"), ("c0", "c")):
                changes = [partial(_of_lane, of=of, kind=kinds["hc".index(name)]) for name in names]
                put = put_group([f"{name}0" for name in names], changes)
                yield from spread_over(problem, site, f"{words} of the {lane}", put)


def _below(label: str, directions: int) -> str:
    return f"{int(label.rstrip('r')) - 1}{'r' * label.endswith('r')}"


def _beside(label: str, directions: int) -> str:
    return label[:-1] if label.endswith("r") else ""


def _before(label: str, directions: int) -> str:
    """The lane before, in the order of computation."""
    if directions == 1:
        return ""  # the layer below
    return label[:-1] if label.endswith("r") else f"{int(label) - 1}r"


def _of_lane(lane: LaneRun, node: Node, t: int, of: Callable[[str, int], str], kind: str) -> Node:
    """A lane's own where there is no such other, as in the lowest layer."""
    label = of(lane.label, len(lane.lstm.directions))
    if label not in lane.ends:
        return node
    if kind.endswith("_n"):
        return lane.ends[label][kind]
    labels = [label_of(place) for place in lanes(lane.lstm)]
    return lane.tape.exact(lane.problem.states(kind)[labels.index(label)])


def orders_of(problem: AnyProblem) -> dict[str, list[int]]:
    """Orders in which lanes may be taken."""
    L, D = problem.case.lstm.num_layers, len(problem.case.lstm.directions)
    count = L * D
    if count == 1:
        return {}
    orders = {
        "reversed": list(range(count))[::-1],
        "by direction": [layer * D + d for d in range(D) for layer in range(L)],
        "stored by direction": [d * L + layer for layer in range(L) for d in range(D)],
        "layers reversed": [layer * D + d for layer in reversed(range(L)) for d in range(D)],
        "directions exchanged": [layer * D + d for layer in range(L) for d in reversed(range(D))],
        "rolled": [*range(1, count), 0],
        "the first for all": [0] * count,
        "the last for all": [count - 1] * count,
    }
    # Two that are alike in one network differ in another.
    return {name: order for name, order in orders.items() if order != list(range(count))}


def _flip(axis: int) -> Callable[[Any, Node], Node]:
    def change(run: Any, node: Node) -> Node:
        if node.value.shape[axis] < 2 and not (run.is_piece and axis == 0):
            raise NoPlaceError
        return run.tape.moved(node, lambda a: np.flip(a, axis), lambda a: np.flip(a, axis))

    return change


def _rolled(axis: int, by: int) -> Callable[[Any, Node], Node]:
    return lambda run, node: run.tape.moved(node, lambda a: np.roll(a, by, axis), lambda a: np.roll(a, -by, axis))


def _reshaped(run: Any, node: Node) -> Node:
    """Batch and time exchanged by a reshape."""
    T, B, n = node.value.shape
    if min(T, B) < 2 and not (run.is_piece and T == 1):
        raise NoPlaceError

    def there(a: Array) -> Array:
        return a.swapaxes(0, 1).reshape(T, B, n)

    return run.tape.moved(node, there, lambda a: a.reshape(B, T, n).swapaxes(0, 1))


def _reshaped_back(run: Any, node: Node) -> Node:
    """The same the other way round."""
    T, B, n = node.value.shape
    if min(T, B) < 2 and not (run.is_piece and T == 1):
        raise NoPlaceError
    return run.tape.moved(
        node, lambda a: a.reshape(B, T, n).swapaxes(0, 1), lambda a: a.swapaxes(0, 1).reshape(T, B, n)
    )


def _left_half(run: Any, node: Node) -> Node:
    half = node.value.shape[-1] // 2
    keep = np.arange(node.value.shape[-1]) < half
    return run.tape.where(np.broadcast_to(keep, node.value.shape), node, run.tape.zeros(node))


# What may be done to an array of all timesteps or lanes.
ARRAY_CHANGES: dict[str, Callable[[Any, Node], Node]] = {
    "zero": lambda run, node: run.tape.zeros(node),
    "time or lanes flipped": _flip(0),
    "batch flipped": _flip(-2),
    "batch rolled": _rolled(-2, 1),
    "features flipped": _flip(-1),
    "features rolled": _rolled(-1, 1),
    "halves exchanged": lambda run, node: _rolled(-1, node.value.shape[-1] // 2)(run, node),
    "second half left out": _left_half,
    "batch and time reshaped": _reshaped,
    "times 2": lambda run, node: run.tape.scale(node, 2.0),
    "times 1/2": lambda run, node: run.tape.scale(node, 0.5),
    "times -1": lambda run, node: run.tape.scale(node, -1.0),
}


_RESHAPED_BACK = {"time and batch reshaped": _reshaped_back}


def _columns(take: Callable[[int], Array]) -> Callable[[Any, Node], Node]:
    """Features taken from other places, by the number that there are."""

    def change(run: Any, node: Node) -> Node:
        order = take(node.value.shape[-1])
        return run.tape.moved(node, lambda a: a[..., order], lambda d: _added_back(d, order))

    return change


def _added_back(d: Array, order: Array) -> Array:
    found = np.zeros_like(d)
    np.add.at(np.moveaxis(found, -1, 0), order, np.moveaxis(d, -1, 0))
    return found


def _axes_reshaped(there: tuple[int, ...]) -> Callable[[Any, Node], Node]:
    """Outputs (T, B, 2 H) that stood in memory with directions as an axis of their own, and were not transposed."""
    back = tuple(np.argsort(there))

    def change(run: Any, node: Node) -> Node:
        T, B, n = node.value.shape
        axes = (T, B, 2, n // 2)
        stored = tuple(axes[k] for k in there)
        return run.tape.moved(
            node,
            lambda a: a.reshape(axes).transpose(there).reshape(T, B, n),
            lambda d: d.reshape(stored).transpose(back).reshape(T, B, n),
        )

    return change


# Of outputs of two directions side by side.
_OF_HALVES: dict[str, Callable[[Any, Node], Node]] = {
    "interleaved": _columns(lambda n: np.arange(n).reshape(2, -1).T.ravel()),
    "read as interleaved": _columns(lambda n: np.arange(n).reshape(-1, 2).T.ravel()),
    "first half twice": _columns(lambda n: np.arange(n) % (n // 2)),
    "second half twice": _columns(lambda n: np.arange(n) % (n // 2) + n // 2),
    "(T, D, B, H) reshaped": _axes_reshaped((0, 2, 1, 3)),
    "(D, T, B, H) reshaped": _axes_reshaped((2, 0, 1, 3)),
}


def _curved(name: str) -> Callable[[Any, Node], Node]:
    return lambda run, node: run.tape.curve(node, curve_of(name))


def _reordered(order: list[int]) -> Callable[[Any, Node], Node]:
    def back(d: Array) -> Array:
        spread = np.zeros_like(d)
        np.add.at(spread, order, d)
        return spread

    return lambda run, node: run.tape.moved(node, lambda a: a[order], back)


_FINALS = {"finals": ("all h_n", "all c_n"), "finals of h": ("all h_n",), "finals of c": ("all c_n",)}


def _in_pairs() -> Iterator[Deviation]:
    """States in one list, h and c of each lane beside each other or all h before all c, read as the other."""
    for edit, pairs in (("pairs of h and c read as h before c", True), ("h before c read as pairs of h and c", False)):
        yield Deviation("all h0 and c0", edit, _EVERYWHERE, partial(_put_listed, pairs=pairs))
        yield Deviation("finals", edit, _EVERYWHERE, partial(_put_finals_listed, pairs=pairs))


def _put_listed(edits: Edits, problem: AnyProblem, scope: Scope, *, pairs: bool) -> None:
    for k, name in enumerate(("all h0", "all c0")):

        def change(run: Any, node: Node, t: int, k: int = k) -> Node:
            return run.tape.stack(_listed(run.tape.steps(run.h0), run.tape.steps(run.c0), pairs=pairs)[k])

        edits.changes.setdefault(("", name), []).append((every, change))


def _put_finals_listed(edits: Edits, problem: AnyProblem, scope: Scope, *, pairs: bool) -> None:
    for k, name in enumerate(("h_n", "c_n")):

        def change(run: Any, node: Node, t: int, k: int = k) -> Node:
            listed = _listed(*(run.tape.steps(run.finals[state]) for state in ("h_n", "c_n")), pairs=pairs)
            return run.tape.stack(with_candidates(listed[k]))

        edits.changes.setdefault(("", f"all {name}"), []).append((every, change))


def _listed(h: list[Node], c: list[Node], *, pairs: bool) -> tuple[list[Node], list[Node]]:
    """The states that one list of all gives, where it is read otherwise than it was written."""
    if pairs:
        listed = [state for both in zip(h, c, strict=True) for state in both]
        return listed[: len(h)], listed[len(h) :]
    return [*h, *c][0::2], [*h, *c][1::2]


def _put_finals(edits: Edits, problem: AnyProblem, scope: Scope, *, of: dict[str, str]) -> None:
    """The final states of all lanes in the place of others: h_n of c_n."""
    for name, source in of.items():
        changes = edits.changes.setdefault(("", f"all {name}"), [])
        changes.append((every, lambda run, node, t, source=source: run.finals[source]))


def whole(names: tuple[str, ...], change: Callable[[Any, Node], Node]) -> Put:
    """Change what is one array of all timesteps, or of all lanes."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        for name in names:
            edits.changes.setdefault(("", name), []).append((every, lambda run, node, t: change(run, node)))

    return put


def _exchanged(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
    # A projected h is narrower than c, and cannot stand in its place.
    if problem.case.lstm.proj_size:
        raise NoPlaceError
    for name, state in (("all h0", "c0"), ("all c0", "h0")):
        edits.changes.setdefault(("", name), []).append((every, lambda run, node, t, state=state: getattr(run, state)))
