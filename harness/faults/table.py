"""Every deviation that a problem has a place for, nearest to the cause first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.faults.back_edits import back_deviations, returned_deviations, summed_deviations
from lockstep.harness.faults.deviation import STEPS, Deviation, architecture_of, edits_of, scope_named, timesteps_of
from lockstep.harness.faults.error_edits import error_deviations
from lockstep.harness.faults.group_edits import group_deviations
from lockstep.harness.faults.moves import MOST_SHIFT
from lockstep.harness.faults.numbers import numbered
from lockstep.harness.faults.rule_edits import rule_deviations
from lockstep.harness.faults.sequence_edits import sequence_deviations, source_deviations
from lockstep.harness.faults.slope_edits import slope_deviations
from lockstep.harness.faults.stream_edits import STATES_BETWEEN_PIECES, stream_deviations
from lockstep.harness.faults.value_edits import format_deviations, value_deviations
from lockstep.harness.faults.weight_edits import layout_deviations, weight_deviations


def forward_deviations(problem: AnyProblem) -> list[Deviation]:
    """What is done otherwise going forward; the way back follows it."""
    return _table(problem).forward


def backward_deviations(problem: AnyProblem) -> list[Deviation]:
    """What is done otherwise on the way back alone; none where there are no gradients."""
    return _table(problem).backward


def named(problem: AnyProblem) -> dict[str, Deviation]:
    """All of them by name."""
    return _table(problem).by_name


class _Table(NamedTuple):
    """What problems of one architecture share."""

    forward: list[Deviation]
    backward: list[Deviation]
    by_name: dict[str, Deviation]
    by_timestep: dict[int, bool]  # by the identity of those of the table, once it is known


_TABLES: dict[tuple[Any, ...], _Table] = {}  # by architecture


def _table(problem: AnyProblem) -> _Table:
    key = (*architecture_of(problem), min(problem.case.run.timesteps, MOST_SHIFT))
    if key not in _TABLES:
        forward, backward = list(_forward(problem)), list(_backward(problem))
        by_name: dict[str, Deviation] = {}
        for deviation in (*forward, *backward):
            by_name.setdefault(deviation.name, deviation)
        _TABLES[key] = _Table(forward, backward, by_name, {})
    return _TABLES[key]


def _forward(problem: AnyProblem) -> Iterator[Deviation]:
    # What is handed from piece to piece before what the last step of each piece does with it.
    if isinstance(problem, Problem) and problem.case.run.chunks is not None:
        yield from stream_deviations(problem)
    # Rules and weights before single values: they are nearer to what somebody writes.
    yield from rule_deviations(problem)
    yield from weight_deviations(problem)
    yield from group_deviations(problem)
    yield from value_deviations(problem)
    yield from format_deviations(problem)
    if isinstance(problem, DecoderProblem):
        yield from source_deviations()
    else:
        yield from sequence_deviations(problem)


def _backward(problem: AnyProblem) -> Iterator[Deviation]:
    has = problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh
    if has is not None:
        yield from summed_deviations(problem)
        yield from slope_deviations(problem)
        yield from returned_deviations(problem)
        yield from back_deviations(problem)
        yield from error_deviations(problem)


def resets(problem: AnyProblem, timestep: int) -> Iterator[Deviation]:
    """States that are reset once, or again and again, about the first timestep that differs."""
    for deviation in forward_deviations(problem) if timestep else ():
        if deviation.site in RESET and deviation.edit in {"zero", "initial"} and not deviation.scope.steps:
            for steps in (f"every {timestep}", f"at {timestep}", f"every {timestep + 1}", f"at {timestep + 1}"):
                yield deviation.in_scope(steps=steps)


def cuts(problem: AnyProblem) -> Iterator[Deviation]:
    """Gradients of states that end again and again, or once: truncated on the way back."""
    last = min(timesteps_of(problem), MOST_BETWEEN_CUTS)
    for deviation in backward_deviations(problem):
        if deviation.site.removeprefix("d ") in RESET and deviation.edit == "zero" and not deviation.scope.steps:
            for step in range(1, last):
                yield deviation.in_scope(steps=f"at {step}")
                if step > 1:
                    yield deviation.in_scope(steps=f"every {step}")


def in_part(problem: AnyProblem, timestep: int, sequence: int) -> Iterator[Deviation]:
    """What goes forward wrong in part of the timesteps or of the sequences only, from the first that differs on."""
    for deviation in forward_deviations(problem):
        if deviation.scope.steps or deviation.form:
            continue
        if _by_timestep(deviation, problem):
            # What is carried out of a step shows in the next.
            first = max(timestep - (".carry" in deviation.site), 0)
            # The last is the last whatever a sequence's length, and holds in other cases too.
            last = ["last"] if first == timesteps_of(problem) - 1 else []
            parts = last + ([f"from {first}"] if first else []) + [f"at {first}"]
            yield from (deviation.in_scope(steps=steps) for steps in parts)
        if sequence:
            yield deviation.in_scope(first_sequence=sequence)


MOST_BETWEEN_CUTS = 12  # timesteps
RESET = frozenset({"h_in", "c_in", "h_in and c_in", "h.carry", "c.carry", "h.carry and c.carry"})


def _by_timestep(deviation: Deviation, problem: AnyProblem) -> bool:
    """Whether an edit is asked for at each timestep: rules, and edits of whole sequences, hold at all or none."""
    known = _table(problem).by_timestep
    if id(deviation) not in known:
        if deviation.site in STATES_BETWEEN_PIECES:
            return False
        try:
            edits = edits_of([deviation.in_scope(steps="later")], problem)
        except NoPlaceError:  # other sizes may have a place
            return False
        whole = any(site.endswith(".seq") or label == "" for label, site in edits.changes)
        known[id(deviation)] = not edits.rules and not whole
    return known[id(deviation)]


def find(name: str, problem: AnyProblem) -> Deviation | None:
    """The deviation of that name, in a problem that may have other sizes than the one it was found in."""
    known = named(problem)
    if name in known:
        return known[name]
    # They are in no table: what they predict follows the layout in which weights were handed over.
    if name.startswith("layout:"):
        layout = re.split(r"-(?:gates-)?read-as-", name.removeprefix("layout:"))[0]
        return next((d for d in layout_deviations(problem, layout) if d.name == name), None)
    whole, _, part = name.rpartition("@")
    deviation = find(whole, problem) if whole else None
    if deviation is not None:
        return _in_scope(deviation, part, problem)
    # The number is part of the name: what stands around it tells the row.
    for row in numbered(problem):
        head, tail = f"{row.site}:{row.edit}{row.scope.suffix}".replace(" ", "-").split("{}")
        number = name.removeprefix(head).removesuffix(tail)
        if name == f"{head}{number}{tail}" and re.fullmatch(r"[-+.e\d]+|inf", number):
            return row.at(float(number))
    return None


def _in_scope(deviation: Deviation, part: str, problem: AnyProblem) -> Deviation | None:
    """The same in the part of lanes, timesteps or sequences that bears a name."""
    words = part.replace("-", " ")
    kind, _, number = words.rpartition(" ")
    if kind == "from sequence":
        return deviation.in_scope(first_sequence=int(number))
    if words in STEPS or kind in {"from", "at", "every"}:
        return deviation.in_scope(steps=words)
    scope = scope_named(words, problem)
    return None if scope is None else deviation.in_scope(name=scope.name, lanes=scope.lanes)
