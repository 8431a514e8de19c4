# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of rules: curves, clips, lengths, turning, order of lanes, masks; and of what belongs to a whole network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.tensors import lanes
from lockstep.harness.causes.edits import Edits, NoPlaceError, every
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.network_run import OUTPUT, label_of
from lockstep.harness.causes.noisy_curves import NoisyCurve, curve_of
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import BACK, Deviation, Put, Scope, spread_over, steps_of, timesteps_of
from lockstep.harness.faults.value_edits import put_group
from lockstep.harness.reference.activations import ACTIVATIONS, Activation
from lockstep.harness.reference.curves import CURVES

# What may be taken for the lengths n of T timesteps.
LENGTHS: dict[str, Callable[[Array, int], Array | None]] = {
    "ignored": np.full_like,
    "one less": lambda n, T: np.maximum(n - 1, 0),
    "one more": lambda n, T: np.minimum(n + 1, T),
    "the longest": lambda n, T: np.full_like(n, n.max()),
    "the shortest": lambda n, T: np.full_like(n, n.min()),
    "the first": lambda n, T: np.full_like(n, n[0]),
    "the last": lambda n, T: np.full_like(n, n[-1]),
    "sorted, longest first": lambda n, T: np.sort(n)[::-1],
    "sorted, shortest first": lambda n, T: np.sort(n),
    "reversed": lambda n, T: n[::-1],
    "rolled": lambda n, T: np.roll(n, 1),
    "counted from the end": lambda n, T: T - n,
}
# What may be taken for the resets (T, B): where sequences start anew.
RESET_MASKS: dict[str, Callable[[Array], Array]] = {
    "ignored": np.zeros_like,
    "one timestep late": lambda anew: np.concatenate([np.zeros_like(anew[:1]), anew[:-1]]),
    "one timestep early": lambda anew: np.concatenate([anew[1:], np.zeros_like(anew[:1])]),
    "inverted": np.logical_not,
    "of any sequence, for all": lambda anew: np.broadcast_to(anew.any(axis=1, keepdims=True), anew.shape),
    "of the first sequence, for all": lambda anew: np.broadcast_to(anew[:, :1], anew.shape),
}
# All that may become of a state where a sequence starts anew, by the rules that are set otherwise.
RESET_RULES: dict[str, dict[str, Any]] = {
    **{edit: {"resets": change} for edit, change in RESET_MASKS.items()},
    "h only": {"resets of": "h"},
    "c only": {"resets of": "c"},
    "to the initial state": {"resets to": "initial"},
    "after the step": {"resets when": "after"},
    "after the step, in what is returned too": {"resets when": "after, returned too"},
}
# Past a sequence's end: what h is there, what c is there, and what of the state goes on being computed.
PAST_THE_END: dict[str, tuple[str, str, str]] = {
    "h kept": ("kept", "kept", ""),
    "h 0, c runs on": ("zero", "computed", "hc"),
    "h kept, c runs on": ("kept", "computed", "c"),
    "both 0": ("zero", "zero", ""),
    "h runs on, c kept": ("computed", "kept", "h"),
    "both run on, c returned kept": ("computed", "kept", "hc"),
    "both run on, h returned kept": ("kept", "computed", "hc"),
    "h kept, c 0": ("kept", "zero", ""),
    "both run on, c returned 0": ("computed", "zero", "hc"),
    "both initial": ("initial", "initial", ""),
    "h 0, c initial": ("zero", "initial", ""),
}


# What stands for the sigmoid, and then for tanh, where a library's approximations stand for both.
_EVERY_CURVE = {
    "hard_sigmoid_0.2": "hard_tanh", "pade_sigmoid": "pade_tanh", "softsign_sigmoid": "softsign", "linear": "linear",
    "relu": "relu", "sigmoid": "tanh",
}  # fmt: skip


