# ruff: noqa: ARG001, PLR2004 (edits have one signature; shapes)
"""Edits of the way back by a rule: slopes that are not a curve's own, and what comes back from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.noisy_curves import NoisyCurve
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import BACK, Deviation, Scope, put_rules, spread_over
from lockstep.harness.faults.network_edits import ARRAY_CHANGES, whole
from lockstep.harness.faults.rule_edits import tanh_of
from lockstep.harness.reference.activations import ACTIVATIONS, Activation


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
        sites |= {kind: (kind,) for kind in tanh_of(problem)}
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
        for edit, change in (ARRAY_CHANGES | _steps_of_cotangents()).items():
            yield Deviation(name, edit, Scope("", ("",)), whole((name,), change), BACK)


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
