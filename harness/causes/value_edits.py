# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of values, of what comes back to them, and of what is saved of them: the table by kind of site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.deviation import BACK, STEPS, Deviation, Put, Scope, spread_over, steps_of, timesteps_of
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError
from lockstep.harness.causes.lane import Lane
from lockstep.harness.causes.tape import Node, curve_of

# In the order in which a step computes them: what another value may stand in for.
VALUES = (
    "x", "h_in", "c_in", "Wx", "Rh", "z", "z.i", "z.f", "z.g", "i", "f", "g", "raw", "c", "z.o", "o", "u", "m", "h",
)  # fmt: skip
DECODER_VALUES = (
    "y_in",
    *VALUES,
    "query",
    "W_a.query",
    "scores",
    "attention",
    "context",
    "W_tilde.joined",
    "bare",
    "y",
    "logit",
)
USES = {  # edges that one use of a value goes over, and of which value
    "h.carry": "h", "c.carry": "c", "keep.f": "f", "keep.c": "c_in",
    "add.i": "i", "add.g": "g", "tanh.c": "c", "out.o": "o", "out.u": "u",
    "peep.i": "c_in", "peep.f": "c_in", "peep.o": "c", "h.up": "h", "h.out": "h",
    "c.out": "c", "softmax.scores": "scores", "context.attention": "attention", "join.context": "context",
    "join.h": "h", "target.y": "y", "y.fed": "y",
}  # fmt: skip
SAVED = ("h_in", "keep.f", "keep.c", "add.i", "add.g", "out.o", "out.u", "x", "peep.i", "peep.f", "peep.o")
STARTS = ("h0", "c0", "y0", "h_n", "c_n")
TERMS = ("term.i", "term.f", "term.o")
CURVES = (
    "tanh", "sigmoid", "relu", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "hard_tanh", "softsign", "leaky_relu_0.01",
    "exp",
)  # fmt: skip


def _width(problem: AnyProblem) -> int:
    """The width of a decoder's source; 1 of a network, which has none."""
    return problem.decoder.width(problem.case.lstm) if isinstance(problem, DecoderProblem) else 1


FACTORS: dict[str, Callable[[AnyProblem], float]] = {
    "-1": lambda p: -1.0,
    "1/B": lambda p: 1 / p.case.run.batch,
    "1/T": lambda p: 1 / p.case.run.timesteps,
    # Before H, which it often is.
    "1/E": lambda p: 1 / _width(p),
    "1/sqrt(E)": lambda p: _width(p) ** -0.5,
    "sqrt(E)": lambda p: _width(p) ** 0.5,
    "1/H": lambda p: 1 / p.case.lstm.hidden_size,
    "1/sqrt(H)": lambda p: p.case.lstm.hidden_size**-0.5,
    "sqrt(H)": lambda p: p.case.lstm.hidden_size**0.5,
    "1/S": lambda p: 1 / p.decoder.source_timesteps if isinstance(p, DecoderProblem) else 1.0,
    # Behind those that follow a size, of which they may be one by chance.
    "1/2": lambda p: 0.5,
    "2": lambda p: 2.0,
}
BOUNDS = (0.1, 0.2, 0.5, 1.0, 3.0, 5.0, 10.0, 50.0)
COMPUTED_WITH = {"h.carry": "h", "c.carry": "c", "h.out": "h", "c.out": "c", "h.up": "h"}


