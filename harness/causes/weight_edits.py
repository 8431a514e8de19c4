# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of weights as they are read, and of their gradients as they are returned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.tensors import weight_shapes
from lockstep.harness.causes.deviation import (
    BACK,
    Deviation,
    Put,
    Scope,
    scopes_of,
    spread_over,
    steps_of,
    timesteps_of,
)
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.stored import Reading
from lockstep.harness.causes.value_edits import FACTORS

GATES = "ifgo"
GROUPS = ("WRb", "WR", "Wb", "Rb", "W", "R", "b")
Move = Callable[[Array], Array]  # of places


def names_of(problem: AnyProblem) -> list[str]:
    """Every name of a weight of the main lanes."""
    if isinstance(problem, DecoderProblem):
        return [name for name in problem.weights.arrays() if not name.endswith("_encoder")]
    return list(problem.weights[0][0].arrays())


def shapes_of(problem: AnyProblem) -> dict[tuple[str, str], tuple[int, ...]]:
    """Shapes by lane and name, in the order in which they are stored."""
    if isinstance(problem, DecoderProblem):
        return {
            ("encoder" if name.endswith("_encoder") else "decoder", name.removesuffix("_encoder")): array.shape
            for name, array in problem.weights.arrays().items()
        }
    return {
        (f"{place.layer}{'r' if place.reverse else ''}", name): shape
        for place, _ in problem.lanes()
        for name, shape in weight_shapes(problem.case.lstm, place.layer).items()
    }


def places_of(problem: AnyProblem) -> dict[tuple[str, str], Array]:
    """Where each number of each weight stands among all."""
    found, start = {}, 0
    for key, shape in shapes_of(problem).items():
        size = int(np.prod(shape))
        found[key] = np.arange(start, start + size).reshape(shape)
        start += size
    return found


def weight_deviations(problem: AnyProblem) -> Iterator[Deviation]:  # noqa: C901, PLR0912 (a table)
    """Everything that a weight may be read as."""
    lstm = problem.case.lstm
    if lstm.forget_bias:
        for edit, by in (("forget bias left out", -1.0), ("forget bias twice", 1.0)):
            yield from spread_over(problem, "b.f", edit, _numbers("b", 1.0, by * lstm.forget_bias, "f"))
    cell = list(GROUPS)
    for group in cell:
        for order in permutations(GATES):
            if order != tuple(GATES):
                name = "".join(order)
                yield from spread_over(problem, group, f"read as {name}", _moves(group, partial(_ordered, order=name)))
        for edit, move in _CELL_MOVES.items():
            yield from spread_over(problem, group, edit, _moves(group, move))
        for gate in GATES:
            for other in GATES:
                if other != gate:
                    edit = f"block {other} for {gate}"
                    yield from spread_over(problem, group, edit, _moves(group, partial(_block, gate=gate, other=other)))
            for edit, (factor, constant) in _NUMBERS.items():
                yield from spread_over(problem, f"{group}.{gate}", edit, _numbers(group, factor, constant, gate))
    names = names_of(problem)
    for name in [*cell, *(name for name in names if name not in "WRb")]:
        group = list(name) if name in GROUPS else [name]
        steps = ("", "later") if isinstance(problem, DecoderProblem) else ("",)
        for edit, (factor, constant) in _NUMBERS.items():
            yield from spread_over(problem, name, edit, _numbers(group, factor, constant), steps=steps)
        for edit, move in _MOVES.items():
            yield from spread_over(problem, name, edit, _moves(group, move))
    if "p" in names:
        for order in permutations("ifo"):
            if order != tuple("ifo"):
                move = partial(_rows, order=["ifo".index(gate) for gate in order])
                yield from spread_over(problem, "p", f"read as {''.join(order)}", _moves(["p"], move))
    if isinstance(problem, DecoderProblem):
        yield from _made_anew(problem)
    yield from _lanes(problem)


# Groups of a decoder's weights that are made anew at every step but the first where none is shared.
_ANEW = (
    ("W_tilde", "b_tilde"), ("W_target", "W_tilde", "b_tilde"), ("W_target", "W_tilde", "b_tilde", "W_a"),
    ("W", "R", "b"), ("W", "R", "b", "W_target", "W_tilde", "b_tilde"),
)  # fmt: skip


