# ruff: noqa: ARG001 (edits have one signature)
"""Edits of several values at once, and whole equations of a step in other forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.causes.edits import Change, NoPlaceError
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.noisy_curves import curve_of
from lockstep.harness.causes.tape import Node, NodeTape
from lockstep.harness.faults.deviation import Deviation, spread_over
from lockstep.harness.faults.value_edits import (
    carried,
    combined,
    edits_of_value,
    factors_of,
    groups_of,
    order_of,
    other,
    plain_edits,
    put_group,
    put_value,
    sites_of,
    started,
)


def group_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """Edits of several sites at once, where neither alone repairs anything."""
    for name, sites in groups_of(problem).items():
        # What else is added to the output of a layer belongs to both uses of it, as a residual does.
        of_site = edits_of_value if name == "h.up and h.out" else lambda site, _, factors: plain_edits(site, factors)
        tables = [
            {edit: (change, steps) for edit, change, steps in of_site(site, order_of(problem), factors_of(problem))}
            for site in sites
        ]
        for edit in tables[0]:
            if all(edit in table for table in tables):
                put = put_group(sites, [table[edit][0] for table in tables])
                yield from spread_over(problem, name, edit, put, steps=tables[0][edit][1])
    yield from _of_attention_and_projection(problem)
    for gate in "ifo" if problem.case.lstm.peephole else "":
        after = {f"term.{gate}": lambda lane, node, t: lane.tape.zeros(node), gate: partial(_after, gate=gate)}
        put = put_group(after, after.values())
        yield from spread_over(problem, f"term.{gate}", "added after the activation", put)
    yield from spread_over(problem, "Rh", "of h that is written in place", put_value("Rh", _written_in_place))
    for edit, changes in _left_out_steps(problem).items():
        put = put_group(changes, changes.values())
        yield from spread_over(problem, "the step", edit, put, steps=("first", "last"))
    # Named by what somebody would have done, since no single edit of the table is that.
    for name, parts in JOINED.items():
        changes = [part for _, part in parts]
        yield from spread_over(problem, name, "at once", put_group(tuple(site for site, _ in parts), changes))
    for prefix, steps in (("_in", ("", "later")), (".carry", ("", "later")), ("0", ("",))):
        exchange = [partial(started if prefix == "0" else carried, name=name) for name in "ch"]
        sites = (f"h{prefix}", f"c{prefix}")
        yield from spread_over(problem, " and ".join(sites), "exchanged", put_group(sites, exchange), steps=steps)
    yield from _equations(problem)


def _of_attention_and_projection(problem: AnyProblem) -> Iterator[Deviation]:
    if isinstance(problem, DecoderProblem):
        after = {"bare": _without_bias, "y": _with_bias}
        yield from spread_over(problem, "b_tilde", "added after the activation", put_group(after, after.values()))
        for edit, equation in ADDITIVE_EQUATIONS.items() if problem.weights.v_a is not None else ():
            put = put_value("scores", partial(_scored, equation=equation))
            yield from spread_over(problem, "equation of scores", edit, put)
        for name in sorted({"W_a", "W_k"} & problem.weights.arrays().keys()):
            put = put_value("values", partial(_projected_keys, name=name))
            yield from spread_over(problem, "values", f"projected by {name}", put)
    for site in ("h0", "h_in", "h.out") if problem.case.lstm.proj_size else ():
        yield from spread_over(problem, site, "projected once more", put_value(site, _projected))


def _written_in_place(lane: LaneRun, node: Node, t: int) -> Node:
    """R h where the new h of each unit is written over the old one before the next unit is computed."""
    if lane.lstm.peephole or lane.lstm.proj_size or lane.lstm.cell_clip is not None or lane.tape.records:
        raise NoPlaceError
    R, b = lane.leaf("R").value, lane.leaf("b").rows
    c, old = (lane.history[name][t].value for name in ("c_in", "h_in"))
    units = c.shape[-1]
    if node.value.shape[-1] != 4 * units:
        raise NoPlaceError
    product, Wx = node.value.copy(), lane.history["Wx"][t].value
    for u in range(units - 1):
        z = dict(zip(GATES, np.split((Wx + product + b)[..., u::units], 4, axis=-1), strict=True))
        i, f, g, o = (lane.curve(gate).value(z[gate]) for gate in GATES)
        new = o * lane.curve("u").value(f * c[..., u : u + 1] + i * g)
        later = np.arange(4 * units) % units > u
        product = product + np.where(later, (new - old[..., u : u + 1]) * R[..., None, :, u], 0)
    return Node(product, node.variance)


def _left_out_steps(problem: AnyProblem) -> dict[str, dict[str, Change]]:
    """A step that is not run: its state goes on as it was, and 0 or the old state is returned."""
    carried: dict[str, Change] = {f"{name}.carry": partial(other, name=f"{name}_in", at=0) for name in "hc"}
    outputs = ["h.out", "c.out", *(["h.up"] if "h.up" in sites_of(problem, order_of(problem)) else [])]
    old: dict[str, Change] = {site: partial(other, name=f"{site[0]}_in", at=0) for site in outputs}
    nothing: dict[str, Change] = {site: lambda lane, node, t: lane.tape.zeros(node) for site in outputs}
    return {"left out, 0 returned": carried | nothing, "left out, the old state returned": carried | old}


# Several uses of values that go wrong together.
JOINED: dict[str, list[tuple[str, Change]]] = {
    "peepholes of weight 1": [(f"z.{k}", partial(combined, name="c" if k == "o" else "c_in", sign=1)) for k in "ifo"],
    "c.out and h.out of the step before": [
        ("h.out", partial(other, name="h_in", at=0)), ("c.out", partial(other, name="c_in", at=0)),
    ],
    "i and f left out": [(site, lambda lane, node, t: Node(np.ones_like(node.value))) for site in ("keep.f", "add.i")],
}  # fmt: skip


def _equations(problem: AnyProblem) -> Iterator[Deviation]:
    """Other equations of c and h: in words, and made of what the step has computed."""
    for site, equations in (("raw", C_EQUATIONS), ("m", H_EQUATIONS)):
        for edit, equation in equations.items():
            change = partial(_computed, equation=equation)
            yield from spread_over(
                problem, f"equation of {'c' if site == 'raw' else 'h'}", edit, put_value(site, change)
            )


Equation = Callable[..., Node]


def _computed(lane: LaneRun, node: Node, t: int, equation: Equation) -> Node:
    # Of c where o is not there yet, else of h.
    names = ("i", "f", "g", "c_in") if "o" not in lane.history or len(lane.history["o"]) <= t else ("o", "c", "u")
    return equation(lane.tape, *(lane.history[name][t] for name in names))


def _maximum(tape: NodeTape, left: Node, right: Node) -> Node:
    return tape.where(left.value >= right.value, left, right)


C_EQUATIONS: dict[str, Equation] = {
    "f c i g": lambda T, i, f, g, c: T.multiply(T.multiply(f, c), T.multiply(i, g)),
    "f + c + i g": lambda T, i, f, g, c: T.add(T.add(f, c), T.multiply(i, g)),
    "f c + i + g": lambda T, i, f, g, c: T.add(T.multiply(f, c), T.add(i, g)),
    "(f + c) (i + g)": lambda T, i, f, g, c: T.multiply(T.add(f, c), T.add(i, g)),
    "max(f c, i g)": lambda T, i, f, g, c: _maximum(T, T.multiply(f, c), T.multiply(i, g)),
}
H_EQUATIONS: dict[str, Equation] = {
    "tanh(o c)": lambda T, o, c, u: T.curve(T.multiply(o, c), curve_of("tanh")),
    "o + tanh(c)": lambda T, o, c, u: T.add(o, u),
}


def _after(lane: LaneRun, node: Node, t: int, gate: str) -> Node:
    """A gate with its peephole's term added, which its argument was to have."""
    return lane.tape.add(node, lane.history[f"term.{gate}"][t])