def value_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that a value, or one use of it, may be replaced by."""
    decoder = isinstance(problem, DecoderProblem)
    order = _order(problem)
    sites = [*_sites(problem, order), *(("keys", "values") if decoder else ())]
    for site in sites:
        for edit, change, steps in _edits(problem, site, order):
            yield from spread_over(problem, site, edit, _put(site, change), steps=steps)


def _order(problem: AnyProblem) -> tuple[str, ...]:
    """The values there are: without a clip the new c is no other before it, without a projection h is m."""
    lstm = problem.case.lstm
    without = {"raw": lstm.cell_clip is None, "m": not lstm.proj_size}
    values = DECODER_VALUES if isinstance(problem, DecoderProblem) else VALUES
    return tuple(name for name in values if not without.get(name))


def _sites(problem: AnyProblem, order: tuple[str, ...]) -> Iterator[str]:
    """The edges and values that a form has, uses of values first."""
    lstm, decoder = problem.case.lstm, isinstance(problem, DecoderProblem)
    missing = {"h_n", "c_n"} if decoder else {"y0"}
    if decoder or lstm.num_layers == 1:
        missing.add("h.up")
    for site in (*USES, *STARTS, *TERMS, *order):
        no_peephole = site.startswith(("peep.", "term.")) and not lstm.peephole
        if not no_peephole and site not in missing and USES.get(site, order[0]) in order:
            yield site


def _edits(problem: AnyProblem, site: str, order: tuple[str, ...]) -> Iterator[tuple[str, Change, tuple[str, ...]]]:  # noqa: C901, PLR0912 (a table)
    yield "zero", lambda lane, node, t: lane.tape.zeros(node), ("", *STEPS)
    yield "one", lambda lane, node, t: Node(np.ones_like(node.value)), ("",)
    for name, factor in FACTORS.items():
        number = factor(problem)
        if number != 1:
            yield f"times {name}", partial(_scaled, factor=number), ("",)
    for shift in (1.0, -1.0):
        yield f"plus {shift:+.0f}", lambda lane, node, t, shift=shift: lane.tape.scale(node, 1.0, shift), ("",)
    for name in CURVES:
        yield f"{name} of it", partial(_curved, name=name), ("",)
    for bound in BOUNDS[1:5]:
        yield f"clip {bound:g}", partial(_held, bound=bound), ("",)
    yield "batch flipped", partial(_moved, axis=-2), ("",)
    yield "units flipped", partial(_moved, axis=-1), ("",)
    yield "first sequence for all", _first_sequence, ("",)
    if site in {"keys", "values"}:
        yield "source flipped", partial(_moved, axis=-2), ("",)
        return
    if site == "query":
        yield "one call further", _called_again, ("",)
    if site in {"h_n", "c_n"}:
        for words, at in (("last", -1), ("first", 0)):
            yield f"output of the {words} timestep", partial(_output, site=site, at=at), ("",)
    if site not in STARTS:
        yield "previous", partial(_other, name=site, at=-1), ("",)
        yield "first held", partial(_held_first, site=site), ("",)
        yield "initial", partial(_initial, site=site), ("", "later")
    own = USES.get(site, site)
    place = order.index(COMPUTED_WITH.get(site, own)) if own in order else 0
    for k, name in enumerate(order):
        if k < place or (site in USES and k <= _computed_before(site, order) and name != own):
            yield name, partial(_other, name=name, at=0), ("",)
            yield f"plus {name}", partial(_combined, name=name, sign=1), ("",)
            yield f"minus {name}", partial(_combined, name=name, sign=-1), ("",)
            yield f"times {name}", partial(_times, name=name), ("",)
            if name in {"i", "f", "o"}:
                yield f"1 - {name}", partial(_complement, name=name), ("",)
        if name != site and site not in STARTS:
            yield f"previous {name}", partial(_other, name=name, at=-1), ("",)
    if own == "f":  # the output gate without peepholes is computed with the others
        yield "1 - o", partial(_early_gate, gate="o", complement=True), ("",)
        yield "o", partial(_early_gate, gate="o", complement=False), ("",)


def _computed_before(site: str, order: tuple[str, ...]) -> int:
    last = {"keep.f": "g", "keep.c": "g", "add.i": "g", "add.g": "g", "peep.i": "Rh", "peep.f": "Rh", "peep.o": "c",
            "tanh.c": "o", "out.o": "u", "out.u": "u"}  # fmt: skip
    return order.index(last.get(site, order[-1] if site in COMPUTED_WITH or site == "y.fed" else USES[site]))


def _put(site: str, change: Change) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        steps = steps_of(scope.steps, timesteps_of(problem))
        for label in scope.lanes:
            edits.changes.setdefault((label, site), []).append((steps, change))

    return put


def _fit(node: Node, like: Node) -> Node:
    if node.value.shape[-1] != like.value.shape[-1]:
        raise NoPlaceError
    return node


def _value(lane: Lane, name: str, at: int, like: Node) -> Node:
    """What went over an edge at this step or the one before; before the first the initial state, or zeros."""
    history = lane.history.get(name, [])
    k = lane.tape.step + at
    if k < 0:
        start = lane.initial.get(name[0] if name in {"h", "c", "h_in", "c_in", "raw", "m", "y", "y_in"} else "")
        return lane.tape.zeros(like) if start is None else _fit(start, like)
    if k >= len(history):
        raise NoPlaceError
    return _fit(history[k], like)


def _other(lane: Lane, node: Node, t: int, name: str, at: int) -> Node:
    return _value(lane, name, at, node)


def _combined(lane: Lane, node: Node, t: int, name: str, sign: int) -> Node:
    other = _value(lane, name, 0, node)
    return lane.tape.add(node, other if sign > 0 else lane.tape.scale(other, -1.0))


def _times(lane: Lane, node: Node, t: int, name: str) -> Node:
    return lane.tape.multiply(node, _value(lane, name, 0, node))


def _complement(lane: Lane, node: Node, t: int, name: str) -> Node:
    return lane.tape.complement(_value(lane, name, 0, node))


def _early_gate(lane: Lane, node: Node, t: int, gate: str, *, complement: bool) -> Node:
    width = node.value.shape[-1]
    z = lane.history["z"][t]
    if z.value.shape[-1] != 4 * width or lane.lstm.peephole:
        raise NoPlaceError
    o = lane.tape.curve(lane.tape.split(z, 4)[3], lane.curves[gate])
    return lane.tape.complement(o) if complement else o


def _scaled(lane: Lane, node: Node, t: int, factor: float) -> Node:
    return lane.tape.scale(node, factor)


def _curved(lane: Lane, node: Node, t: int, name: str) -> Node:
    return lane.tape.curve(node, curve_of(name))


def _held(lane: Lane, node: Node, t: int, bound: float) -> Node:
    return lane.tape.hold(node, bound)


def _moved(lane: Lane, node: Node, t: int, axis: int) -> Node:
    if node.value.shape[axis] < 2:
        raise NoPlaceError
    return lane.tape.moved(node, lambda a: np.flip(a, axis), lambda a: np.flip(a, axis))


def _first_sequence(lane: Lane, node: Node, t: int) -> Node:
    if node.value.ndim < 2 or node.value.shape[-2] < 2:
        raise NoPlaceError

    def back(d: np.ndarray) -> np.ndarray:
        found = np.zeros_like(d)
        found[..., 0, :] = d.sum(axis=-2)
        return found

    return lane.tape.moved(node, lambda a: np.broadcast_to(a[..., :1, :], a.shape), back)


def _output(lane: Lane, node: Node, t: int, site: str, at: int) -> Node:
    """What a lane gave at a place in the order of time: past the end of a sequence h is 0, and c stays."""
    turns = lane.rule("turn out", "within") if lane.reverse else "not"
    return lane.turned(lane.history["h.out" if site == "h_n" else "c.carry"], turns)[at]


def _called_again(lane: Lane, node: Node, t: int) -> Node:
    """The h of one call of the cell more, as a cell gives that is called for its output and again for its state."""
    before = {name: len(nodes) for name, nodes in lane.history.items()}
    found = lane.step(lane.history["x"][t], lane.history["h"][t], lane.history["c"][t])["h"]
    for name, nodes in lane.history.items():
        del nodes[before.get(name, 0) :]
    return found


def _of_start(lane: Lane, node: Node, t: int, name: str) -> Node:
    return _fit(lane.initial[name], node)


def _held_first(lane: Lane, node: Node, t: int, site: str) -> Node:
    return lane.history[site][0]


def _initial(lane: Lane, node: Node, t: int, site: str) -> Node:
    own = USES.get(site, site)
    start = lane.initial.get(own[0]) if own in {"h", "c", "y", "h_in", "c_in", "y_in"} else None
    if start is None:
        raise NoPlaceError
    return _fit(start, node)


GROUPS = {
    "h.carry and c.carry": ("h.carry", "c.carry"),
    "h.carry, c.carry and y.fed": ("h.carry", "c.carry", "y.fed"),
    "h0 and c0": ("h0", "c0"),
}


def _group(sites: tuple[str, ...], changes: list[Change]) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        for site, change in zip(sites, changes, strict=True):
            _put(site, change)(edits, problem, scope)

    return put


def group_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Edits of several sites at once, where neither alone repairs anything."""
    for name, sites in _groups_of(problem).items():
        changes: dict[str, list[Change]] = {
            "zero": [lambda lane, node, t: lane.tape.zeros(node)] * len(sites),
            "batch flipped": [partial(_moved, axis=-2)] * len(sites),
            "first sequence for all": [_first_sequence] * len(sites),
        }
        if name == "h0 and c0":
            changes["exchanged"] = [partial(_of_start, name="c"), partial(_of_start, name="h")]
        if "carry" in name:
            changes["initial"] = [partial(_initial, site=site) for site in sites]
            changes["previous"] = [partial(_other, name=site, at=-1) for site in sites]
            changes["first held"] = [partial(_held_first, site=site) for site in sites]
        for edit, own in changes.items():
            yield from spread_over(problem, name, edit, _group(sites, own), steps=("", *STEPS))