def _made_anew(problem: DecoderProblem) -> Iterator[Deviation]:
    for site, names in _anew(problem).items():
        put = partial(_put_anew, names=names)
        yield Deviation(site, "made anew as ones", Scope("", ("decoder",), "later"), put)


def _anew(problem: DecoderProblem) -> dict[str, tuple[str, ...]]:
    there = problem.weights.arrays().keys()
    return {f"{', '.join(names[:-1])} and {names[-1]}": names for names in _ANEW if there >= set(names)}


def _put_anew(edits: Edits, problem: AnyProblem, scope: Scope, names: tuple[str, ...]) -> None:
    for name in names:
        # Biases start at 0 wherever kernels start at 1.
        _numbers([name], 0.0, 0.0 if name.startswith("b") else 1.0)(edits, problem, scope)


def _gate_parts(places: Array) -> list[Array]:
    """The blocks of the four gates, (H, ...) each; peepholes (3, H), which have none, are no place for it."""
    if len(places) % 4:
        raise NoPlaceError
    return np.split(places, 4)


def _ordered(places: Array, order: str) -> Array:
    parts = _gate_parts(places)
    return np.concatenate([parts[order.index(gate)] for gate in GATES])


def _block(places: Array, gate: str, other: str) -> Array:
    parts = dict(zip(GATES, _gate_parts(places), strict=True))
    return np.concatenate([parts[other if name == gate else name] for name in GATES])


def _by_gate(change: Move) -> Move:
    def move(places: Array) -> Array:
        changed = np.concatenate([change(part) for part in _gate_parts(places)])
        if changed.shape != places.shape:
            raise NoPlaceError
        return changed

    return move


def _turned(places: Array) -> Array:
    if places.ndim != 2 or places.shape[0] != places.shape[1]:
        raise NoPlaceError
    return places.T


def _columns(change: Move) -> Move:
    def move(places: Array) -> Array:
        if places.ndim < 2:
            raise NoPlaceError
        return change(places)

    return move


def _folded(places: Array) -> Array:
    return places.reshape(places.shape[::-1]).T


