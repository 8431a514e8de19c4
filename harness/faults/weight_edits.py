# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of weights as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from itertools import permutations, product

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.causes.decoder_run import weights_of_decoder
from lockstep.harness.causes.edits import Edits, NoPlaceError, every
from lockstep.harness.causes.formats import rounded
from lockstep.harness.causes.network_run import weights_of
from lockstep.harness.causes.stored import WeightKey, WeightReading
from lockstep.harness.faults.deviation import (
    Deviation,
    Put,
    Scope,
    scopes_of,
    spread_over,
    steps_of,
    timesteps_of,
)
from lockstep.harness.faults.moves import Move
from lockstep.harness.faults.value_edits import added, cast, put_value, shorter_formats
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import uneven

# Arrays that are read alike; the largest first, since one slip in reading them is plainer than several.
WEIGHT_GROUPS = ("WRb", "WR", "Wb", "Rb", "W", "R", "b")


def names_of(problem: AnyProblem) -> list[str]:
    """Every name of a weight of the main lanes."""
    if isinstance(problem, DecoderProblem):
        return [name for name in problem.weights.arrays() if not name.endswith("_encoder")]
    return list(problem.weights[0][0].arrays())


Halves = tuple[Array, Array]  # two biases of which b is the sum


@lru_cache(maxsize=64)
def arrays_of(problem: AnyProblem) -> dict[WeightKey, Array]:
    """The weights by lane and name, in the order in which they are stored."""
    return weights_of_decoder(problem) if isinstance(problem, DecoderProblem) else weights_of(problem)


@lru_cache(maxsize=64)
def places_of(problem: AnyProblem) -> dict[WeightKey, Array]:
    """Where each number of each weight stands among all."""
    places, start = {}, 0
    for key, array in arrays_of(problem).items():
        places[key] = np.arange(start, start + array.size).reshape(array.shape)
        start += array.size
    return places