def rule_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that is done by a rule."""
    lstm = problem.case.lstm
    sites = (*(((k,), k) for k in "ifgou"), (("g", "u"), "g and u"), (("i", "f", "g", "o"), "all gates"))
    for kinds, site in ((("i", "f", "o"), "gates"), *sites):
        for name in CURVES:
            if all(lstm.activations[kind] != name for kind in kinds):
                rules = {f"curve {kind}": name for kind in kinds}
                yield from spread_over(problem, f"curve of {site}", name, put_rules(rules))
    for sigmoid, tanh in _EVERY_CURVE.items():
        if sigmoid == "sigmoid" and lstm.recurrent_activation == "sigmoid":
            continue  # then g and u alone are others
        rules = {f"curve {k}": sigmoid for k in "ifo"} | {f"curve {k}": tanh for k in "gu"}
        yield from spread_over(problem, "every curve", tanh, put_rules(rules))
    yield from _clips_and_peepholes(problem)
    words = "not coupled" if lstm.input_forget else "1 - i"
    yield from spread_over(problem, "coupling of f", words, put_rules({"coupled": not lstm.input_forget}))
    yield from spread_over(problem, "coupling of i", "1 - f", put_rules({"coupled": False, "coupled by f": True}))
    if isinstance(problem, DecoderProblem):
        yield from _decoder(problem)
    else:
        yield from _network(problem)
    if problem.lengths is not None:
        yield from _lengths(problem)
    if problem.case.run.resets is not None:
        for edit, settings in RESET_RULES.items():
            yield from spread_over(problem, "resets", edit, put_rules(settings))


def _clips_and_peepholes(problem: AnyProblem) -> Iterator[Deviation]:
    lstm = problem.case.lstm
    if lstm.cell_clip is not None:
        yield from spread_over(problem, "clip", "none", put_rules({"clip": None}))
        for edit, sides in (
            ("from above only", "above"),
            ("from below only", "below"),
            ("bounds exchanged", "neither"),
        ):
            yield from spread_over(problem, "clip", edit, put_rules({"clip sides": sides}))
        for name, factor in (("times 2", 2.0), ("times 1/2", 0.5)):
            yield from spread_over(problem, "clip", name, partial(_put_clip, factor=factor))
    if lstm.peephole:
        yield from spread_over(problem, "p", "left out", put_rules({"peepholes of": ""}))
    for letters in permutations("ifgo", 3) if lstm.peephole else ():
        if "g" in letters:  # those of i, f and o are another order of the rows
            put = put_rules({"peepholes of": "".join(letters)})
            yield from spread_over(problem, "p", f"added to {', '.join(letters)}", put)


def _put_clip(edits: Edits, problem: AnyProblem, scope: Scope, factor: float) -> None:
    bound = problem.case.lstm.cell_clip
    put_rules({"clip": None if bound is None else factor * bound})(edits, problem, scope)


def _lengths(problem: AnyProblem) -> Iterator[Deviation]:
    turns = problem.case.lstm.direction != "forward"
    decoder = isinstance(problem, DecoderProblem)
    uses = ("mask", "shown") if decoder else (*(("turn",) if turns else ()), "hold", "cut")
    for name, change in LENGTHS.items():
        # An implementation may take other lengths for all of them, or for one use alone.
        for kinds in (uses, *((use,) for use in uses if not decoder)):
            site = "lengths" if kinds == uses else f"lengths that {kinds[0]}"
            rules = {f"lengths {kind}": change for kind in kinds}
            yield from spread_over(problem, site, name, put_rules(rules))
        if turns and not decoder:
            # A mask that is laid over the outputs, in the order of time, leaves a reverse lane's own way as it is.
            rules = {f"lengths {kind}": change for kind in uses} | {"cut in the end": True}
            yield from spread_over(problem, "lengths of the run", name, put_rules(rules))
    if not decoder:
        for name, (of_h, of_c, runs) in PAST_THE_END.items():
            rules = {"past the end h": of_h, "past the end c": of_c, "runs past the end": runs}
            yield from spread_over(problem, "past the end", name, put_rules(rules))
            if runs:
                on_zeros = rules | {"padding is zero": True}
                yield from spread_over(problem, "past the end", f"{name}, on zeros", put_rules(on_zeros))
        if not turns:
            yield from spread_over(problem, "lengths", "from the end", put_rules({"lengths in front": True}))
        rules = {f"lengths {kind}": np.full_like for kind in uses} | {"padding is zero": True}
        yield from spread_over(problem, "lengths", "ignored, and padding zero", put_rules(rules))


def _decoder(problem: DecoderProblem) -> Iterator[Deviation]:
    rules: dict[tuple[str, str], dict[str, Any]] = {
        ("softmax", "over the batch"): {"softmax": "sequences"},
        ("softmax", "over all sequences at once"): {"softmax": "all"},
        ("softmax", "left out"): {"softmax": "nothing"},
        ("softmax", "over one place"): {"softmax": "one", "lengths mask": np.full_like},
        ("joined", "exchanged"): {"joined": "exchanged"},
    }
    rules |= {("softmax", f"{name} in its place"): {"softmax": name} for name in CURVES if name != "linear"}
    rules["mask", "inverted"] = {"mask": "inverted"}
    if problem.lengths is not None:
        rules |= {("mask", how): {"mask": how} for how in ("not", "zero score", "after", "zero vectors", "added")}
        rules["mask", "from the end"] = {"lengths in front": True}
    for kind in _tanh_of(problem):
        rules |= {(f"curve of {kind}", name): {f"curve {kind}": name} for name in CURVES if name != "tanh"}
    if problem.decoder.context == "input":
        rules["cell input", "exchanged"] = {"cell input": "exchanged"}
        rules["attends", "after the cell"] = {"attends": "after the cell"}
    for (site, edit), settings in rules.items():
        yield Deviation(site, edit, Scope("", ("decoder",)), put_rules(settings))


def _tanh_of(problem: DecoderProblem) -> list[str]:
    """What a decoder takes a tanh of, beside its cell."""
    return ["y", "scores"] if problem.weights.v_a is not None else ["y"]


# What is made of the outputs of two directions, by the name of a merge mode or of what is done in its place.
MERGED = {
    "sum": "summed", "mul": "multiplied", "ave": "averaged", "max": "reduced to their maximum",
    "forward": "replaced by the forward one", "reverse": "replaced by the reverse one",
}  # fmt: skip
_EVERYWHERE = Scope("", ("",))  # what belongs to no lane


def _network(problem: AnyProblem) -> Iterator[Deviation]:
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
    for edit, change in (_WHOLE | _OF_HALVES).items():
        yield Deviation(OUTPUT, edit, _EVERYWHERE, _whole((OUTPUT,), change))


def _merges(lstm: LSTM) -> Iterator[Deviation]:
    """What is made of the outputs of two directions, and what becomes of it."""
    where = {"": ("merge", "merge between layers"), " between layers": ("merge between layers",),
             " in what is returned": ("merge",)}  # fmt: skip
    for mode, done in MERGED.items():
        for words, rules in where.items() if mode != lstm.merge_mode else ():
            if not words or lstm.num_layers > 1:
                edit = f"{done} where {MERGED[lstm.merge_mode]}{words}"
                yield Deviation("merge", edit, _EVERYWHERE, put_rules(dict.fromkeys(rules, mode)))
    for edit, change in _WHOLE.items():
        yield Deviation(OUTPUT, edit, _EVERYWHERE, _whole((OUTPUT,), change))


def _all_states(problem: AnyProblem) -> Iterator[Deviation]:
    """What becomes of the states of all lanes, as one array."""
    for edit, order in orders_of(problem).items():
        for site, names in (("all h0 and c0", ("all h0", "all c0")), ("all h0", ("all h0",)), ("all c0", ("all c0",))):
            yield Deviation(site, edit, _EVERYWHERE, _whole(names, _reordered(order)))
        for site, names in _FINALS.items():
            yield Deviation(site, edit, _EVERYWHERE, put_rules({"finals": partial(_finals, order=order, names=names)}))
    for (site, names), (edit, change) in product(_FINALS.items(), (_WHOLE | _RESHAPED_BACK).items()):
        put = put_rules({"finals": partial(_finals_changed, names=names, change=change)})
        yield Deviation(site, edit, _EVERYWHERE, put)
    if not problem.case.lstm.proj_size:
        yield from _in_pairs()
        yield Deviation("finals", "h_n and c_n exchanged", _EVERYWHERE, put_rules({"finals": _finals_exchanged}))
    yield Deviation("all h0 and c0", "exchanged", _EVERYWHERE, _exchanged)
    for edit, change in (_WHOLE | _RESHAPED_BACK).items():
        yield Deviation("all h0 and c0", edit, _EVERYWHERE, _whole(("all h0", "all c0"), change))
    for site, (edit, change) in product(("all h0", "all c0", "all x"), _WHOLE.items()):
        yield Deviation(site, edit, _EVERYWHERE, _whole((site,), change))


def _between_layers(problem: AnyProblem) -> Iterator[Deviation]:
    """What becomes of a layer's output where the next takes it in, and of those of all layers."""
    lstm = problem.case.lstm
    between = tuple(f"between {k}" for k in range(lstm.num_layers - 1))
    changes = _WHOLE | (_OF_HALVES if lstm.direction == "bidirectional" and not lstm.merged else {})
    sites = {site: (site,) for site in between} | ({"between layers": between} if len(between) > 1 else {})
    for (site, names), (edit, change) in product(sites.items(), changes.items()):
        yield Deviation(site, edit, _EVERYWHERE, _whole(names, change))
    for name, site in product(CURVES, between):
        yield Deviation(site, f"{name} of it", _EVERYWHERE, _whole((site,), _curved(name)))
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