_CELL_MOVES: dict[str, Move] = {
    "transposed by gate": _by_gate(_turned),
    "reshaped, not transposed, by gate": _by_gate(_columns(_folded)),
    "units flipped": _by_gate(lambda a: a[::-1]),
    "units rolled": _by_gate(lambda a: np.roll(a, 1, axis=0)),
    "unit-major": lambda a: np.concatenate([a[k::4] for k in range(4)]),
    "gate-major for unit-major": lambda a: np.stack(_gate_parts(a), axis=1).reshape(a.shape),
}
_MOVES: dict[str, Move] = {
    "transposed": _turned,
    "reshaped, not transposed": _columns(_folded),
    "columns flipped": _columns(lambda a: a[:, ::-1]),
    "columns rolled": _columns(lambda a: np.roll(a, 1, axis=1)),
    "column halves exchanged": _columns(lambda a: np.roll(a, a.shape[1] // 2, axis=1)),
    "rows flipped": lambda a: a[::-1],
    "rows rolled": lambda a: np.roll(a, 1, axis=0),
}
_NUMBERS: dict[str, tuple[float, float]] = {
    "zero": (0.0, 0.0), "one": (0.0, 1.0), "times -1": (-1.0, 0.0), "times 1/2": (0.5, 0.0), "times 2": (2.0, 0.0),
    "plus 1": (1.0, 1.0), "minus 1": (1.0, -1.0),
}  # fmt: skip


def _rows(places: Array, order: list[int]) -> Array:
    return places[order]


def _moves(group: str | list[str], move: Move) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places = places_of(problem)
        moved = {
            (label, name): move(places[label, name])
            for label in scope.lanes
            for name in group
            if (label, name) in places
        }
        if all(np.array_equal(moved[key], places[key]) for key in moved):
            raise NoPlaceError
        if any(moved[key].shape != places[key].shape for key in moved):
            raise NoPlaceError
        steps = steps_of(scope.steps, timesteps_of(problem))
        for key, own in moved.items():
            edits.readings.setdefault(key, []).append((steps, Reading(own)))

    return put


def _numbers(group: str | list[str], factor: float, constant: float, gate: str = "") -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places = places_of(problem)
        steps = steps_of(scope.steps, timesteps_of(problem))
        for key in [(label, name) for label in scope.lanes for name in group if (label, name) in places]:
            own = places[key]
            factors, constants = np.ones(own.shape), np.zeros(own.shape)
            rows = slice(None)
            if gate:
                H, k = len(own) // 4, GATES.index(gate)
                rows = slice(k * H, (k + 1) * H)
            factors[rows], constants[rows] = factor, constant
            edits.readings.setdefault(key, []).append((steps, Reading(own, factors, constants)))

    return put


def _lanes(problem: AnyProblem) -> Iterator[Deviation]:
    """Lanes that read each other's weights."""
    if isinstance(problem, DecoderProblem) or problem.case.lstm.single:
        return
    shapes = shapes_of(problem)
    labels = list(dict.fromkeys(label for label, _ in shapes))
    maps: dict[str, dict[str, str]] = {
        "those of the forward lane": {label: label.removesuffix("r") for label in labels},
        "those of the reverse lane": {label: label.removesuffix("r") + "r" for label in labels},
        "directions exchanged": {k: k[:-1] if k.endswith("r") else k + "r" for k in labels},
        "those of the lower layer": {k: f"{max(int(k.rstrip('r')) - 1, 0)}{'r' * k.endswith('r')}" for k in labels},
        "those of the first layer that fits": {k: _first_fitting(k, shapes) for k in labels},
        "layers from the top down": {
            k: f"{problem.case.lstm.num_layers - 1 - int(k.rstrip('r'))}{'r' * k.endswith('r')}" for k in labels
        },
    }
    for edit, source in maps.items():
        for group in ("all", *GROUPS):
            for scope in scopes_of(problem):
                names = names_of(problem) if group == "all" else list(group)
                yield Deviation(
                    f"{group} weights of lanes", edit, scope, partial(_put_lanes, source=source, names=names)
                )


def _first_fitting(label: str, shapes: dict[tuple[str, str], tuple[int, ...]]) -> str:
    direction = "r" * label.endswith("r")
    fitting = [k for k in range(int(label.rstrip("r")) + 1) if shapes[f"{k}{direction}", "W"] == shapes[label, "W"]]
    return f"{fitting[0]}{direction}"


def _put_lanes(edits: Edits, problem: AnyProblem, scope: Scope, source: dict[str, str], names: list[str]) -> None:
    places, changed = places_of(problem), False
    for label in scope.lanes:
        for name in names:
            other = (source[label], name)
            if other not in places:
                raise NoPlaceError
            if places[other].shape != places[label, name].shape:
                continue
            changed |= source[label] != label
            edits.readings.setdefault((label, name), []).append((lambda t: True, Reading(places[other])))
    if not changed:
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
        groups |= {f"gradients of {site}": names for site, names in _anew(problem).items()}
    for site, names in groups.items():
        for edit, steps in _SUMS.items():
            yield from spread_over(problem, site, edit, partial(_put_sum, names=names, steps=steps), BACK)


def _put_sum(edits: Edits, problem: AnyProblem, scope: Scope, names: tuple[str, ...], steps: str) -> None:
    places = places_of(problem)
    for key in [(label, name) for label in scope.lanes for name in names if (label, name) in places]:
        reading = Reading(places[key], adds=False)
        edits.readings.setdefault(key, []).append((steps_of(steps, timesteps_of(problem)), reading))


def returned_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that may become of gradients after they are computed."""
    weights = names_of(problem)
    inputs = ["y0", "h0", "c0", "enc"] if isinstance(problem, DecoderProblem) else ["x", "h0", "c0"]
    groups: dict[str, list[str]] = {f"d{name}": [name] for name in [*weights, *inputs]}
    groups |= {"gradients of weights": weights, "all gradients": [*weights, *inputs], "dh0 and dc0": ["h0", "c0"]}
    for site, names in groups.items():
        yield from spread_over(problem, site, "zero", _returned(names, lambda a: 0 * a), BACK)
        for name, factor in FACTORS.items():
            number = factor(problem)
            if number != 1:
                yield from spread_over(
                    problem, site, f"times {name}", _returned(names, partial(_times, number=number)), BACK
                )
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
                    partial(_ordered, order=label)
                    if site != "p"
                    else partial(_rows, order=["ifo".index(g) for g in order])
                )
                yield from spread_over(
                    problem, f"d{site}", f"returned as {label}", _returned(names, partial(_safe, move=move)), BACK
                )
        for edit, move in _CELL_MOVES.items():
            yield from spread_over(problem, f"d{site}", f"{edit}", _returned(names, partial(_safe, move=move)), BACK)


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