def weight_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that a weight may be read as."""
    if problem.case.lstm.forget_bias:
        for edit, by in _FORGET_BIAS.items():
            yield from spread_over(problem, "b", edit, partial(_put_forget_bias, by=by))
        yield from spread_over(problem, "b", "forget bias after the sigmoid", _put_after_the_sigmoid)
    for group in WEIGHT_GROUPS:
        for edit, put in _of_blocks(group):
            site, _, what = edit.rpartition(": ")
            yield from spread_over(problem, site or group, what, put)
    for group in ("W", "R", "WR"):  # alone first: where one has no place for a move, both are as the other alone
        for edit, put in _of_columns(group):
            site, _, what = edit.rpartition(": ")
            yield from spread_over(problem, site or group, what, put)
    yield from _of_arrays(problem)
    for edit, join in FUSED.items():
        yield from spread_over(problem, "[W R]", edit, _fused(join))
    yield from _of_two_biases(problem)
    yield from _of_formats(problem)
    if isinstance(problem, DecoderProblem):
        yield from _made_anew(problem)
        yield from _of_scores(problem)
    yield from _lanes(problem)


def _of_blocks(group: str) -> Iterator[tuple[str, Put]]:
    """Edits of arrays that are made of four blocks, one for each gate; before ": " the site where it is one block."""
    for letters in permutations(GATES):
        order = "".join(letters)
        if order != GATES:
            yield f"read as {order}", _moves(group, partial(ordered, order=order))
    for edit, move in CELL_MOVES.items():
        if edit not in OF_COLUMNS:
            yield edit, _moves(group, move)
    for gate, taken in permutations(GATES, 2):
        yield f"block {taken} for {gate}", _moves(group, partial(_block, gate=gate, taken=taken))
    for gate in GATES:
        for edit, (factor, constant) in _NUMBERS.items():
            yield f"{group}.{gate}: {edit}", put_numbers(group, factor, constant, gate)
        yield f"zero but for {gate}", put_numbers(group, 0.0, 0.0, GATES.replace(gate, ""))
    yield "absolute", _absolute(group)


def _of_columns(group: str) -> Iterator[tuple[str, Put]]:
    """Edits of kernels, which have columns."""
    for edit, move in (CELL_MOVES | WEIGHT_MOVES).items():
        if edit in OF_COLUMNS:
            yield edit, _moves(group, move)
    for gate in GATES:
        yield f"{group}.{gate}: transposed", _moves(group, partial(_gate_turned, gate=gate))
    for edit in PARTS:
        yield edit, _masked(group, edit)


def _of_arrays(problem: AnyProblem) -> Iterator[Deviation]:
    """Edits of any array, whole."""
    names = names_of(problem)
    # A decoder's steps may be calls of layers of their own: those after the first read other weights.
    steps = ("", "later") if isinstance(problem, DecoderProblem) else ("",)
    for name in [*WEIGHT_GROUPS, *(name for name in names if name not in "WRb")]:
        group = list(name) if name in WEIGHT_GROUPS else [name]
        for edit, (factor, constant) in _NUMBERS.items():
            yield from spread_over(problem, name, edit, put_numbers(group, factor, constant), steps=steps)
        for edit, move in WEIGHT_MOVES.items():
            if name not in WEIGHT_GROUPS or edit not in OF_COLUMNS:
                yield from spread_over(problem, name, edit, _moves(group, move))
    for gate, taken in permutations("ifo", 2) if "p" in names else ():
        order = ["ifo".index(taken if name == gate else name) for name in "ifo"]
        yield from spread_over(problem, "p", f"row {taken} for {gate}", _moves(["p"], partial(rows_in, order=order)))
    for letters in permutations("ifo") if "p" in names else ():
        if letters != tuple("ifo"):
            move = partial(rows_in, order=[letters.index(gate) for gate in "ifo"])
            yield from spread_over(problem, "p", f"read as {''.join(letters)}", _moves(["p"], move))


def _of_formats(problem: AnyProblem) -> Iterator[Deviation]:
    """Weights rounded to a shorter format than the case's, by themselves and as operands of the products."""
    for form in shorter_formats(problem):
        for group in ("WRb", "WR", "W", "R", "b"):
            yield from spread_over(problem, group, f"in {form}", _cast(group, form), form=form)
        put = _together(_cast("WR", form), _of_halves(partial(_both_biases, form=form)))
        yield from spread_over(problem, "W, R and both biases", f"in {form}", put, form=form)
        operands = [_cast("WR", form), *(put_value(site, partial(cast, form=form)) for site in ("x", "h_in"))]
        yield from spread_over(problem, "operands", f"in {form}", _together(*operands), form=form)


def _both_biases(places: Array, halves: Halves, form: str) -> WeightReading:
    """Both biases into which a layout splits b, each rounded by itself."""
    first, second = (rounded(part.astype(float), form) for part in halves)
    return WeightReading(places, factor=0.0, constant=first + second)


# Groups of a decoder's weights that are made anew at every step but the first where none is shared.
_ANEW = (
    ("W_tilde", "b_tilde"), ("W_target", "W_tilde", "b_tilde"), ("W_target", "W_tilde", "b_tilde", "W_a"),
    ("W", "R", "b"), ("W", "R", "b", "W_target", "W_tilde", "b_tilde"), ("W_q", "W_k", "v_a"),
    ("W_target", "W_tilde", "b_tilde", "W_q", "W_k", "v_a"),
)  # fmt: skip


def _made_anew(problem: DecoderProblem) -> Iterator[Deviation]:
    for site, names in groups_made_anew(problem).items():
        put = partial(_put_anew, names=names)
        yield Deviation(site, "made anew as ones", Scope("", ("decoder",), "later"), put)


def groups_made_anew(problem: DecoderProblem) -> dict[str, tuple[str, ...]]:
    """The groups of weights of which no two steps may share any, by the words for them."""
    there = problem.weights.arrays().keys()
    return {f"{', '.join(names[:-1])} and {names[-1]}": names for names in _ANEW if there >= set(names)}


