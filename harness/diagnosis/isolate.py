"""Problems in which parts of the computation have no say: of several mistakes at once, one may show alone there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec.structs import replace as changed

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.problem import Problem

SHUT, OPEN = -30.0, 30.0  # added to a gate's bias: its sigmoid is 0, or 1, to the last bit of a float32
ENOUGH = 3  # timesteps
Ask = Callable[[list[AnyProblem]], list[Any]]  # what a port returns for problems, as observations
ArrayChange = Callable[[Array], Array]


def isolating(problem: AnyProblem) -> Iterator[AnyProblem]:
    """A problem again and again, each time with some of its arrays silent: weights, states, gates, what comes back."""
    if isinstance(problem, Problem) and problem.dh is not None:
        first = _shortened(problem, 1)  # nothing of it comes back from later steps
        yield from (replace(first, c0=np.zeros_like(first.c0)), first)
    problem = _shortened(problem, ENOUGH)
    for names in (("R",), ("W",), ("W", "R"), ("b",), ("W_a",), ("W_q",), ("W_k",), ("W_tilde",), ("p",)):
        yield from _with_weights(problem, dict.fromkeys(names, np.zeros_like))
    # With i shut and f open c stays as it was: what is left is how h is made of it. The other way round c is g.
    for shifts in ({"i": SHUT, "f": OPEN}, {"i": OPEN, "f": SHUT}, {"o": OPEN}, {"f": SHUT}, {"i": SHUT}, {"f": OPEN}):
        yield from _with_weights(problem, {"b": _shifting(shifts)})
    for inputs in (("h0", "c0"), ("c0",), ("x",), ("y0",), ("enc",), ("dh",), ("dc",), ("dy",), ("dlogit",)):
        there = {name: np.zeros_like(array) for name in inputs if (array := getattr(problem, name, None)) is not None}
        if there:
            yield replace(problem, **there)
    if problem.lengths is not None:
        longest = (
            problem.decoder.source_timesteps if isinstance(problem, DecoderProblem) else problem.case.run.timesteps
        )
        yield replace(problem, lengths=np.full_like(problem.lengths, longest))


def _shortened(problem: AnyProblem, timesteps: int) -> AnyProblem:
    """The first timesteps of a problem: they show what steps do, for less."""
    if isinstance(problem, DecoderProblem) or problem.case.run.timesteps <= timesteps:
        return problem
    lengths = None if problem.lengths is None else np.minimum(problem.lengths, timesteps)
    ends = None if lengths is None else tuple(int(end) for end in lengths)
    run = problem.case.run
    resets = run.resets and tuple(tuple(t for t in of_sequence if t < timesteps) for of_sequence in run.resets)
    run = changed(run, timesteps=timesteps, lengths=ends, resets=resets, chunks=None)
    case = changed(problem.case, run=run, expect=None)
    timed = {name: getattr(problem, name) for name in ("x", "dh", "resets")}
    rows = {name: None if array is None else array[:timesteps] for name, array in timed.items()}
    return replace(problem, case=case, lengths=lengths, **rows)


def _shifting(shifts: dict[str, float]) -> ArrayChange:
    def change(bias: Array) -> Array:
        rows = np.zeros((len(GATES), len(bias) // len(GATES)))
        for gate, shift in shifts.items():
            rows[GATES.index(gate)] = shift
        return (bias + rows.ravel()).astype(bias.dtype)

    return change


def _with_weights(problem: AnyProblem, changes: dict[str, ArrayChange]) -> Iterator[AnyProblem]:
    """The problem with some of its weights changed, in every lane; nothing where it has none of them."""

    def changed(weights: Any) -> Any:
        there = {name: getattr(weights, name, None) for name in changes}
        return replace(weights, **{name: changes[name](a) for name, a in there.items() if a is not None})

    names = {kind.removesuffix("_encoder") for kind in problem.named_weights()}
    known = {name.split("_l", maxsplit=1)[0] for name in names} | names
    if not changes.keys() <= known or ("b" in changes and not problem.case.lstm.bias):
        return
    if isinstance(problem, DecoderProblem):
        yield replace(problem, weights=changed(problem.weights))
    else:
        yield replace(problem, weights=tuple(tuple(changed(lane) for lane in layer) for layer in problem.weights))
