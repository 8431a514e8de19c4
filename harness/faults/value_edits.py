# ruff: noqa: ARG001 (edits have one signature; shapes)
"""Edits of values: the table by kind of site."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError
from lockstep.harness.causes.formats import FORMATS
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.noisy_curves import curve_of
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import STEPS, Deviation, Put, Scope, spread_over, steps_of, timesteps_of
from lockstep.harness.faults.moves import BATCH_MOVES, BLOCKS, UNIT_MOVES, mixed, moved

# In the order in which a step computes them: what another value may stand in for.
VALUES = (
    "x", "h_in", "c_in", "Wx", "Rh", "z", "z.i", "z.f", "z.g", "i", "f", "g", "raw", "c", "z.o", "o", "u", "m", "h",
)  # fmt: skip
QUERIES = {"W_a.query": "W_a", "W_q.query": "W_q"}  # and the weight that gives each
ATTENDING = ("query", *QUERIES, "scores", "attention", "context")
OUTPUT_VALUES = ("W_tilde.joined", "bare", "y", "logit")
CELL_VALUES = ("y_in", *VALUES)
DECODER_VALUES = (*CELL_VALUES, *ATTENDING, *OUTPUT_VALUES)
# Of each place of the source: no other value is as many, nor are their rows sequences.
OF_SOURCE = ("keys", "values", "W_k.keys", "bare scores", "hidden")
USES = {  # edges that one use of a value goes over, and of which value
    "h.carry": "h", "c.carry": "c", "keep.f": "f", "keep.c": "c_in",
    "add.i": "i", "add.g": "g", "tanh.c": "c", "out.o": "o", "out.u": "u",
    "peep.i": "c_in", "peep.f": "c_in", "peep.o": "c", "h.up": "h", "h.out": "h",
    "c.out": "c", "softmax.scores": "scores", "context.attention": "attention", "join.context": "context",
    "cell.context": "context", "join.h": "h", "target.y": "y", "y.fed": "y",
}  # fmt: skip
# Edges that states go over from step to step, or begin at.
STATES = ("h_in", "c_in", "h.carry", "c.carry", "h0", "c0")
OTHER_STATES = {"h_in": "c", "c_in": "h", "h.carry": "c", "c.carry": "h", "h0": "c", "c0": "h"}
UNBOUNDED = ("z", "raw", "c", "c.carry", "scores", "logit")  # what may be held on one side alone
NORMALISED = ("logit", "target.y", "y", "y.fed", "h.out")
SOME_MOVES = (
    "batch flipped", "units flipped", "first sequence for all", *(f"first {k} units only" for k in BLOCKS)
)  # fmt: skip
STARTS = ("h0", "c0", "y0", "h_n", "c_n")  # before the first step or after the last: of no timestep
TERMS = ("term.i", "term.f", "term.o")  # of peepholes, in the sums of their gates
CURVES_TRIED = (
    "tanh", "sigmoid", "relu", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "hard_tanh", "softsign", "leaky_relu_0.01",
    "exp",
)  # fmt: skip


def _attention_size(problem: AnyProblem) -> int:
    """The width of the tanh of additive scores; 1 where there is none."""
    return (isinstance(problem, DecoderProblem) and problem.decoder.attention_width(problem.case.lstm)) or 1


def _is_additive(problem: AnyProblem) -> bool:
    return isinstance(problem, DecoderProblem) and problem.weights.v_a is not None


def _width(problem: AnyProblem) -> int:
    """The width of a decoder's source; 1 of a network, which has none."""
    return problem.decoder.width(problem.case.lstm) if isinstance(problem, DecoderProblem) else 1


