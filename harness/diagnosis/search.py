"""Search for the deviation under which the reference reproduces everything that was returned.

Nearest to the intended execution first: one named fault, a fault that holds in part only, a fault with a number,
then two faults at once. A candidate is dropped at the first timestep that it misses; what is left is run with its
rounding noise, and counts only if it reproduces every number within the limit.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.diagnosis.evidence import VIEWS, matches
from lockstep.harness.diagnosis.fit import plain_values, solve
from lockstep.harness.diagnosis.name_faults import named
from lockstep.harness.diagnosis.observation import Observation, comes_near, format_of, misses, prefix
from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.execution import AS_INTENDED, Changes, Execution, merged
from lockstep.harness.faults.fault import FAMILIES, JOIN, Fault
from lockstep.harness.faults.free_numbers import Knob, knobs
from lockstep.harness.faults.interpret import interpret_values
from lockstep.harness.faults.step_faults import RESET_PARTS, RESET_TARGETS, reset_every, reset_once
from lockstep.harness.reference.noise import LIMIT_SIGMA

SINGLE_SECONDS = 5.0
PAIR_SECONDS = 16.0
BLIND_SECONDS = 5.0  # of these, for pairs of which neither explains anything alone
MOST_SHIFT = 50  # timesteps
MOST_PARTIAL = 24
MOST_NUMBERED = 6
MOST_DEEP = 4


@dataclass(frozen=True)
class Explanation:
    """A deviation, or several at once, that reproduces what was returned, and how well."""

    faults: tuple[Fault, ...]
    sigma: float
    execution: Execution
    scope: Scope | None = None

    @property
    def name(self) -> str:
        """The faults' stable names."""
        return " + ".join(fault.name for fault in self.faults)

    @property
    def message(self) -> str:
        """What is done otherwise, in a sentence."""
        text = JOIN.join(fault.message for fault in self.faults)
        return text if self.scope is None else f"{text.removesuffix('.')}, {self.scope.words}."

    @property
    def fix(self) -> str:
        """How to mend it."""
        return " ".join(dict.fromkeys(fault.fix for fault in self.faults))


# What a measurement of single timesteps cannot see.
LATE = frozenset({"state", "initial state", "time", "batch", "returned", "padding", "clip", "scale", "precision"})


