"""Carry out any execution: what the canonical equations become when one does otherwise, with its rounding noise.

``harness.reference`` is the canonical LSTM, written for speed; this is the same LSTM with a table where each
convention stood. Under the canonical execution both give the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from msgspec.structs import replace

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import GATES, split_gates
from lockstep.harness.cases.problem import Problem
from lockstep.harness.faults.execution import AS_INTENDED, Execution
from lockstep.harness.faults.rules import BATCHES, CHAINED, LENGTH_RULES, PADDING, SOURCES, rounded, time_rule
from lockstep.harness.faults.step import DeviantCell
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise

# Whether to go on after timestep t, given h and c (B, H) of it.
GoOn = Callable[[int, Array, Array], bool]


def interpret(problem: Problem, execution: Execution, observed: Arrays | None = None) -> Expected:
    """What an execution makes of a problem, with the noise that rounding in its dtype can add.

    Args:
        problem: What is run.
        execution: How.
        observed: h and c (T, B, H): then each step starts from the states that were observed, which count as
            exact, so that no network amplifies what one step may round.

    Returns:
        As ``harness.reference.expect``: i, f, g, o, c, h (T, B, H), then c_n and h_n (B, H).
    """
    run = _Run(problem, execution, noise=True, observed=observed)
    run.go(None)
    values, variances = run.returned(variances=False), run.returned(variances=True)
    with np.errstate(all="ignore"):
        return {name: ExpectedTensor.of(values[name], variances[name], run.noise) for name in values}


def interpret_values(
    problem: Problem, execution: Execution, go_on: GoOn | None = None, observed: Arrays | None = None
) -> Arrays | None:
    """The values alone, each step from observed states if they are given; None if ``go_on`` ended it."""
    run = _Run(problem, execution, noise=False, observed=observed)
    if not run.go(go_on):
        return None
    return run.returned(variances=False)


def returns_as_computed(execution: Execution) -> bool:
    """Whether h and c of timestep t are returned at t, as that step computed them."""
    e = execution
    return (e.h_order, e.c_order, e.h_batch, e.c_batch, e.h_returned, e.c_returned, e.padding, e.lengths) == (
        "given", "given", "given", "given", "h", "c", "masked", "given",
    ) and e.h_gain == 1.0 and not e.returned_format  # fmt: skip


@dataclass(eq=False)
class _State:
    """h, c and tanh(c) after each timestep, with their variances where noise is asked for."""

    values: dict[str, list[Array]]
    initial: dict[str, Array]

    def at(self, name: str, t: int) -> Array:
        return self.initial[name] if t < 0 else self.values[name][t]


@lru_cache(maxsize=4)
def _canonical_cell(problem: Problem) -> DeviantCell:
    return DeviantCell(problem, AS_INTENDED, Noise.of(problem.case.run.dtype))


# Rules over time and batch that compute, rather than only move: they round too.
_COMPUTED = frozenset({
    "mean over time", "sum so far", "mean so far", "change from the step before", "with the step before added",
    "mean over sequences",
})  # fmt: skip
# Variances add up where values are subtracted.
_ADDED = {"change from the step before": "with the step before added"}


def _chained(problem: Problem, execution: Execution, h0: Array, c0: Array) -> tuple[Array, Array]:
    """Initial states of which each is the end of the sequence before it."""
    alone = replace(
        execution, h0="given", c0="given", sequences=(0, None), x_batch="given", h_batch="given", c_batch="given"
    )
    h0, c0 = h0.copy(), c0.copy()
    for b in range(1, len(h0)):
        one_sequence = slice(b - 1, b)
        case = problem.case
        lengths = None if problem.lengths is None else problem.lengths[one_sequence]
        run = replace(case.run, batch=1, lengths=None if lengths is None else tuple(int(n) for n in lengths))
        before = Problem.plain(
            replace(case, run=run, expect=None), problem.W, problem.R, problem.b, problem.x[:, one_sequence],
            h0[one_sequence].astype(problem.h0.dtype), c0[one_sequence].astype(problem.c0.dtype), lengths,
        )  # fmt: skip
        run_before = _Run(before, alone, noise=False)
        run_before.go(None)
        end = run_before.returned(variances=False)
        if execution.h0 == CHAINED:
            h0[b] = end["h_n"][0]
        if execution.c0 == CHAINED:
            c0[b] = end["c_n"][0]
    return h0, c0


class _Run:
    """One execution of one problem, from the first timestep to the last."""

    def __init__(self, problem: Problem, execution: Execution, *, noise: bool, observed: Arrays | None = None) -> None:
        self.problem, self.e, self.with_noise, self.observed = problem, execution, noise, observed
        self.noise = Noise.of(problem.case.run.dtype)
        self.T, self.B, _, self.H = problem.case.shape
        with np.errstate(all="ignore"):
            self.cell = DeviantCell(problem, execution, self.noise)
            self.plain = None if execution.everywhere else _canonical_cell(problem)
            self.lengths = None
            if problem.lengths is not None:
                self.lengths = LENGTH_RULES[execution.lengths](problem.lengths, self.T)
            h0, c0 = self.cell.initial(problem, execution)
            if CHAINED in (execution.h0, execution.c0):
                h0, c0 = _chained(problem, execution, h0, c0)
            if self.plain is not None:
                scope = self._sequences()[:, None] & (execution.timesteps[0] == 0)
                h0, c0 = (
                    np.where(scope, mine, initial.astype(mine.dtype))
                    for mine, initial in ((h0, problem.h0), (c0, problem.c0))
                )
            u0 = self.cell.curve(c0)
        self.state = _State({name: [] for name in "hcu"}, {"h": h0, "c": c0, "u": u0})
        given = {"h": problem.h0, "c": problem.c0, "u": None}
        initial = self.state.initial.items() if noise else ()
        self.state_var = _State(
            {name: [] for name in "hcu"}, {name: self._rounding_of(value, given[name]) for name, value in initial}
        )
        self.records: list[Arrays] = []
        self.record_vars: list[Arrays] = []

    def _rounding_of(self, value: Array, given: Array | None) -> Array:
        """The variance of an initial state: none where it is representable, as a given one is."""
        if given is not None and value.shape == given.shape and (value == given).all():
            return np.zeros_like(value)
        with np.errstate(all="ignore"):
            if CHAINED in (self.e.h0, self.e.c0):  # the noise of whole sequences, to an order of magnitude
                return 400 * self.noise.u2 * np.maximum(1, value * value)
            return np.where(value.astype(self.noise.dtype) == value, 0, 4 * self.noise.u2 * value * value)

    def _sequences(self) -> Array:
        first, stop = self.e.sequences
        b = np.arange(self.B)
        return (b >= first) & (b < (self.B if stop is None else stop))

    def _units(self) -> Array:
        first, stop = self.e.units
        n = np.arange(self.H)
        return (n >= first) & (n < (self.H if stop is None else stop))

    def _at_timestep(self, t: int) -> bool:
        first, stop = self.e.timesteps
        return t >= first and (stop is None or t < stop)

    def go(self, go_on: GoOn | None) -> bool:
        """Take every timestep; False if ``go_on`` ended it."""
        with np.errstate(all="ignore"):
            for t in range(self.T):
                self._step(t)
                if go_on is not None and not go_on(t, *self._seen_at(t)):
                    return False
        return True

    def _seen_at(self, t: int) -> tuple[Array, Array]:
        record = self.records[t]
        valid = self._valid(t)
        return (record["h"] if valid is None else np.where(valid, record["h"], 0)), record["c"]

    def _valid(self, t: int) -> Array | None:
        return None if self.lengths is None else (t < self.lengths)[:, None]

    def _step(self, t: int) -> None:
        if self.plain is None:
            record, record_var = self._taken_step(self.cell, self.e, t)
        elif not self._at_timestep(t):
            record, record_var = self._taken_step(self.plain, AS_INTENDED, t)
        else:
            record, record_var = self._taken_step(self.cell, self.e, t)
            if (self.e.sequences, self.e.units) != ((0, None), (0, None)):
                intended, intended_var = self._taken_step(self.plain, AS_INTENDED, t)
                scope = self._sequences()[:, None] & self._units()
                record = {name: np.where(scope, record[name], intended[name]) for name in record}
                record_var = {name: np.where(scope, record_var[name], intended_var[name]) for name in record_var}
        valid = self._valid(t)
        running = "hcu" if valid is None else PADDING[self.e.padding][2]
        if self.observed is not None:
            self._take_observed(t)
            self.records.append(record)
            self.record_vars.append(record_var)
            return
        for name in "hcu":
            for new, state in ((record, self.state), (record_var, self.state_var))[: 2 if self.with_noise else 1]:
                kept = new[name]
                if valid is not None and name not in running:
                    ended = new[f"{name} before"] if self.e.reset_past_end and name in "hc" else state.at(name, t - 1)
                    kept = np.where(valid, kept, ended)
                state.values[name].append(kept)
        if "c" not in running:
            record["c"] = self.state.at("c", t)
            if self.with_noise:
                record_var["c"] = self.state_var.at("c", t)
        self.records.append(record)
        self.record_vars.append(record_var)

    def _take_observed(self, t: int) -> None:
        """Go on from the states that were observed."""
        assert self.observed is not None
        h, c = (self.observed[name][t].astype(self.noise.precision) for name in "hc")
        for name, value in (("h", h), ("c", c), ("u", self.cell.curve(c))):
            self.state.values[name].append(value)
            if self.with_noise:
                self.state_var.values[name].append(np.zeros_like(value))

    def _taken_step(self, cell: DeviantCell, e: Execution, t: int) -> tuple[Arrays, Arrays]:
        h, c = self._state_taken_in(e, t, self.state)
        z, a, new_c, u, new_h = cell.step(t, h, c)
        record = dict(zip(GATES, split_gates(a), strict=True))
        record |= {"c": new_c, "u": u, "h": new_h, "h before": h, "c before": c}
        if not self.with_noise:
            return record, {}
        h_var, c_var = (np.abs(v) for v in self._state_taken_in(e, t, self.state_var, scaled=2))
        a_var, new_c_var, u_var, new_h_var = cell.variance(t, (h, c), (h_var, c_var), z, a, new_c, new_h)
        record_var = dict(zip(GATES, split_gates(a_var), strict=True))
        record_var |= {"c": new_c_var, "u": u_var, "h": new_h_var, "h before": h_var, "c before": c_var}
        return record, record_var

    def _state_taken_in(self, e: Execution, t: int, state: _State, scaled: int = 1) -> tuple[Array, Array]:
        """The h and c that timestep ``t`` takes in, or their variances, which factors scale squared."""
        h, c = SOURCES[e.h_source]("h", state.at, t), SOURCES[e.c_source]("c", state.at, t)
        if e.h_keep != 1.0:
            h = e.h_keep**scaled * h
        if e.c_keep != 1.0:
            c = e.c_keep**scaled * c
        if t in e.reset_at or (e.reset_every and t and t % e.reset_every == 0):
            if "h" in e.reset_what:
                h = 0 * h if e.reset_to == "zero" else state.at("h", -1)
            if "c" in e.reset_what:
                c = 0 * c if e.reset_to == "zero" else state.at("c", -1)
        return h, c

    def returned(self, *, variances: bool) -> Arrays:
        """The arrays that are handed back, or their variances."""
        records = self.record_vars if variances else self.records
        state = self.state_var if variances else self.state
        arrays = {name: np.stack([record[name] for record in records]) for name in (*GATES, "c", "h")}
        what = {"h": self.e.h_returned, "c": self.e.c_returned}
        exchanged = what == {"h": "c", "c": "h"}
        if exchanged:  # the pair is exchanged when all is done, padding too
            what = {"h": "h", "c": "c"}
        h, c = (arrays[name] if what[name] == name else self._returned_as(what[name], records, state) for name in "hc")
        if self.lengths is not None:
            past = np.arange(self.T)[:, None, None] >= self.lengths[None, :, None]
            for name in GATES:
                arrays[name][np.broadcast_to(past, arrays[name].shape)] = 0
            of_h, of_c, _ = PADDING[self.e.padding]
            h, c = (
                self._filled_past_end(of_h, what["h"], h, past, state),
                self._filled_past_end(of_c, what["c"], c, past, state),
            )
            for name, rule in (("h", "zero"), ("c", "kept")):
                arrays[name] = self._filled_past_end(rule, name, arrays[name], past, state)
        if exchanged:
            h, c = c, h
        h, c = self._moved(h, c, variances=variances)
        # The state ran with the deviation in its scope only; what was moved in time or batch must be put back outside.
        if self.plain is not None:
            h, c = self._in_scope(h, arrays["h"]), self._in_scope(c, arrays["c"])
        final = {"c_n": state.at("c", self.T - 1), "h_n": state.at("h", self.T - 1)}
        return {**{name: arrays[name] for name in GATES}, "c": c, "h": h, **final}

    def _moved(self, h: Array, c: Array, *, variances: bool) -> tuple[Array, Array]:
        """Put h and c at the time and sequence at which they are returned."""
        e, lengths = self.e, self.problem.lengths
        if not variances:
            h = BATCHES[e.h_batch](time_rule(e.h_order)(h, lengths)) * e.h_gain
            c = BATCHES[e.c_batch](time_rule(e.c_order)(c, lengths))
            self.moved = h, c
            return rounded(h, e.returned_format), rounded(c, e.returned_format)
        # Variances move with the values; rules that compute add the rounding of a sum.
        placed = []
        for name, array, order, batch in (("h", h, e.h_order, e.h_batch), ("c", c, e.c_order, e.c_batch)):
            moved = BATCHES[batch](time_rule(_ADDED.get(order, order))(array, lengths))
            if order in _COMPUTED or batch in _COMPUTED:
                value = self.moved["hc".index(name)]
                moved = moved + self.noise.sum_growth(max(self.T, self.B)) * value * value
            placed.append(moved)
        return placed[0] * e.h_gain**2, placed[1]

    def _in_scope(self, mine: Array, canonical: Array) -> Array:
        scope = np.array([self._at_timestep(t) for t in range(self.T)])[:, None, None]
        return np.where(scope & self._sequences()[None, :, None] & self._units(), mine, canonical)

    def _returned_as(self, name: str, records: list[Arrays], state: _State) -> Array:
        shape = (self.T, self.B, self.H)
        if name in {"zero", "-"}:
            return np.zeros(shape, self.noise.precision)
        if name in {"h0", "c0"}:
            return np.broadcast_to(state.at(name[0], -1), shape)
        if name.startswith("tanh"):
            value = np.stack([record[name[5]] for record in records])
            return value if records is self.record_vars else np.tanh(value)
        return np.stack([record[name] for record in records])

    def _filled_past_end(self, rule: str, name: str, a: Array, past: Array, state: _State) -> Array:
        """Fill what stands past the end of each sequence."""
        if rule == "computed" or (rule == "kept" and name == "c" and self.e.reset_past_end):
            return a
        if rule == "zero":
            return np.where(past, 0, a)
        if rule == "initial":
            return np.where(past, self._initial(name, state), a)
        # Kept: the last valid value, or what stands for one before the first timestep.
        filled = a.copy()
        assert self.lengths is not None
        for b, length in enumerate(self.lengths):
            filled[length:, b] = filled[length - 1, b] if length else self._initial(name, state)[b]
        return filled

    def _initial(self, name: str, state: _State) -> Array:
        """What stands for a returned tensor before the first timestep."""
        if name in {"h", "c", "u"}:
            return state.at(name, -1)
        if name in {"h before", "c before", "h0", "c0"}:
            return state.at(name[0], -1)
        if name.startswith("tanh"):
            value = state.at(name[5], -1)
            return value + self.noise.u2 if state is self.state_var else np.tanh(value)
        return 0 * state.at("h", -1) if name == "zero" else state.at("c", -1)
