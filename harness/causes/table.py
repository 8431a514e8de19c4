"""Every deviation that a problem has a place for, nearest to the cause first."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.deviation import Deviation
from lockstep.harness.causes.rule_edits import rule_deviations, slope_deviations
from lockstep.harness.causes.value_edits import back_deviations, group_deviations, value_deviations
from lockstep.harness.causes.weight_edits import returned_deviations, summed_deviations, weight_deviations


def forward_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """What is done otherwise going forward; the way back follows it."""
    yield from rule_deviations(problem)
    yield from weight_deviations(problem)
    yield from group_deviations(problem)
    yield from value_deviations(problem)


def backward_deviations(problem: AnyProblem) -> Iterator[Deviation]:
    """What is done otherwise on the way back alone; none where there are no gradients."""
    has = problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh
    if has is not None:
        yield from summed_deviations(problem)
        yield from slope_deviations(problem)
        yield from returned_deviations(problem)
        yield from back_deviations(problem)


def named(problem: AnyProblem) -> dict[str, Deviation]:
    """All of them by name."""
    found: dict[str, Deviation] = {}
    for deviation in (*forward_deviations(problem), *backward_deviations(problem)):
        found.setdefault(deviation.name, deviation)
    return found