class Search:
    """All that is known of one implementation, and what explains it."""

    def __init__(
        self, observations: Sequence[Observation], limit: float = LIMIT_SIGMA, *, two_biases: bool = False
    ) -> None:
        """Take observations of healthy and of wrong numbers alike: an explanation must reproduce all.

        ``two_biases`` says that the implementation was handed b as two biases, of which it may use one.
        """
        self.two_biases = two_biases
        self.observations = sorted(
            observations, key=lambda observation: observation.problem.x.size + 10 * observation.problem.W.size
        )
        self.limit = limit
        wrong = [observation for observation in self.observations if not observation.sigma(AS_INTENDED) <= limit]
        right = [observation for observation in self.observations if observation not in wrong]
        self.wrong = wrong
        self._order = [*wrong, *right]  # what the intended execution misses tells most

    def possible(self, execution: Execution) -> bool:
        """Tell quickly whether an execution comes near what was returned."""
        return all(comes_near(observation, execution) for observation in self._order)

    def sigma(self, execution: Execution) -> float:
        """The largest distance over everything observed, infinity as soon as it is beyond the limit."""
        worst = 0.0
        for observation in self._order:
            worst = max(worst, observation.sigma(execution))
            if not worst <= self.limit:
                return math.inf
        return worst

    def explain_from(self, base: Changes, until: float) -> list[Explanation]:
        """Find what, on top of measured deviations, explains everything: nothing, a fault, a number, several faults.

        ``until`` is on the clock of ``time.monotonic``.
        """
        execution = merged(base, {})
        assert execution is not None
        explanations = self._of([(named(base), execution, None)])
        if explanations:
            return explanations
        faults = [fault for fault in catalogue().values() if self.two_biases or not _of_two_biases(fault.changes)]
        explanations = self._of(self._upon(base, ((fault,) for fault in faults), until))
        if explanations:
            return explanations
        explanations = self._numbers(until, base)
        if explanations:
            return explanations
        late = [fault for fault in faults if fault.family in LATE and fault.family != "precision"]
        return self._several(base, late, until)

    def _upon(
        self, base: dict[str, Any], extras: Iterable[tuple[Fault, ...]], until: float
    ) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        for faults in extras:
            if time.monotonic() > until:
                return
            execution: Execution | None = merged(base, {})
            for fault in faults:
                execution = None if execution is None else merged(execution.changes(), fault.changes)
            if execution is not None:
                yield (*named(base), *faults), execution, None

    def explain(self, *, pairs: bool = True, seconds: float = PAIR_SECONDS) -> list[Explanation]:
        """Find every explanation of the simplest kind that explains; empty if nothing does.

        ``seconds`` bounds the search for several faults at once.
        """
        if not self.wrong or all(observation.breaks_off for observation in self.wrong):
            return []
        started = time.monotonic()
        singles = [fault for fault in catalogue().values() if self.two_biases or not _of_two_biases(fault.changes)]
        explanations = self._of(((fault,), fault.execution, None) for fault in singles)
        explanations = explanations or self._of(self._in_part(singles))
        explanations = explanations or self._numbers(started + 2 * SINGLE_SECONDS)
        if not explanations and pairs:
            explanations = self._pairs(singles, time.monotonic() + seconds)
        return sorted(explanations, key=_plainness)

    def explain_several(self, seconds: float) -> list[Explanation]:
        """Find several faults that hold at once, without looking for one alone."""
        if not self.wrong or all(observation.breaks_off for observation in self.wrong):
            return []
        singles = [fault for fault in catalogue().values() if self.two_biases or not _of_two_biases(fault.changes)]
        return sorted(self._pairs(singles, time.monotonic() + seconds), key=_plainness)

    def _of(
        self, candidates: Iterable[tuple[tuple[Fault, ...], Execution, Scope | None]], most: int = 50
    ) -> list[Explanation]:
        explanations = []
        for faults, execution, scope in candidates:
            if format_of(execution) is None and not self.possible(execution):
                continue
            sigma = self.sigma(execution)
            if sigma <= self.limit:
                explanations.append(Explanation(faults, sigma, execution, scope))
                if len(explanations) == most:
                    break
        return explanations

    def _in_part(self, singles: list[Fault]) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        places = self._first_places()
        for scope in scopes(*places):
            for fault in singles:
                execution = merged(fault.changes, scope.changes)
                if execution is not None:
                    yield (fault,), execution, scope
        for faults, execution, scope in self._single_resets():
            yield faults, execution, scope
            changes = {**faults[0].changes, "reset_past_end": True}
            too = replace(faults[0], message=f"{faults[0].message} Also in sequences that have ended.", changes=changes)
            yield (too,), too.execution, scope
        yield from self._shifts()

    def _single_resets(self) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        """Resets once, or again and again, at the timestep that the first difference points to."""
        longest = max(observation.problem.case.run.timesteps for observation in self.wrong)
        first = self._first_places()[0]
        if not first:
            return
        for part in RESET_PARTS:
            for target in RESET_TARGETS:
                faults = [reset_every(part, target, first)]
                faults += [reset_once(part, target, t) for t in {first, min(first + 1, longest - 1)}]
                yield from (((fault,), fault.execution, None) for fault in faults)

    def _shifts(self) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        """Shifts in time by more steps than the catalogue names."""
        longest = max(observation.problem.case.run.timesteps for observation in self.wrong)
        for k in range(3, min(longest, MOST_SHIFT)):
            for rule in (f"{k} late, zero first", f"{k} early, zero last"):
                for what, fields in (("The input", ("x_time",)), ("What is returned", ("h_order", "c_order"))):
                    message = f"{what} stands at the wrong time: {rule}."
                    slug = "x" if what == "The input" else "returned"
                    fault = Fault(f"{slug}-shifted", "time", message, FAMILIES["time"].fix, dict.fromkeys(fields, rule))
                    yield (fault,), fault.execution, None

    def _first_places(self) -> tuple[int, int, int]:
        """The first timestep, sequence and unit that are wrong in any observation."""
        places = []
        for observation in self.wrong:
            for name in {"h", "c"} & observation.tensors.keys():
                with np.errstate(all="ignore"):
                    wrong = ~(
                        np.abs(observation.tensors[name] - observation.expected[name].value)
                        <= self.limit * observation.expected[name].noise
                    )
                if wrong.any():
                    places.append(tuple(int(axis.min()) for axis in wrong.nonzero()))
        if not places:
            return 0, 0, 0
        return tuple(min(column) for column in zip(*places, strict=True))  # type: ignore[return-value]

    # -- numbers -------------------------------------------------------------------------------------------------

    def _numbers(self, until: float, base: Changes | None = None) -> list[Explanation]:
        """Turn each knob until it fits, and snap it to a plain number."""
        solutions = []
        for knob in knobs():
            if not self.two_biases and _of_two_biases(knob.set(knob.neutral)):
                continue
            if time.monotonic() > until:
                break
            explanation = self._turned(knob, base or {})
            if explanation is not None:
                solutions.append(explanation)
        return solutions

    def _turned(self, knob: Knob, before: Changes) -> Explanation | None:
        target = self.wrong[0]
        for start in knob.starts:
            if merged(before, knob.set(start)) is None:
                return None
            value = solve(lambda v: misses(target, merged(before, knob.set(v))), start)
            if value is None or not math.isfinite(value):
                continue
            execution = merged(before, knob.set(value))
            if execution is None or not comes_near(target, execution, slack=50):
                continue
            for plain in plain_values(value):
                execution = merged(before, knob.set(plain))
                if execution is None or not self.possible(execution):
                    continue
                sigma = self.sigma(execution)
                if sigma <= self.limit:
                    return Explanation((*named(before), knob.fault(plain)), sigma, execution)
        return None

    # -- several at once ----------------------------------------------------------------------------------------

    def _several(self, base: Changes, singles: list[Fault], until: float, depth: int = 2) -> list[Explanation]:
        """Find faults that explain a part of what was seen, and on top of each what explains the rest."""
        partial = self._partial(base, singles, until)
        for fault in partial:
            joined = _joined_changes(base, fault)
            if joined is None:
                continue
            explanations = self._of(self._upon(joined, ((single,) for single in singles), until))
            if explanations:
                return explanations
        for fault in partial[:MOST_NUMBERED]:
            joined = _joined_changes(base, fault)
            explanations = [] if joined is None or time.monotonic() > until else self._numbers(until, joined)
            if explanations:
                return explanations
        for fault in partial[:MOST_DEEP] if depth > 1 else ():
            joined = _joined_changes(base, fault)
            explanations = [] if joined is None else self._several(joined, singles, until, depth - 1)
            if explanations:
                return explanations
        return []

    def _partial(self, base: Changes, singles: list[Fault], until: float) -> list[Fault]:
        """The faults that explain some view of the evidence that what is known so far does not explain."""
        known = merged(base, {})
        assert known is not None
        count: dict[str, int] = {}
        for view in VIEWS:
            parts = [part for observation in self._order if (part := view(observation)) is not None]
            if time.monotonic() > until or not parts or all(matches(part, known) for part in parts):
                continue
            for fault in singles:
                execution = merged(base, fault.changes)
                if execution is not None and all(matches(part, execution) for part in parts):
                    count[fault.name] = count.get(fault.name, 0) + 1
        names = sorted(count, key=lambda name: (-count[name], _place(name)))
        return [catalogue()[name] for name in names[:MOST_PARTIAL]]

    def _pairs(self, singles: list[Fault], until: float) -> list[Explanation]:
        """Try faults of which each explains a part, then, of the common ones, any two."""
        moving = [fault for fault in singles if format_of(fault.execution) is None]
        explanations = self._several({}, moving, until - BLIND_SECONDS)
        if explanations or time.monotonic() > until:
            return explanations
        common = [fault for fault in moving if not _exotic(fault)]
        first = self._until_wrong()
        candidates = combinations(common, 2) if first is None else _pairs_for(first, common)
        for faults, execution, scope in self._joined(candidates, until):
            if first is not None and not comes_near(first, execution):
                continue
            explanations += self._of([(faults, execution, scope)])
            if explanations:
                return explanations
        return explanations

    def _joined(
        self, pairs: Iterable[tuple[Fault, Fault]], until: float
    ) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        for first, second in pairs:
            if time.monotonic() > until:
                return
            execution = merged(first.changes, second.changes)
            if execution is not None:
                yield (first, second), execution, None

    def _until_wrong(self) -> Observation | None:
        """The smallest wrong observation until its first wrong timestep; None if none shows its states."""
        for observation in self.wrong:
            if not {"h", "c"} <= observation.tensors.keys() or observation.problem.lengths is not None:
                continue
            steps = range(1, observation.problem.case.run.timesteps + 1)
            right = bisect_left(
                steps, 1, key=lambda count: int(not comes_near(prefix(observation, count), AS_INTENDED))
            )
            if right < len(steps):
                return prefix(observation, steps[right])
        return None