def _groups_of(problem: AnyProblem) -> dict[str, tuple[str, ...]]:
    decoder = isinstance(problem, DecoderProblem)
    return {name: sites for name, sites in GROUPS.items() if decoder or "y.fed" not in sites}


# -- the way back ------------------------------------------------------------------------------------------------


def back_deviations(problem: AnyProblem) -> Iterator[Deviation]:  # noqa: C901 (a table)
    """Everything that may become of a gradient on its way, and of what is saved for it."""
    order = _order(problem)
    for name, group in _groups_of(problem).items():
        changes = [_back(lambda lane, d: lane.tape.zeros(d))] * len(group)
        yield from spread_over(problem, f"d {name}", "zero", _group(group, changes), BACK, ("", *STEPS))
    for site in _sites(problem, order):
        pulls: dict[str, tuple[Callable[[Lane, Node], Node], tuple[str, ...]]] = {
            "zero": (lambda lane, d: lane.tape.zeros(d), ("", *STEPS)),
        }
        for name, factor in FACTORS.items():
            number = factor(problem)
            if number != 1:
                pulls[f"times {name}"] = (partial(_back_scaled, factor=number), ("",))
        for bound in BOUNDS:
            pulls[f"clip {bound:g}"] = (partial(_back_held, bound=bound), ("",))
        for edit, (pull, steps) in pulls.items():
            yield from spread_over(problem, f"d {site}", edit, _put(site, _back(pull)), BACK, steps)
    for site in [site for site in SAVED if site in set(_sites(problem, order))]:
        for name in order:
            for at, words in ((0, ""), (-1, "previous "), (1, "next ")):
                if not (name == USES.get(site, site) and at == 0):
                    edit = f"saved as {words}{name}"
                    yield from spread_over(problem, site, edit, _put(site, partial(_saved, name=name, at=at)), BACK)


def _back_scaled(lane: Lane, d: Node, factor: float) -> Node:
    return lane.tape.scale(d, factor)


def _back_held(lane: Lane, d: Node, bound: float) -> Node:
    return Node(np.clip(d.value, -bound, bound), d.variance)


def _back(pull: Callable[[Lane, Node], Node]) -> Change:
    return lambda lane, node, t: lane.tape.through(node, lambda d: pull(lane, d))


def _saved(lane: Lane, node: Node, t: int, name: str, at: int) -> Node:
    passed = lane.tape.through(node, lambda d: d)

    def kept() -> Node:
        history = lane.history.get(name, [])
        if t + at < 0:
            return _fit(lane.initial.get(name[0], lane.tape.zeros(node)), node)
        if t + at >= len(history):
            return lane.tape.zeros(node) if history else _no_place()
        return _fit(history[t + at], node)

    passed.saved = kept
    return passed


def _no_place() -> Node:
    raise NoPlaceError