# Which weight is read for W_q, and which for W_k.
_QUERY_AND_KEY = {"exchanged": ("W_k", "W_q"), "W_q for both": ("W_q", "W_q"), "W_k for both": ("W_k", "W_k")}


def _of_scores(problem: DecoderProblem) -> Iterator[Deviation]:
    for edit, (query, key) in _QUERY_AND_KEY.items() if problem.weights.v_a is not None else ():
        put = partial(_put_query_and_key, query=query, key=key)
        yield Deviation("W_q and W_k", edit, Scope("", ("decoder",)), put)


def _put_query_and_key(edits: Edits, problem: AnyProblem, scope: Scope, query: str, key: str) -> None:
    places = places_of(problem)
    for label in scope.lanes:
        for name, taken in (("W_q", query), ("W_k", key)):
            home = places[label, name]
            if places[label, taken].shape != home.shape:
                raise NoPlaceError
            edits.read((label, name), every, WeightReading(places[label, taken], home=home))


def _put_anew(edits: Edits, problem: AnyProblem, scope: Scope, names: tuple[str, ...]) -> None:
    for name in names:
        # Biases start at 0 wherever kernels start at 1.
        put_numbers([name], 0.0, 0.0 if name.startswith("b") else 1.0)(edits, problem, scope)


def _gate_parts(places: Array) -> list[Array]:
    """The blocks of the four gates, (H, ...) each; peepholes (3, H), which have none, are no place for it."""
    if len(places) % 4:
        raise NoPlaceError
    return np.split(places, 4)


def ordered(places: Array, order: str) -> Array:
    """Blocks stacked in ``order``, as i, f, g, o."""
    parts = _gate_parts(places)
    return np.concatenate([parts[order.index(gate)] for gate in GATES])


def _block(places: Array, gate: str, taken: str) -> Array:
    parts = dict(zip(GATES, _gate_parts(places), strict=True))
    return np.concatenate([parts[taken if name == gate else name] for name in GATES])


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


# Of arrays that are made of four blocks of gates.
CELL_MOVES: dict[str, Move] = {
    "transposed by gate": _by_gate(_turned),
    "reshaped, not transposed, by gate": _by_gate(_columns(_folded)),
    "column-major read as row-major, by gate": _by_gate(_columns(lambda a: np.ravel(a, "F").reshape(a.shape))),
    "units flipped": _by_gate(lambda a: a[::-1]),
    "units rolled": _by_gate(lambda a: np.roll(a, 1, axis=0)),
    "unit-major": lambda a: np.concatenate([a[k::4] for k in range(4)]),
    "gate-major for unit-major": lambda a: np.stack(_gate_parts(a), axis=1).reshape(a.shape),
    "first unit for all": _by_gate(lambda a: np.repeat(a[:1], len(a), axis=0)),
    "block i for all": lambda a: np.concatenate([_gate_parts(a)[0]] * 4),
}
# The moves that a bias has no place for.
OF_COLUMNS = frozenset({
    "transposed by gate", "reshaped, not transposed, by gate", "column-major read as row-major, by gate",
    "column-major read as row-major", "transposed",
    "reshaped, not transposed", "columns flipped", "columns rolled", "column halves exchanged",
})  # fmt: skip
# Which numbers of a gate's block, of a row u and a column k of n, are used; the others count as 0.
PARTS: dict[str, Callable[[Array, Array, int, int], Array]] = {
    "diagonal only": lambda u, k, H, n: u == k,
    "all but the diagonal": lambda u, k, H, n: u != k,
    "lower triangle only": lambda u, k, H, n: u >= k,
    "upper triangle only": lambda u, k, H, n: u <= k,
    "first column only": lambda u, k, H, n: k == 0,
    "all but the first column": lambda u, k, H, n: k > 0,
    "all but the last column": lambda u, k, H, n: k < n - 1,
    "first half of the columns": lambda u, k, H, n: k < (n + 1) // 2,
    "second half of the columns": lambda u, k, H, n: k >= n // 2,
    "every second column": lambda u, k, H, n: k % 2 == 0,
    "all but the last unit": lambda u, k, H, n: u < H - 1,
    "all but the first unit": lambda u, k, H, n: u > 0,
}
# Of the places of W (4H, I) and R (4H, H): those that are read for each.
FUSED: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "h before x": lambda W, R: (np.concatenate([W, R], 1)[:, R.shape[1] :], np.concatenate([W, R], 1)[:, : R.shape[1]]),
    "stored with h before x": lambda W, R: _split_columns(np.concatenate([R, W], 1), W.shape[1]),
    "reshaped, not transposed": lambda W, R: _split_columns(_folded(np.concatenate([W, R], 1)), W.shape[1]),
    "W and R exchanged": lambda W, R: (R, W),
    "W for both": lambda W, R: (W, W),
    "R for both": lambda W, R: (R, R),
}