_WHOLE: dict[str, Callable[[Any, Node], Node]] = {
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


def _finals(run: Any, kind: str, order: list[int], names: str) -> list[Node]:
    """The final states of all lanes in another order."""
    nodes = [results[kind] for results in run.results.values()]
    return [nodes[k] for k in order] if kind[0] in names else nodes


_FINALS = {"finals": "hc", "finals of h": "h", "finals of c": "c"}


def _finals_changed(run: Any, kind: str, names: str, change: Callable[[Any, Node], Node]) -> list[Node]:
    """The final states of all lanes as one array, with something done to it."""
    nodes = [results[kind] for results in run.results.values()]
    if kind[0] not in names:
        return nodes
    whole = run.tape.stack(nodes)
    if whole.value.ndim == 3:
        return run.tape.steps(change(run, whole))
    parts = [change(run, Node(whole.value[:, n])).value for n in range(whole.value.shape[1])]  # of each candidate
    return run.tape.steps(Node(np.stack(parts, axis=1)))


def _in_pairs() -> Iterator[Deviation]:
    """States in one list, h and c of each lane beside each other or all h before all c, read as the other."""
    for edit, pairs in (("pairs of h and c read as h before c", True), ("h before c read as pairs of h and c", False)):
        yield Deviation("all h0 and c0", edit, _EVERYWHERE, partial(_put_listed, pairs=pairs))
        yield Deviation("finals", edit, _EVERYWHERE, put_rules({"finals": partial(_finals_listed, pairs=pairs)}))


def _put_listed(edits: Edits, problem: AnyProblem, scope: Scope, *, pairs: bool) -> None:
    for k, name in enumerate(("all h0", "all c0")):

        def change(run: Any, node: Node, t: int, k: int = k) -> Node:
            return run.tape.stack(_listed(run.tape.steps(run.h0), run.tape.steps(run.c0), pairs=pairs)[k])

        edits.changes.setdefault(("", name), []).append((every, change))


def _finals_listed(run: Any, kind: str, *, pairs: bool) -> list[Node]:
    states = ([results[name] for results in run.results.values()] for name in ("h_n", "c_n"))
    return _listed(*states, pairs=pairs)["hc".index(kind[0])]


def _listed(h: list[Node], c: list[Node], *, pairs: bool) -> tuple[list[Node], list[Node]]:
    """The states that one list of all gives, where it is read otherwise than it was written."""
    if pairs:
        listed = [state for both in zip(h, c, strict=True) for state in both]
        return listed[: len(h)], listed[len(h) :]
    return [*h, *c][0::2], [*h, *c][1::2]


def _finals_exchanged(run: Any, kind: str) -> list[Node]:
    return [results["c_n" if kind == "h_n" else "h_n"] for results in run.results.values()]


def _whole(names: tuple[str, ...], change: Callable[[Any, Node], Node]) -> Put:
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


def put_rules(rules: dict[str, Any]) -> Put:
    """Set rules of every lane in scope; curves can be set at some timesteps alone."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        steps = steps_of(scope.steps, timesteps_of(problem)) if scope.steps else None
        for label in scope.lanes:
            for name, value in rules.items():
                if name.startswith("curve ") and steps is not None:
                    edits.curves.setdefault((label, name), []).append((steps, value))
                else:
                    edits.rules[label, name] = value

    return put


# -- the way back ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slope(NoisyCurve):
    """Whose slope is taken by a rule that is not its own."""

    rule: Callable[[Array, Array], Array] = lambda z, a: a

    def slope(self, z: Array, a: Array) -> Array:
        return self.rule(z, a)


def slope_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Other slopes than a curve's own, and what comes back from outside."""
    sites: dict[str, tuple[str, ...]] = {"gates": ("i", "f", "o"), **{k: (k,) for k in "ifgou"}}
    if isinstance(problem, DecoderProblem):
        sites |= {kind: (kind,) for kind in _tanh_of(problem)}
    for site, kinds in sites.items():
        rules: dict[str, Callable[[Array, Array], Array]] = {
            "1": lambda z, a: np.ones_like(a), "0": lambda z, a: 0 * a, "the value itself": lambda z, a: a,
            "1 - the value": lambda z, a: 1 - a, "the argument itself": lambda z, a: z,
        }  # fmt: skip
        for name, activation in ACTIVATIONS.items():
            rules[f"of {name}"] = lambda z, a, slope=activation.slope: slope(a)
            rules[f"of {name}, of z for a"] = lambda z, a, slope=activation.slope: slope(z)
        for edit, rule in rules.items():
            # Its value is never asked for: tanh stands there for form's sake.
            curve = _Slope("slope", np.tanh, None, rule)
            yield from spread_over(
                problem, f"slope of {site}", edit, put_rules({f"slope {k}": curve for k in kinds}), BACK
            )
    yield from _own_slopes(problem, sites)
    yield from _passed_on(problem)


def _passed_on(problem: AnyProblem) -> Iterator[Deviation]:
    """What comes back where nothing should, or should not be held."""
    if problem.lengths is not None and not isinstance(problem, DecoderProblem):
        put = put_rules({"gradient past the end": "kept"})
        yield from spread_over(problem, "d past the end", "of the state that is kept", put, BACK)
    if problem.case.run.resets is not None:
        put = put_rules({"gradient across resets": "kept"})
        yield from spread_over(problem, "d resets", "passed on", put, BACK)
    if problem.case.lstm.cell_clip is not None:
        yield from spread_over(problem, "slope of clip", "1", put_rules({"slope clip": "1"}), BACK)
    if isinstance(problem, DecoderProblem):
        yield from _softmax_slopes()
    names = ("all dy", "all dlogit") if isinstance(problem, DecoderProblem) else ("all dh", "all dc")
    for name in names:
        for edit, change in (_WHOLE | _steps_of_cotangents()).items():
            yield Deviation(name, edit, Scope("", ("",)), _whole((name,), change), BACK)


def _softmax_slopes() -> Iterator[Deviation]:
    for edit in ("1", "a", "a (1 - a)"):
        put = put_rules({"slope softmax": edit})
        yield Deviation("slope of softmax", edit, Scope("", ("decoder",)), put, BACK)


def _own_slopes(problem: AnyProblem, sites: dict[str, tuple[str, ...]]) -> Iterator[Deviation]:
    """Slopes made of the right curves, of one or of several at once."""
    curves = {
        kind: ACTIVATIONS[name]
        for kind, name in {**problem.case.lstm.activations, "y": "tanh", "scores": "tanh"}.items()
    }
    every_curve = ("i", "f", "g", "o", "u")
    for edit, rule in _OWN_SLOPES.items():
        for site, kinds in {**sites, "g and u": ("g", "u"), "every curve": every_curve}.items():
            rules = {f"slope {k}": _Slope("slope", np.tanh, None, partial(rule, curves[k])) for k in kinds}
            # Of one curve alone it has been among the slopes of all curves.
            if edit != "of z for a" or len(kinds) > 3:
                yield from spread_over(problem, f"slope of {site}", edit, put_rules(rules), BACK)


_OWN_SLOPES: dict[str, Callable[[Activation, Array, Array], Array]] = {
    "taken twice": lambda curve, z, a: curve.slope(a) ** 2,
    "of z for a": lambda curve, z, a: curve.slope(z),
    "at the value": lambda curve, z, a: curve.slope(curve.value(a)),
    "the activation of the value": lambda curve, z, a: curve.value(a),
}


def _steps_of_cotangents() -> dict[str, Callable[[Any, Node], Node]]:
    def only(rows: slice) -> Callable[[Any, Node], Node]:
        def change(run: Any, node: Node) -> Node:
            kept = np.zeros_like(node.value)
            kept[rows] = node.value[rows]
            return Node(kept)

        return change

    return {
        "of the last timestep only": only(slice(-1, None)),
        "of the first timestep only": only(slice(0, 1)),
        "without that of the last timestep": only(slice(0, -1)),
    }