def _pairs_for(first: Observation, faults: list[Fault]) -> Iterator[tuple[Fault, Fault]]:
    """Choose the pairs that may explain what is wrong at its last timestep only.

    Before that neither may change anything: two that make up for each other are not looked for. At that timestep both
    do, or one that alone explains it.
    """
    before = _as_it_should_be(prefix(first, first.problem.case.run.timesteps - 1))
    possible = [fault for fault in faults if before is None or comes_near(before, fault.execution)]
    right = _as_it_should_be(first)
    assert right is not None
    quiet, loud = [], []
    for fault in possible:
        (quiet if comes_near(right, fault.execution) else loud).append(fault)
    explaining = [fault for fault in loud if comes_near(first, fault.execution)]
    yield from product(explaining, quiet)
    yield from combinations(loud, 2)


def _as_it_should_be(observation: Observation) -> Observation | None:
    """What would have been observed of a healthy implementation; None of no timestep."""
    if not observation.tensors:
        return None
    values = interpret_values(observation.problem, AS_INTENDED)
    assert values is not None
    return Observation(observation.problem, {name: values[name] for name in observation.tensors})


def _joined_changes(base: Changes, fault: Fault) -> Changes | None:
    execution = merged(base, fault.changes)
    return None if execution is None else execution.changes()


