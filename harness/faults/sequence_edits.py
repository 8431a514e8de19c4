"""Edits of whole sequences: what a lane takes in and what it returns, over time, sequences and features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.edits import Change, Edits, NoPlaceError, every
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.tape import Node
from lockstep.harness.faults.deviation import Deviation, Put, Scope, spread_over
from lockstep.harness.faults.moves import (
    BATCH_MOVES,
    MIXTURES,
    TIME_MOVES,
    UNIT_MOVES,
    largest_so_far,
    long_shifts,
    mixed,
    moved,
    within,
)  # fmt: skip

SEQUENCES: dict[str, tuple[str, ...]] = {
    "x.seq": ("x.seq",),
    "x.turned.seq": ("x.turned.seq",),
    "h.seq": ("h.seq",),
    "c.seq": ("c.seq",),
    "h.seq and c.seq": ("h.seq", "c.seq"),
    "up.seq": ("up.seq",),
}
# There on the way in, back on the way out: what is run in another order and returned in its own.
BOTH_WAYS: dict[str, tuple[Change, Change]] = {
    "run from the last timestep to the first": (partial(moved, edit="reversed"), partial(moved, edit="reversed")),
    "run from the last valid timestep to the first": (within, within),
    "(B, T) read as (T, B) and back": (
        partial(moved, edit="(B, T) read as (T, B)"), partial(moved, edit="(T, B) read as (B, T)"),
    ),
    "(T, B) read as (B, T) and back": (
        partial(moved, edit="(T, B) read as (B, T)"), partial(moved, edit="(B, T) read as (T, B)"),
    ),
}  # fmt: skip


def sequence_deviations(problem: Problem) -> Iterator[Deviation]:
    """Everything that may become of the order of a sequence."""
    changes: dict[str, Change] = {
        edit: partial(moved, edit=edit) for edit in (*TIME_MOVES, *BATCH_MOVES, *UNIT_MOVES) if edit[0] != "("
    }
    changes |= {edit: partial(moved, edit=edit) for edit in ("(B, T) read as (T, B)", "(T, B) read as (B, T)")}
    changes |= {edit: partial(mixed, edit=edit) for edit in MIXTURES}
    changes |= {shift: partial(moved, edit=shift) for shift in long_shifts(problem.case.run.timesteps)}
    changes |= {"reversed within lengths": within, "largest so far": largest_so_far}
    if problem.lengths is not None:
        changes |= {
            "sorted by length": partial(_sorted, back=False),
            "put back from an order by length": partial(_sorted, back=True),
        }
        change = partial(_sorted, back=False)
        put = _put(dict.fromkeys(("h.seq", "c.seq", "h_n", "c_n"), change))
        yield from spread_over(problem, "what is returned", "sorted by length", put)
        for sites, back in product((("h0", "c0"), ("h0",), ("c0",), ("h_n", "c_n"), ("h_n",), ("c_n",)), (False, True)):
            edit = "put back from an order by length" if back else "sorted by length"
            put = _put(dict.fromkeys(sites, partial(_sorted, back=back)))
            yield from spread_over(problem, " and ".join(sites), edit, put)
    single = problem.case.lstm.single
    for site, sites in SEQUENCES.items():
        if (site == "up.seq" and single) or (site == "x.turned.seq" and problem.case.lstm.direction == "forward"):
            continue
        for edit, change in changes.items():
            yield from spread_over(problem, site, edit, _put(dict.fromkeys(sites, change)))
    for edit, (there, back) in BOTH_WAYS.items():
        put = _put({"x.seq": there, "h.seq": back, "up.seq": back, "c.seq": back})
        yield from spread_over(problem, "order of the run", edit, put)


def _sorted(lane: LaneRun, node: Node, t: int, *, back: bool) -> Node:  # noqa: ARG001 (edits have one signature)
    """The sequences of a batch in the order of their lengths, the longest first, or back from that order."""
    if lane.lengths is None or node.value.ndim > 3:  # noqa: PLR2004 (candidates have another shape)
        raise NoPlaceError
    order = np.argsort(-lane.lengths, kind="stable")
    there, again = (np.argsort(order), order) if back else (order, np.argsort(order))
    if (there == np.arange(len(order))).all():
        raise NoPlaceError
    return lane.tape.moved(node, lambda a: a[..., there, :], lambda a: a[..., again, :])


def source_deviations() -> Iterator[Deviation]:
    """Everything that may become of the order of a source (S, B, E), which keys and values are."""
    moves = (*TIME_MOVES, *BATCH_MOVES, *UNIT_MOVES)
    for edit, change in {edit: partial(moved, edit=edit) for edit in moves}.items():
        put = _put({"enc": change})
        yield Deviation("enc", edit, Scope("", ("decoder",)), put)


def _put(changes: dict[str, Change]) -> Put:
    def put(edits: Edits, problem: AnyProblem, scope: Scope) -> None:  # noqa: ARG001
        for label in scope.lanes:
            for site, change in changes.items():
                edits.changes.setdefault((label, site), []).append((every, change))

    return put