def _without_bias(lane: LaneRun, node: Node, t: int) -> Node:
    return lane.history["W_tilde.joined"][t]


def _with_bias(lane: LaneRun, node: Node, t: int) -> Node:
    return lane.tape.total([node], lane.leaf("b_tilde"), 0)


def _projected_keys(lane: LaneRun, node: Node, t: int, name: str) -> Node:
    """The source (B, S, E) as the scores see it: times W_k', or times W_a where that is not applied to the query."""
    weight = lane.leaf(name).value
    if weight.shape[-1] != weight.shape[-2] or lane.tape.records:  # its gradient has no place for this use of it
        raise NoPlaceError
    return lane.tape.matmul(node, Node(weight if name == "W_a" else weight.swapaxes(-1, -2)))


def _scored(lane: LaneRun, node: Node, t: int, equation: Equation) -> Node:
    """Additive scores (B, S) by another equation, of the projected source and of W_q h beside each of its places."""
    S = lane.problem.decoder.source_timesteps
    query = lane.tape.moved(
        lane.history["W_q.query"][t],
        lambda a: np.repeat(a, S, axis=-2),
        lambda d: d.reshape(*d.shape[:-2], -1, S, d.shape[-1]).sum(axis=-2),
    )
    rows = equation(lane, lane.history["W_k.keys"][t], query)
    return lane.tape.moved(rows, lambda a: a.reshape(*a.shape[:-2], -1, S), lambda d: d.reshape(*d.shape[:-2], -1, 1))


def _weighed(lane: LaneRun, rows: Node) -> Node:
    return lane.tape.dense(rows, lane.leaf("v_a"))


def _tanh(lane: LaneRun, rows: Node) -> Node:
    return lane.tape.curve(rows, curve_of("tanh"))


def _normed(lane: LaneRun, keys: Node, query: Node) -> Node:
    v_a = lane.leaf("v_a").value
    if v_a.ndim > 2 or not v_a.any():  # noqa: PLR2004 (candidates, each with a norm of its own)
        raise NoPlaceError
    scores = _weighed(lane, _tanh(lane, lane.tape.add(keys, query)))
    return lane.tape.scale(scores, float(1 / np.sqrt(np.square(v_a).sum())))


ADDITIVE_EQUATIONS: dict[str, Equation] = {
    "tanh(v_a . (W_q h + W_k enc))": lambda lane, keys, query: _tanh(lane, _weighed(lane, lane.tape.add(keys, query))),
    "v_a . tanh(W_q h * W_k enc)": lambda lane, keys, query: _weighed(
        lane, _tanh(lane, lane.tape.multiply(keys, query))
    ),
    "(W_q h) . (W_k enc)": lambda lane, keys, query: lane.tape.matmul(
        lane.tape.multiply(keys, query), Node(np.ones((keys.value.shape[-1], 1)))
    ),
    "v_a / |v_a| . tanh(W_q h + W_k enc)": _normed,
}


def _projected(lane: LaneRun, node: Node, t: int) -> Node:
    """An h that is projected once more; its gradient has no place for this use of P."""
    if "P" not in lane.names or lane.tape.records or lane.leaf("P").value.shape[-1] != node.value.shape[-1]:
        raise NoPlaceError
    return lane.tape.dense(node, lane.leaf("P"))