FACTORS: dict[str, Callable[[AnyProblem], float]] = {
    "-1": lambda p: -1.0,
    "1/B": lambda p: 1 / p.case.run.batch,
    "1/T": lambda p: 1 / p.case.run.timesteps,
    # The width nearest to the scores first: U, then E, then H, which are often one number.
    "1/sqrt(U)": lambda p: _attention_size(p) ** -0.5,
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


def factors_of(problem: AnyProblem) -> list[str]:
    """The factors that a form has: a network has no source."""
    missing = ("" if isinstance(problem, DecoderProblem) else "ES") + ("" if _is_additive(problem) else "U")
    return [name for name in FACTORS if not set(name) & set(missing)]


# Where a case clips c, a port may hold another value by that bound.
AT_THE_BOUND = "clip at the bound of c"
CLIP_BOUNDS = (0.1, 0.2, 0.5, 1.0, 3.0, 5.0, 10.0, 50.0)
COMPUTED_WITH = {"h.carry": "h", "c.carry": "c", "h.out": "h", "c.out": "c", "h.up": "h"}


def value_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Everything that a value, or one use of it, may be replaced by."""
    order = order_of(problem)
    for site in values_of(problem):
        if problem.case.lstm.cell_clip is not None:
            yield from spread_over(problem, site, AT_THE_BOUND, put_value(site, _at_the_bound))
        for edit, change, steps in edits_of_value(site, order, factors_of(problem)):
            yield from spread_over(problem, site, edit, put_value(site, change), steps=steps)


def values_of(problem: AnyProblem) -> list[str]:
    """The sites of values that a problem has."""
    count = 0 if not isinstance(problem, DecoderProblem) else len(OF_SOURCE) if _is_additive(problem) else 2
    return [*sites_of(problem, order_of(problem)), *OF_SOURCE[:count]]


def order_of(problem: AnyProblem) -> tuple[str, ...]:
    """The values there are: without a clip the new c is no other before it, without a projection h is m."""
    lstm = problem.case.lstm
    without = {"raw": lstm.cell_clip is None, "m": not lstm.proj_size}
    values: tuple[str, ...] = VALUES
    if isinstance(problem, DecoderProblem):
        there = problem.weights.arrays()
        without |= {name: weight not in there for name, weight in QUERIES.items()}
        values = DECODER_VALUES
        if problem.decoder.context == "input":
            values = (*ATTENDING, *CELL_VALUES, *OUTPUT_VALUES)
    return tuple(name for name in values if not without.get(name))


def sites_of(problem: AnyProblem, order: tuple[str, ...]) -> Iterator[str]:
    """The edges and values that a form has, uses of values first."""
    lstm, decoder = problem.case.lstm, isinstance(problem, DecoderProblem)
    missing = {"h_n", "c_n"} if decoder else {"y0", "join.h"}
    if decoder or lstm.num_layers == 1:
        missing.add("h.up")
    if isinstance(problem, DecoderProblem) and problem.decoder.context == "output":
        missing.add("cell.context")
    for site in (*USES, *STARTS, *TERMS, *order):
        no_peephole = site.startswith(("peep.", "term.")) and not lstm.peephole
        if not no_peephole and site not in missing and USES.get(site, order[0]) in order:
            yield site


def edits_of_value(
    site: str, order: tuple[str, ...], factors: list[str]
) -> Iterator[tuple[str, Change, tuple[str, ...]]]:
    """Everything that a value may be replaced by, with the change and the steps at which it may hold."""
    yield from plain_edits(site, factors)
    if site in NORMALISED:
        yield "softmax of it", lambda lane, node, t: lane.tape.softmax(node), ("",)
        yield "log-softmax of it", lambda lane, node, t: lane.tape.log_softmax(node), ("",)
    if site not in OF_SOURCE:
        yield from _other_values(site, order)
    elif site == "W_k.keys":
        yield "as they are", lambda lane, node, t: fit(_rows_of(lane, t), node), ("",)


def plain_edits(site: str, factors: list[str]) -> Iterator[tuple[str, Change, tuple[str, ...]]]:
    """What may become of a value by itself."""
    if site not in {*OF_SOURCE, *STARTS}:
        yield "initial", partial(_initial, site=site), ("", *STEPS)
    yield "zero", lambda lane, node, t: lane.tape.zeros(node), ("", *STEPS)
    yield "one", lambda lane, node, t: Node(np.ones_like(node.value)), ("",)
    for name in factors:
        yield f"times {name}", partial(_sized, name=name), ("",)
    for shift in (1.0, -1.0):
        yield f"plus {shift:+.0f}", lambda lane, node, t, shift=shift: lane.tape.scale(node, 1.0, shift), ("",)
    # On the way back all of them are tried: gradients are clipped at larger bounds than values.
    yield from _within_bounds(site)
    for name in CURVES_TRIED:
        yield f"{name} of it", partial(_curved, name=name), ("",)
    yield "absolute", _absolute, ("",)
    yield "times itself", lambda lane, node, t: lane.tape.multiply(node, node), ("",)
    if site not in OF_SOURCE[2:]:
        for edit in (*BATCH_MOVES, *UNIT_MOVES) if site in STATES or site == "x" else SOME_MOVES:
            yield edit, partial(moved, edit=edit), ("",)
    if site in STATES:
        yield "mean over sequences", partial(mixed, edit="mean over sequences"), ("",)
    if site in {"keys", "values"}:
        yield "source flipped", partial(moved, edit="batch flipped"), ("",)
    elif site not in {*OF_SOURCE, *STARTS}:
        yield "previous", partial(other, name=site, at=-1), ("",)
        yield "that of two steps before", partial(other, name=site, at=-2), ("",)
        yield "plus the previous", partial(combined, name=site, sign=1, at=-1), ("",)
        yield "mean with the previous", partial(_averaged, site=site), ("",)
        yield "sum so far", partial(_sum_so_far, site=site), ("",)
        yield "first held", partial(_held_first, site=site), ("",)


def _within_bounds(site: str) -> Iterator[tuple[str, Change, tuple[str, ...]]]:
    """A value that is clipped, on both sides or on one."""
    for bound in CLIP_BOUNDS[1:5]:
        yield f"clip {bound:g}", partial(held, bound=bound), ("",)
        if site in UNBOUNDED:
            yield f"at most {bound:g}", partial(held, bound=bound, sides="above"), ("",)
            yield f"at least {-bound:g}", partial(held, bound=bound, sides="below"), ("",)


def _other_values(site: str, order: tuple[str, ...]) -> Iterator[tuple[str, Change, tuple[str, ...]]]:  # noqa: C901 (a table)
    """Other values in a value's place, or combined with it."""
    if site in OTHER_STATES:
        partner = OTHER_STATES[site]
        change = partial(started, name=partner) if site in STARTS else partial(carried, name=partner)
        plus = partial(_plus, change=change)
        yield f"the {partner} of that place", change, ("",) if site in STARTS else ("", "later")
        yield f"plus the {partner} of that place", plus, ("",)
    if site == "query":
        yield "one call further", _called_again, ("",)
    if site in {"query", "h0", "c0", "y0"}:
        yield "the last output of the encoder", _end_of_source, ("",)
    if site in {"h_n", "c_n"}:
        for words, at in (("last", -1), ("first", 0)):
            yield f"output of the {words} timestep", partial(_output, site=site, at=at), ("",)
        yield "output of its first step", partial(_first_output, site=site), ("",)
    if site in {"h.out", "c.out"}:
        for name in "hc":
            yield f"the initial {name}", partial(started, name=name), ("",)
            yield (
                f"tanh of {name}",
                lambda lane, node, t, name=name: _curved(lane, value_at(lane, name, 0, node), t, "tanh"),
                ("",),
            )
    value = USES.get(site, site)
    place = order.index(COMPUTED_WITH.get(site, value)) if value in order else 0
    for k, name in enumerate(order):
        # Only what a step has computed by then can stand in its place.
        if k < place or (site in USES and k <= _computed_before(site, order) and name != value):
            yield name, partial(other, name=name, at=0), ("",)
            yield f"plus {name}", partial(combined, name=name, sign=1), ("",)
            yield f"minus {name}", partial(combined, name=name, sign=-1), ("",)
            yield f"times {name}", partial(_times, name=name), ("",)
            if name in {"i", "f", "o"}:
                yield f"1 - {name}", partial(_complement, name=name), ("",)
        if name != site and site not in STARTS:
            yield f"previous {name}", partial(other, name=name, at=-1), ("",)
    if value == "f":  # the output gate without peepholes is computed with the others
        yield "1 - o", partial(_early_gate, gate="o", complement=True), ("",)
        yield "o", partial(_early_gate, gate="o", complement=False), ("",)


def _computed_before(site: str, order: tuple[str, ...]) -> int:
    # The value that is computed last before each use: c is made when all of i, f and g are there.
    last = {"keep.f": "g", "keep.c": "g", "add.i": "g", "add.g": "g", "peep.i": "Rh", "peep.f": "Rh", "peep.o": "c",
            "tanh.c": "o", "out.o": "u", "out.u": "u"}  # fmt: skip
    return order.index(last.get(site, order[-1] if site in COMPUTED_WITH or site == "y.fed" else USES[site]))


def put_value(site: str, change: Change) -> Put:
    """Put a change at one site of every lane in scope."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        steps = steps_of(scope.steps, timesteps_of(problem))
        for label in scope.lanes:
            edits.changes.setdefault((label, site), []).append((steps, change))

    return put


def fit(node: Node, like: Node) -> Node:
    """A value, where it is as wide as another in whose place it stands."""
    if node.value.shape[-1] != like.value.shape[-1]:
        raise NoPlaceError
    return node


# Before the first step these were what the run began with.
STATES_OF_STEPS = {"h", "c", "h_in", "c_in", "h.carry", "c.carry", "raw", "m", "y", "y_in"}


def value_at(lane: LaneRun, name: str, at: int, like: Node) -> Node:
    """What went over an edge at this step or the one before; before the first the initial state, or zeros."""
    history = lane.history.get(name, [])
    k = lane.tape.step + at
    if k < 0:
        start = lane.initial.get(name[0] if name in STATES_OF_STEPS else "")
        if start is None and lane.tape.step < 0:
            raise NoPlaceError
        return lane.tape.zeros(like) if start is None else fit(start, like)
    if k >= len(history):
        raise NoPlaceError
    return fit(history[k], like)


def other(lane: LaneRun, node: Node, t: int, name: str, at: int) -> Node:
    """Another value, of this step or the one before."""
    return value_at(lane, name, at, node)


def combined(lane: LaneRun, node: Node, t: int, name: str, sign: int, at: int = 0) -> Node:
    """A value with another added or subtracted."""
    operand = value_at(lane, name, at, node)
    return lane.tape.add(node, operand if sign > 0 else lane.tape.scale(operand, -1.0))


def _times(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    return lane.tape.multiply(node, value_at(lane, name, 0, node))


def _complement(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    return lane.tape.complement(value_at(lane, name, 0, node))


def _early_gate(lane: LaneRun, node: Node, t: int, gate: str, *, complement: bool) -> Node:
    width = node.value.shape[-1]
    z = lane.history["z"][t]
    # Where o waits for the new c, which its peephole sees, there is no such gate yet.
    if z.value.shape[-1] != 4 * width or lane.lstm.peephole:
        raise NoPlaceError
    o = lane.tape.curve(lane.tape.split(z, 4)[3], lane.curves[gate])
    return lane.tape.complement(o) if complement else o


def added(lane: LaneRun, node: Node, t: int, number: float) -> Node:
    """A value with a number added."""
    return lane.tape.scale(node, 1.0, number)


def scaled(lane: LaneRun, node: Node, t: int, factor: float) -> Node:
    """A value times a number."""
    return lane.tape.scale(node, factor)


def _sized(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    return lane.tape.scale(node, FACTORS[name](lane.problem))


def _curved(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    return lane.tape.curve(node, curve_of(name))


def _absolute(lane: LaneRun, node: Node, t: int) -> Node:
    return lane.tape.where(node.value >= 0, node, lane.tape.scale(node, -1.0))


def held(lane: LaneRun, node: Node, t: int, bound: float, sides: str = "both") -> Node:
    """A value held in [-bound, bound], or on one side of it."""
    return lane.tape.hold(node, bound, sides)


def _at_the_bound(lane: LaneRun, node: Node, t: int) -> Node:
    """A value held as the new c is."""
    if lane.lstm.cell_clip is None:
        raise NoPlaceError
    return lane.tape.hold(node, lane.lstm.cell_clip)


def _averaged(lane: LaneRun, node: Node, t: int, site: str) -> Node:
    return lane.tape.scale(lane.tape.add(node, value_at(lane, site, -1, node)), 0.5)


def _sum_so_far(lane: LaneRun, node: Node, t: int, site: str) -> Node:
    """A value added to all that it was at the steps before, as of a sum that is never set back to zero."""
    total = node
    for before in lane.history[site][:t]:
        total = lane.tape.add(total, fit(before, node))
    return total


def _plus(lane: LaneRun, node: Node, t: int, change: Change) -> Node:
    return lane.tape.add(node, change(lane, node, t))


def started(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    """An initial state."""
    return fit(lane.initial[name], node)


def carried(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    """A state as the step before left it."""
    return fit(lane.history[f"{name}.carry"][t - 1] if t else lane.initial[name], node)


def _first_output(lane: LaneRun, node: Node, t: int, site: str) -> Node:
    """What a lane gave at its own first step: in the reverse direction that is at the end of a sequence."""
    return lane.history[f"{site[0]}.shown"][0]


def _output(lane: LaneRun, node: Node, t: int, site: str, at: int) -> Node:
    """What a lane gave at a place in the order of time: past the end of a sequence h is 0, and c stays."""
    turns = lane.rule("turn out", "within") if lane.reverse else "not"
    return lane.turned(lane.history[f"{site[0]}.shown"], turns)[at]


def _end_of_source(lane: LaneRun, node: Node, t: int) -> Node:
    """What the encoder of a decoder gave last, where it is as wide."""
    if "encoder" not in lane.ends:
        raise NoPlaceError
    return fit(lane.ends["encoder"]["h"], node)


def _called_again(lane: LaneRun, node: Node, t: int) -> Node:
    """The h of one call of the cell more, as a cell gives that is called for its output and again for its state."""
    if len(lane.history["c"]) <= t:  # the cell of this step waits for what is attended to
        raise NoPlaceError
    # The further call leaves no trace: edits after it see the history of one call.
    before = {name: len(nodes) for name, nodes in lane.history.items()}
    further = lane.step(lane.history["x"][t], lane.history["h"][t], lane.history["c"][t])["h"]
    for name, nodes in lane.history.items():
        del nodes[before.get(name, 0) :]
    return further


def _rows_of(lane: LaneRun, t: int) -> Node:
    """The source (B, S, E) as rows, as its projection has them."""
    source = lane.history["keys"][t]
    return lane.tape.moved(
        source, lambda a: a.reshape(*a.shape[:-3], -1, a.shape[-1]), lambda a: a.reshape(source.value.shape)
    )


def _held_first(lane: LaneRun, node: Node, t: int, site: str) -> Node:
    return lane.history[site][0]


def _initial(lane: LaneRun, node: Node, t: int, site: str) -> Node:
    value = {"query": "h"}.get(site, USES.get(site, site))
    start = lane.initial.get(value[0]) if value in {"h", "c", "y", "h_in", "c_in", "y_in"} else None
    if start is None:
        raise NoPlaceError
    return fit(start, node)


SITE_GROUPS = {
    "h_in and c_in": ("h_in", "c_in"),
    "h.carry and c.carry": ("h.carry", "c.carry"),
    "h.carry, c.carry and y.fed": ("h.carry", "c.carry", "y.fed"),
    "h0 and c0": ("h0", "c0"),
    "h.out and c.out": ("h.out", "c.out"),
    "i, f, g and o": ("i", "f", "g", "o"),
    "peep.i, peep.f and peep.o": ("peep.i", "peep.f", "peep.o"),
    "h.up and h.out": ("h.up", "h.out"),
    "keys and values": ("keys", "values"),
}


def put_group(sites: Iterable[str], changes: Iterable[Change]) -> Put:
    """Put changes at several sites of every lane in scope."""

    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:
        for site, change in zip(sites, changes, strict=True):
            put_value(site, change)(edits, problem, scope)

    return put


def groups_of(problem: AnyProblem) -> dict[str, tuple[str, ...]]:
    """The groups of sites that a form has."""
    decoder = isinstance(problem, DecoderProblem)
    missing = {*(() if decoder else ("y.fed", "keys")), *(() if problem.case.lstm.peephole else ("peep.i",))}
    if decoder or problem.case.lstm.num_layers == 1:
        missing.add("h.up")
    return {name: sites for name, sites in SITE_GROUPS.items() if not missing & set(sites)}


# -- number formats ----------------------------------------------------------------------------------------------

# The values that are held in a shorter format together, by the words for them.
CAST: dict[str, tuple[str, ...]] = {
    "x": ("x",), "h": ("h", "h0"), "c": ("c", "c0"), "z": ("z",), "gates": ("i", "f", "g", "o"),
    "h.out and c.out": ("h.out", "c.out"), "h and c": ("h", "h0", "c", "c0"),
}  # fmt: skip


def shorter_formats(problem: AnyProblem) -> list[str]:
    """The formats with fewer bits than the case's."""
    return [form for form, bits in FORMATS.items() if bits < FORMATS.get(problem.case.run.dtype, 53)]


def format_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Values rounded to a shorter format than the case's."""
    for form in shorter_formats(problem):
        for site, sites in CAST.items():
            put = put_group(sites, [partial(cast, form=form)] * len(sites))
            yield from spread_over(problem, site, f"in {form}", put, form=form)


def cast(lane: LaneRun, node: Node, t: int, form: str) -> Node:
    """A value rounded to a shorter format."""
    return lane.tape.cast(node, form)