def _split_columns(places: Array, at: int) -> tuple[Array, Array]:
    return places[:, :at], places[:, at:]


# What is added to each gate's bias, in times of the forget bias.
_FORGET_BIAS: dict[str, dict[str, float]] = {
    "forget bias left out": {"f": -1.0},
    "forget bias twice": {"f": 1.0},
    "forget bias subtracted": {"f": -2.0},
    **{f"forget bias on {gate} instead": {"f": -1.0, gate: 1.0} for gate in "igo"},
    **{f"forget bias on {gate} too": {gate: 1.0} for gate in "igo"},
}
# Of any array, whole.
WEIGHT_MOVES: dict[str, Move] = {
    "transposed": _turned,  # before what is the same of a square array
    "column-major read as row-major": _columns(lambda a: np.ravel(a, "F").reshape(a.shape)),
    "reshaped, not transposed": _columns(_folded),
    "columns flipped": _columns(lambda a: a[:, ::-1]),
    "columns rolled": _columns(lambda a: np.roll(a, 1, axis=1)),
    "column halves exchanged": _columns(lambda a: np.roll(a, a.shape[1] // 2, axis=1)),
    "rows flipped": lambda a: a[::-1],
    "rows rolled": lambda a: np.roll(a, 1, axis=0),
}
# What a number is multiplied by, and what is added to it then.
_NUMBERS: dict[str, tuple[float, float]] = {
    "zero": (0.0, 0.0), "one": (0.0, 1.0), "times -1": (-1.0, 0.0), "times 1/2": (0.5, 0.0), "times 2": (2.0, 0.0),
    "plus 1": (1.0, 1.0), "minus 1": (1.0, -1.0),
}  # fmt: skip


def rows_in(places: Array, order: list[int]) -> Array:
    """Rows in another order."""
    return places[order]


def _gate_turned(places: Array, gate: str) -> Array:
    parts = dict(zip(GATES, _gate_parts(places), strict=True))
    return np.concatenate([_turned(parts[name]) if name == gate else parts[name] for name in GATES])


def _readings(group: str | list[str], reading: Callable[[Array, Array], WeightReading]) -> Put:
    """Read arrays otherwise, by a function of their places and their values."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places, arrays = places_of(problem), arrays_of(problem)
        steps = steps_of(scope.steps, timesteps_of(problem))
        for key in [(label, name) for label in scope.lanes for name in group if (label, name) in places]:
            edits.read(key, steps, replace(reading(places[key], arrays[key]), home=places[key]))

    return put


def _of_halves(reading: Callable[[Array, Halves], WeightReading]) -> Put:
    """Read b otherwise, by the two biases of which it is the sum."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places, arrays = places_of(problem), arrays_of(problem)
        given = None if isinstance(problem, DecoderProblem) else problem.halves
        of_lane = dict(zip((key for key in arrays if key[1] == "b"), given or (), strict=False))
        steps = steps_of(scope.steps, timesteps_of(problem))
        for key in [(label, "b") for label in scope.lanes if (label, "b") in places]:
            # Else as they are handed over: by a split of which neither part is zero.
            halves = of_lane.get(key) or uneven(arrays[key])
            edits.read(key, steps, replace(reading(places[key], halves), home=places[key]))

    return put


def kept_part(part: str, shape: tuple[int, ...]) -> Array:
    """1 where a kernel's part is used, 0 elsewhere.

    Raises:
        NoPlaceError: If an array of that shape has no blocks of gates, or no columns.
    """
    if len(shape) < 2 or shape[0] % 4:
        raise NoPlaceError
    H, n = shape[0] // 4, shape[1]
    # Alike for the four gates: a slip in a loop over units or columns hits each of them.
    mask = np.broadcast_to(PARTS[part](np.arange(H)[:, None], np.arange(n)[None, :], H, n), (H, n))
    return np.tile(mask, (4, 1)).astype(float)


def _masked(group: str, part: str) -> Put:
    return _readings(group, lambda places, array: WeightReading(places, kept_part(part, places.shape)))


def _absolute(group: str) -> Put:
    # As a factor, so that its gradient goes back with the sign.
    return _readings(group, lambda places, array: WeightReading(places, np.where(array < 0, -1.0, 1.0)))


def _cast(group: str, form: str) -> Put:
    return _readings(group, lambda places, array: WeightReading(places, form=form))


def _shifts(by_gate: dict[str, float]) -> Put:
    """Add numbers to the bias, by gate."""

    def reading(places: Array, array: Array) -> WeightReading:
        return WeightReading(places, constant=np.repeat([by_gate.get(gate, 0.0) for gate in GATES], len(places) // 4))

    return _readings("b", reading)


# -- layouts ------------------------------------------------------------------------------------------------------


def layout_deviations(problem: AnyProblem, layout: str) -> Iterator[Deviation]:
    """Weights handed over in one layout and read as another's, or with its gates in another order."""
    stored = DIALECTS[layout]
    for read in DIALECTS.values():
        if (read.gates, read.forget_bias, read.transposed) != (stored.gates, stored.forget_bias, stored.transposed):
            put = partial(_put_misread, stored=stored, read=read)
            yield from spread_over(problem, "layout", f"{layout} read as {read.name}", put)
    if stored.forget_bias:  # it is added where f is read, whatever stands there
        for letters in permutations(GATES):
            order = "".join(letters)
            put = partial(_put_order, order=order, taken=stored.forget_bias, added=stored.forget_bias)
            if order != GATES:
                yield from spread_over(problem, "layout", f"{layout} gates read as {order}", put)


def _put_misread(edits: Edits, problem: AnyProblem, scope: Scope, stored: Dialect, read: Dialect) -> None:
    order = "".join(read.gates[stored.gates.index(gate)] for gate in GATES)
    move = None
    if stored.transposed != read.transposed:  # the memory of one, taken for the other's shape
        move = _columns(lambda a: np.ravel(a, "F").reshape(a.shape)) if stored.transposed else _columns(_folded)
    _put_order(edits, problem, scope, order, stored.forget_bias, read.forget_bias, move)


def _put_order(
    edits: Edits, problem: AnyProblem, scope: Scope, order: str, taken: float, added: float, move: Move | None = None
) -> None:
    """Read blocks in another order, of a bias of which the forget bias was taken out, to which it is added again."""
    # Taken out where f is stored, added where f is read: in another order these are two gates.
    constants = dict.fromkeys(GATES, 0.0)
    constants[order[GATES.index("f")]] -= taken
    constants["f"] += added
    places = places_of(problem)
    for key in [(label, name) for label in scope.lanes for name in "WRb" if (label, name) in places]:
        moved = places[key] if move is None or key[1] == "b" else move(places[key])
        shift = np.repeat([constants[gate] for gate in GATES], len(moved) // 4) if key[1] == "b" else 0.0
        edits.read(key, every, WeightReading(ordered(moved, order), constant=shift, home=places[key]))


def _put_forget_bias(edits: Edits, problem: AnyProblem, scope: Scope, by: dict[str, float]) -> None:
    forget_bias = problem.case.lstm.forget_bias
    _shifts({gate: times * forget_bias for gate, times in by.items()})(edits, problem, scope)


def _put_after_the_sigmoid(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
    forget_bias = problem.case.lstm.forget_bias
    _shifts({"f": -forget_bias})(edits, problem, scope)
    put_value("f", partial(added, number=forget_bias))(edits, problem, scope)


def _of_two_biases(problem: AnyProblem) -> Iterator[Deviation]:
    """The two biases into which a layout splits b: each is added so many times."""
    for which in (0, 1):
        for edit, times in (("left out", (0.0, 1.0)), ("twice, the other left out", (2.0, 0.0))):
            first, second = times if which == 0 else times[::-1]

            def reading(places: Array, halves: Halves, first: float = first, second: float = second) -> WeightReading:
                return WeightReading(places, constant=(first - 1) * halves[0].astype(float) + (second - 1) * halves[1])

            yield from spread_over(problem, ("b_ih", "b_hh")[which], edit, _of_halves(reading))
    for which, (edit, move) in product((0, 1), _block_moves().items()):
        put = _of_halves(partial(_one_moved, which=which, move=move))
        yield from spread_over(problem, ("b_ih", "b_hh")[which], edit, put)


def _block_moves() -> dict[str, Move]:
    """Blocks of gates in another order, and one in the place of others."""
    orders = ["".join(letters) for letters in permutations(GATES) if "".join(letters) != GATES]
    moves: dict[str, Move] = {f"read as {order}": partial(ordered, order=order) for order in orders}
    moves |= {
        f"block {other} for {gate}": partial(_block, gate=gate, taken=other) for gate, other in permutations(GATES, 2)
    }
    moves |= {f"block {gate} for all": partial(_for_all, gate=gate) for gate in GATES}
    return moves | {"units flipped": CELL_MOVES["units flipped"], "unit-major": CELL_MOVES["unit-major"]}


def _for_all(places: Array, gate: str) -> Array:
    return np.concatenate([_gate_parts(places)[GATES.index(gate)]] * len(GATES))


def _one_moved(places: Array, halves: Halves, which: int, move: Move) -> WeightReading:
    """One of the two biases with its numbers elsewhere, the other as it is."""
    part = halves[which].astype(float)
    return WeightReading(places, constant=move(part) - part)


def _fused(join: Callable[[Array, Array], tuple[Array, Array]]) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places = places_of(problem)
        for label in scope.lanes:
            W, R = places[label, "W"], places[label, "R"]
            for name, right, read in zip("WR", (W, R), join(W, R), strict=True):
                if read.shape != right.shape:
                    raise NoPlaceError
                edits.read((label, name), every, WeightReading(np.ascontiguousarray(read), home=right))

    return put


def _together(*puts: Put) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        for each in puts:
            each(edits, problem, scope)

    return put


def _moved_where_it_fits(places: Array, move: Move) -> Array | None:
    """Where numbers are taken from; None where the shape has no place for the move, or it changes nothing."""
    try:
        changed = move(places)
    except NoPlaceError:
        return None
    return None if changed.shape != places.shape or np.array_equal(changed, places) else changed


def _moves(group: str | list[str], move: Move) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places = places_of(problem)
        keys = [(label, name) for label in scope.lanes for name in group if (label, name) in places]
        moved = {key: changed for key in keys if (changed := _moved_where_it_fits(places[key], move)) is not None}
        if not moved:
            raise NoPlaceError
        steps = steps_of(scope.steps, timesteps_of(problem))
        for key, taken in moved.items():
            edits.read(key, steps, WeightReading(taken, home=places[key]))

    return put


def put_numbers(group: str | list[str], factor: float, constant: float, gates: str = "") -> Put:
    """Read blocks of some gates, or all, times a factor and with a constant added."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        places = places_of(problem)
        steps = steps_of(scope.steps, timesteps_of(problem))
        for key in [(label, name) for label in scope.lanes for name in group if (label, name) in places]:
            shape = places[key].shape
            factors, constants = np.ones(shape), np.zeros(shape)
            for k, name in enumerate(GATES):
                if name in (gates or GATES):
                    rows = slice(k * len(factors) // 4, (k + 1) * len(factors) // 4) if gates else slice(None)
                    factors[rows], constants[rows] = factor, constant
            edits.read(key, steps, WeightReading(places[key], factors, constants, home=places[key]))

    return put


def _lanes(problem: AnyProblem) -> Iterator[Deviation]:
    """Lanes that read each other's weights."""
    if isinstance(problem, DecoderProblem) or problem.case.lstm.single:
        return
    shapes = {key: array.shape for key, array in arrays_of(problem).items()}
    labels = list(dict.fromkeys(label for label, _ in shapes))
    maps: dict[str, dict[str, str]] = {
        "those of the forward lane": {label: label.removesuffix("r") for label in labels},
        "those of the reverse lane": {label: label.removesuffix("r") + "r" for label in labels},
        "directions exchanged": {k: k[:-1] if k.endswith("r") else k + "r" for k in labels},
        "those of the lower layer": {k: f"{max(int(k.rstrip('r')) - 1, 0)}{'r' * k.endswith('r')}" for k in labels},
        "those of the first layer": {k: f"0{'r' * k.endswith('r')}" for k in labels},
        "those of the first layer that fits": {k: _first_fitting(k, shapes) for k in labels},
        "layers from the top down": {
            k: f"{problem.case.lstm.num_layers - 1 - int(k.rstrip('r'))}{'r' * k.endswith('r')}" for k in labels
        },
    }
    # Lists of all lanes: layer by layer, and direction by direction.
    by_direction = sorted(labels, key=lambda label: (label.endswith("r"), int(label.rstrip("r"))))
    maps["listed by direction, read by layer"] = dict(zip(labels, by_direction, strict=True))
    maps["listed by layer, read by direction"] = dict(zip(by_direction, labels, strict=True))
    for edit, source in maps.items():
        # The fewest arrays first: where one has no place for it, more are as the others alone.
        beyond = [name for name in ("P", "p") if name in names_of(problem)]
        for group in (*beyond, *reversed(WEIGHT_GROUPS[1:]), "all", "WRb"):
            for scope in scopes_of(problem):
                names = names_of(problem) if group == "all" else list(group)
                yield Deviation(
                    f"{group} weights of lanes", edit, scope, partial(_put_lanes, source=source, names=names)
                )


def _first_fitting(label: str, shapes: dict[WeightKey, tuple[int, ...]]) -> str:
    direction = "r" * label.endswith("r")
    fitting = [k for k in range(int(label.rstrip("r")) + 1) if shapes[f"{k}{direction}", "W"] == shapes[label, "W"]]
    return f"{fitting[0]}{direction}"


def _put_lanes(edits: Edits, problem: AnyProblem, scope: Scope, source: dict[str, str], names: list[str]) -> None:
    places, changed = places_of(problem), False
    for label in scope.lanes:
        for name in names:
            source_key = (source[label], name)
            if source_key not in places:
                raise NoPlaceError
            # The first layer's W is of another width than the others': it stays, and R and b are exchanged.
            if places[source_key].shape != places[label, name].shape:
                continue
            changed |= source[label] != label
            edits.read((label, name), every, WeightReading(places[source_key], home=places[label, name]))
    if not changed:
        raise NoPlaceError