def _place(name: str) -> int:
    return list(catalogue()).index(name)


_EXOTIC_CURVES = frozenset({
    "relu6", "leaky_relu_0.01", "leaky_relu_0.2", "elu", "selu", "softplus", "silu", "gelu_tanh", "exp", "sin",
    "arctan", "algebraic", "step", "lecun_tanh", "sigmoid_twice", "tanh_twice", "tanh_of_sigmoid", "sigmoid_of_tanh",
    "half",
    "taylor_tanh", "taylor_sigmoid", "linear_sigmoid", "tanh_of_half",
})  # fmt: skip


def _of_two_biases(changes: dict[str, Any]) -> bool:
    return "first_bias_gain" in changes or "second_bias_gain" in changes


def _exotic(fault: Fault) -> bool:
    """Whether a fault is met so seldom that pairs with it come last."""
    curves = {*fault.changes.get("curves", ()), fault.changes.get("cell_curve", "tanh")}
    return bool(curves & _EXOTIC_CURVES)


def _plainness(explanation: Explanation) -> tuple[int, int]:
    order = list(catalogue())
    places = [order.index(fault.name) if fault.name in catalogue() else len(order) for fault in explanation.faults]
    return len(explanation.faults), max(places)


@dataclass(frozen=True)
class Scope:
    """Where a fault holds, if not everywhere."""

    name: str
    words: str
    changes: dict[str, Any]


def scopes(first_timestep: int, first_sequence: int, first_unit: int) -> Iterator[Scope]:
    """The parts of a run in which a fault may hold, as the place of the first differences suggests them."""
    if first_timestep:
        t = first_timestep
        yield Scope("from-timestep", f"from timestep {t} on", {"timesteps": (t, None)})
        yield Scope("at-timestep", f"at timestep {t} only", {"timesteps": (t, t + 1)})
    else:
        yield Scope("at-timestep", "at timestep 0 only", {"timesteps": (0, 1)})
    if first_sequence:
        yield Scope("from-sequence", f"from sequence {first_sequence} on", {"sequences": (first_sequence, None)})
    if first_unit:
        yield Scope("from-unit", f"from unit {first_unit} on", {"units": (first_unit, None)})
