"""Search for the deviation under which the reference reproduces everything that was returned.

Nearest to the intended execution first: one named fault, a fault that holds in part only, a fault with a number,
then two faults at once. A candidate is dropped at the first timestep that it misses; what is left is run with its
rounding noise, and counts only if it reproduces every number within the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_part
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from harness.execution import BY_GATE, CANONICAL, FORMATS, Execution, merged
from harness.faults import FAMILIES, Fault, Scope, catalogue, scopes
from harness.interpret import interpret, interpret_values, returns_as_computed
from harness.knobs import Knob, knobs, plain_values, solve
from harness.messages import JOIN
from harness.noise import LIMIT_SIGMA
from harness.problem import Problem
from harness.reference import Expected, ExpectedTensor, expect
from harness.spread import widened
from harness.trace import TENSORS

Array = NDArray[Any]
Arrays = dict[str, Array]
Changes = dict[str, Any]

SINGLE_SECONDS = 5.0
PAIR_SECONDS = 16.0
BLIND_SECONDS = 5.0  # of these, for pairs of which neither explains anything alone
MOST_SHIFT = 50  # timesteps
MOST_PARTIAL = 24
MOST_NUMBERED = 6
MOST_DEEP = 4
# A format of few bits may round the other way where a sum lies between two of its values.
FLIPS = 0.05
HUGE = 1e18  # beyond this, products of float32 overflow in one order of summation and not in the other
FLIP_SIZE = 32.0  # in unit roundoffs of the format


@dataclass(frozen=True, eq=False)
class Observation:
    """What an implementation returned for one problem."""

    problem: Problem
    tensors: Arrays

    @cached_property
    def expected(self) -> Expected:
        """What it should have returned; where it did not, with the noise that the network itself amplifies."""
        expected = expect(self.problem)
        if self.distance(expected, None) <= LIMIT_SIGMA:
            return expected
        return widened(self.problem, expected)

    @cached_property
    def values(self) -> Arrays:
        """The tensors in the reference's precision."""
        return {name: array.astype(_precision(self.problem)) for name, array in self.tensors.items()}

    @cached_property
    def near(self) -> Arrays:
        """How far a candidate may be from each tensor to be looked at more closely."""
        u = float(np.finfo(self.problem.case.run.dtype).eps)
        return {
            name: 100 * self.expected[name].noise.astype(np.float64) + 200 * u * np.maximum(np.abs(array), 1)
            for name, array in self.values.items()
        }

    def sigma(self, execution: Execution) -> float:
        """Give the largest distance from what an execution gives, in sigma of its rounding."""
        if execution == CANONICAL:
            return self.distance(self.expected, None)
        if self.finite is not self:
            return math.inf if self.breaks_off else self.finite.sigma(execution)
        form = _format_of(execution)
        sigma = self.distance(interpret(self.problem, execution), form)
        if not sigma <= LIMIT_SIGMA and self.shows_states(execution):
            # Amplified on the way, or wrong? Each step from the state that was observed tells.
            sigma = min(sigma, self.distance(interpret(self.problem, execution, self.tensors), form, ("h", "c")))
        return sigma

    def shows_states(self, execution: Execution) -> bool:
        """Whether the h and c that were returned are the states that each step started from."""
        return {"h", "c"} <= self.tensors.keys() and self.problem.lengths is None and returns_as_computed(execution)

    @property
    def breaks_off(self) -> bool:
        """Whether it is right until it is not finite: then nothing that was computed tells why."""
        one = self.finite
        return one is not self and (not one.tensors or one.sigma(CANONICAL) <= LIMIT_SIGMA)

    @cached_property
    def finite(self) -> Observation:
        """What was returned before anything overflowed; nothing if it did at once, itself if nothing did."""
        sizes = [np.nan_to_num(np.abs(array), nan=np.inf) for name, array in self.tensors.items() if name in {"h", "c"}]
        if not sizes:
            return self
        beyond = np.logical_or.reduce([(size > HUGE).any(axis=(1, 2)) for size in sizes])
        if not beyond.any():
            return self
        return _prefix(self, int(beyond.argmax()))

    def distance(self, computed: Expected, form: str | None, names: tuple[str, ...] = TENSORS) -> float:
        """Give the largest distance from computed values, in sigma; a format's flips are let pass."""
        distances = (_distance(array, computed[name], form) for name, array in self.tensors.items() if name in names)
        return max(distances, default=math.inf)


def _precision(problem: Problem) -> Any:
    return np.longdouble if problem.case.run.dtype == "float64" else np.float64


def _format_of(execution: Execution) -> str | None:
    formats = [value for name, value in execution.changes().items() if name.endswith("_format")]
    return min(formats, key=lambda name: FORMATS[name]) if formats else None


def _distance(actual: Array, computed: ExpectedTensor, form: str | None) -> float:
    with np.errstate(all="ignore"):
        distance = np.abs((actual - computed.value) - computed.rest)
        sigma = distance / computed.noise
        same = (actual == computed.value) | (np.isnan(actual) & np.isnan(computed.value))
        sigma = np.where(same, 0, np.where(np.isnan(sigma), np.inf, sigma))
        if form is None or not sigma.size:
            return float(sigma.max(initial=0))
        flip = FLIP_SIZE * 2.0 ** -FORMATS[form] * np.maximum(np.abs(actual), 1)
        if (distance > flip).any():
            return math.inf
        return float(np.quantile(sigma, 1 - FLIPS))


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


def named(changes: dict[str, Any]) -> tuple[Fault, ...]:
    """Name the faults that together make these changes: those of the catalogue that set most first, then numbers."""
    left, faults = dict(changes), []
    while left:
        best: tuple[int, Fault, dict[str, Any]] | None = None
        for fault in catalogue().values():
            rest = _without(left, fault.changes)
            if rest is not None:
                covered = _parts(left) - _parts(rest)
                if best is None or covered > best[0]:
                    best = covered, fault, rest
        if best is None:
            break
        faults.append(best[1])
        left = best[2]
    return (*faults, *_numbered(left))


def _parts(changes: dict[str, Any]) -> int:
    """Count the single things that changes set."""
    return sum(
        sum(part != neutral for part, neutral in zip(value, getattr(CANONICAL, name), strict=True))
        if isinstance(value, tuple) and name in BY_GATE
        else 1
        for name, value in changes.items()
    )


def _without(changes: dict[str, Any], part: dict[str, Any]) -> dict[str, Any] | None:
    """Give what is left of changes when a part of them is taken out; None if it is no part."""
    left = dict(changes)
    for name, value in part.items():
        if name not in left:
            return None
        neutral = getattr(CANONICAL, name)
        if name not in BY_GATE:
            if left.pop(name) != value:
                return None
            continue
        rest = []
        for mine, taken, plain in zip(left[name], value, neutral, strict=True):
            if taken not in (plain, mine):
                return None
            rest.append(plain if taken != plain else mine)
        if tuple(rest) == neutral:
            del left[name]
        else:
            left[name] = tuple(rest)
    return left


def _numbered(left: dict[str, Any]) -> Iterator[Fault]:
    """Put numbers that are left into the words of their knobs."""
    for knob in knobs():
        for value in {part for parts in left.values() for part in (parts if isinstance(parts, tuple) else (parts,))}:
            if not left or not isinstance(value, float):
                continue
            rest = _without(left, knob.set(value))
            if rest is not None and _parts(rest) < _parts(left):
                left = rest
                yield knob.fault(value)
    if left:
        words = ", ".join(f"{name} = {value}" for name, value in left.items())
        yield Fault("measured", "kernel", f"Measured: {words}.", "", left)


class Search:
    """All that is known of one implementation, and what explains it."""

    def __init__(
        self, observations: Sequence[Observation], limit: float = LIMIT_SIGMA, *, two_biases: bool = False
    ) -> None:
        """Take observations of healthy and of wrong numbers alike: an explanation must reproduce all.

        ``two_biases`` says that the implementation was handed b as two biases, of which it may use one.
        """
        self.two_biases = two_biases
        self.observations = sorted(observations, key=lambda one: one.problem.x.size + 10 * one.problem.W.size)
        self.limit = limit
        wrong = [one for one in self.observations if not one.sigma(CANONICAL) <= limit]
        right = [one for one in self.observations if one not in wrong]
        self.wrong = wrong
        self._order = [*wrong, *right]  # what the intended execution misses tells most

    def possible(self, execution: Execution) -> bool:
        """Tell quickly whether an execution comes near what was returned."""
        return all(_near(one, execution) for one in self._order)

    def sigma(self, execution: Execution) -> float:
        """Give the largest distance over everything observed, infinity as soon as it is beyond the limit."""
        worst = 0.0
        for one in self._order:
            worst = max(worst, one.sigma(execution))
            if not worst <= self.limit:
                return math.inf
        return worst

    def explain_from(self, base: Changes, until: float) -> list[Explanation]:
        """Find what, on top of measured deviations, explains everything: nothing, a fault, a number, several faults.

        ``until`` is on the clock of ``time.monotonic``.
        """
        execution = merged(base, {})
        assert execution is not None
        found = self._of([(named(base), execution, None)])
        if found:
            return found
        rest = [fault for fault in catalogue().values() if self.two_biases or not _of_two_biases(fault.changes)]
        found = self._of(self._upon(base, ((fault,) for fault in rest), until))
        if found:
            return found
        found = self._numbers(until, base)
        if found:
            return found
        late = [fault for fault in rest if fault.family in LATE and fault.family != "precision"]
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
        if not self.wrong or all(one.breaks_off for one in self.wrong):
            return []
        started = time.monotonic()
        singles = [fault for fault in catalogue().values() if self.two_biases or not _of_two_biases(fault.changes)]
        found = self._of(((fault,), fault.execution, None) for fault in singles)
        found = found or self._of(self._in_part(singles))
        found = found or self._numbers(started + 2 * SINGLE_SECONDS)
        if not found and pairs:
            found = self._pairs(singles, time.monotonic() + seconds)
        return sorted(found, key=_plainness)

    def explain_several(self, seconds: float) -> list[Explanation]:
        """Find several faults that hold at once, without looking for one alone."""
        if not self.wrong or all(one.breaks_off for one in self.wrong):
            return []
        singles = [fault for fault in catalogue().values() if self.two_biases or not _of_two_biases(fault.changes)]
        return sorted(self._pairs(singles, time.monotonic() + seconds), key=_plainness)

    def _of(
        self, candidates: Iterable[tuple[tuple[Fault, ...], Execution, Scope | None]], most: int = 50
    ) -> list[Explanation]:
        found = []
        for faults, execution, scope in candidates:
            if _format_of(execution) is None and not self.possible(execution):
                continue
            sigma = self.sigma(execution)
            if sigma <= self.limit:
                found.append(Explanation(faults, sigma, execution, scope))
                if len(found) == most:
                    break
        return found

    def _in_part(self, singles: list[Fault]) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        places = self._first_places()
        for scope in scopes(*places):
            for fault in singles:
                execution = merged(fault.changes, scope.changes)
                if execution is not None:
                    yield (fault,), execution, scope
        yield from self._single_resets()
        yield from self._shifts()

    def _single_resets(self) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        """Resets once, or again and again, at the timestep that the first difference points to."""
        longest = max(one.problem.case.run.timesteps for one in self.wrong)
        first = self._first_places()[0]
        if not first:
            return
        for fault in catalogue().values():
            if fault.name.endswith("-once"):
                for t in {first, min(first + 1, longest - 1)}:
                    message, fix = (text.replace("timestep 2", f"timestep {t}") for text in (fault.message, fault.fix))
                    moved = replace(fault, message=message, fix=fix, changes={**fault.changes, "reset_at": (t,)})
                    yield (moved,), moved.execution, None
            elif fault.changes.keys() >= {"reset_every"} and fault.name.endswith("-every-2"):
                for name, what in (("state", "hc"), ("h", "h"), ("c", "c")):
                    changes = {**fault.changes, "reset_every": first, "reset_what": what}
                    words = fault.message.replace("every 2 steps", f"every {first} steps")
                    words = words.replace("The state", {"hc": "The state", "h": "h", "c": "c"}[what])
                    slug = fault.name.removesuffix("-2").replace("state-", f"{name}-", 1)
                    moved = replace(fault, name=f"{slug}-{first}", message=words, changes=changes)
                    yield (moved,), moved.execution, None

    def _shifts(self) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        """Shifts in time by more steps than the catalogue names."""
        longest = max(one.problem.case.run.timesteps for one in self.wrong)
        for k in range(3, min(longest, MOST_SHIFT)):
            for rule in (f"{k} late, zero first", f"{k} early, zero last"):
                for what, fields in (("The input", ("x_time",)), ("What is returned", ("h_order", "c_order"))):
                    message = f"{what} stands at the wrong time: {rule}."
                    slug = "x" if what == "The input" else "returned"
                    fault = Fault(f"{slug}-shifted", "time", message, FAMILIES["time"].fix, dict.fromkeys(fields, rule))
                    yield (fault,), fault.execution, None

    def _first_places(self) -> tuple[int, int, int]:
        """Give the first timestep, sequence and unit that are wrong in any observation."""
        places = []
        for one in self.wrong:
            for name in {"h", "c"} & one.tensors.keys():
                with np.errstate(all="ignore"):
                    wrong = ~(
                        np.abs(one.tensors[name] - one.expected[name].value) <= self.limit * one.expected[name].noise
                    )
                if wrong.any():
                    places.append(tuple(int(axis.min()) for axis in wrong.nonzero()))
        if not places:
            return 0, 0, 0
        return tuple(min(column) for column in zip(*places, strict=True))  # type: ignore[return-value]

    # -- numbers -------------------------------------------------------------------------------------------------

    def _numbers(self, until: float, base: Changes | None = None) -> list[Explanation]:
        """Turn each knob until it fits, and snap it to a plain number."""
        found = []
        for knob in knobs():
            if not self.two_biases and _of_two_biases(knob.set(knob.neutral)):
                continue
            if time.monotonic() > until:
                break
            explanation = self._turned(knob, base or {})
            if explanation is not None:
                found.append(explanation)
        return found

    def _turned(self, knob: Knob, before: Changes) -> Explanation | None:
        target = self.wrong[0]
        for start in knob.starts:
            if merged(before, knob.set(start)) is None:
                return None
            value = solve(lambda v: _misses(target, merged(before, knob.set(v))), start)
            if value is None or not math.isfinite(value):
                continue
            execution = merged(before, knob.set(value))
            if execution is None or not _near(target, execution, slack=50):
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
            found = self._of(self._upon(joined, ((other,) for other in singles), until))
            if found:
                return found
        for fault in partial[:MOST_NUMBERED]:
            joined = _joined_changes(base, fault)
            found = [] if joined is None or time.monotonic() > until else self._numbers(until, joined)
            if found:
                return found
        for fault in partial[:MOST_DEEP] if depth > 1 else ():
            joined = _joined_changes(base, fault)
            found = [] if joined is None else self._several(joined, singles, until, depth - 1)
            if found:
                return found
        return []

    def _partial(self, base: Changes, singles: list[Fault], until: float) -> list[Fault]:
        """Give the faults that explain some view of the evidence that what is known so far does not explain."""
        known = merged(base, {})
        assert known is not None
        count: dict[str, int] = {}
        for view in VIEWS:
            parts = [part for one in self._order if (part := view(one)) is not None]
            if time.monotonic() > until or not parts or all(_matches(part, known) for part in parts):
                continue
            for fault in singles:
                execution = merged(base, fault.changes)
                if execution is not None and all(_matches(part, execution) for part in parts):
                    count[fault.name] = count.get(fault.name, 0) + 1
        names = sorted(count, key=lambda name: (-count[name], _place(name)))
        return [catalogue()[name] for name in names[:MOST_PARTIAL]]

    def _pairs(self, singles: list[Fault], until: float) -> list[Explanation]:
        """Try faults of which each explains a part, then, of the common ones, any two."""
        moving = [fault for fault in singles if _format_of(fault.execution) is None]
        found = self._several({}, moving, until - BLIND_SECONDS)
        if found or time.monotonic() > until:
            return found
        first = self._opening()
        common = [fault for fault in moving if not _exotic(fault)]
        for faults, execution, scope in self._joined(combinations(common, 2), until):
            if first and not all(_near(one, execution) for one in first):
                continue
            found += self._of([(faults, execution, scope)])
            if found:
                return found
        return found

    def _joined(
        self, pairs: Iterable[tuple[Fault, Fault]], until: float
    ) -> Iterator[tuple[tuple[Fault, ...], Execution, Scope | None]]:
        for first, second in pairs:
            if time.monotonic() > until:
                return
            execution = merged(first.changes, second.changes)
            if execution is not None:
                yield (first, second), execution, None

    def _opening(self) -> list[Observation]:
        """The first timestep of the smallest wrong observation as one of its own."""
        for one in self.wrong:
            if {"h", "c"} <= one.tensors.keys() and one.problem.lengths is None:
                return [_prefix(one, 1)]
        return []


# -- views: parts of the evidence, which one fault of several may explain alone ------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """Some numbers of an observation: a mask for each tensor that is looked at."""

    one: Observation
    masks: Arrays
    sorted_over: int | None = None  # an axis along which only the set of numbers is looked at, not where they stand


def _where(
    one: Observation, names: str, *, t: int | None = None, b: int | None = None, valid: bool = False
) -> Part | None:
    if one.finite is not one or not set(names) & one.tensors.keys():
        return None
    masks = {}
    for name in names:
        if name not in one.tensors:
            continue
        mask = np.ones(one.tensors[name].shape, bool)
        if t is not None:
            mask[t + 1 :] = False
        if b is not None:
            mask[:, b + 1 :] = False
        if valid and one.problem.lengths is not None:
            mask &= (np.arange(len(mask))[:, None] < one.problem.lengths)[:, :, None]
        masks[name] = mask
    return Part(one, masks)


def _sorted(one: Observation, axis: int) -> Part | None:
    part = _where(one, "hc")
    if part is None or one.problem.lengths is not None or one.problem.x.shape[axis] == 1:
        return None
    return replace_part(part, sorted_over=axis)


def _from_zero(one: Observation) -> bool:
    return not (one.problem.h0.any() or one.problem.c0.any())


VIEWS: tuple[Callable[[Observation], Part | None], ...] = (
    lambda one: _where(one, "hc") if one.problem.lengths is None else None,
    lambda one: _where(one, "hc", valid=True),
    lambda one: _where(one, "c"),
    lambda one: _where(one, "h"),
    lambda one: _where(one, "hc", b=0, valid=True),
    lambda one: _where(one, "hc", t=0, valid=True),
    lambda one: _where(one, "c", t=0, valid=True),
    lambda one: _where(one, "h", t=0, valid=True),
    lambda one: _where(one, "hc", t=0, b=0, valid=True),
    lambda one: _where(one, "hc") if one.problem.x.shape[1] == 1 else None,
    lambda one: _where(one, "hc") if _from_zero(one) else None,
    lambda one: _where(one, "c", valid=True) if _from_zero(one) else None,
    lambda one: _where(one, "c", t=0) if _from_zero(one) else None,
    lambda one: _sorted(one, 1),
    lambda one: _sorted(one, 0),
)


def _matches(part: Part, execution: Execution) -> bool:
    """Whether an execution gives the numbers of a part."""
    one = part.one
    if part.sorted_over is not None:
        computed = interpret_values(one.problem, execution)
        assert computed is not None
        return all(
            _close(np.sort(one.values[name], part.sorted_over), np.sort(computed[name], part.sorted_over), near, 1.0)
            for name, near in ((name, one.near[name].max()) for name in part.masks)
        )
    last = max(int(np.flatnonzero(mask.any(axis=(1, 2)))[-1]) for mask in part.masks.values() if mask.any())

    def watch(t: int, new_h: Array, new_c: Array) -> bool:
        new = {"h": new_h, "c": new_c}
        return t > last or all(
            _close(one.values[name][t], new[name], np.where(mask[t], one.near[name][t], np.inf), 1.0)
            for name, mask in part.masks.items()
        )

    early = returns_as_computed(execution)
    computed = interpret_values(one.problem, execution, watch if early else None)
    return computed is not None and (
        early
        or all(
            _close(one.values[name], computed[name], np.where(mask, one.near[name], np.inf), 1.0)
            for name, mask in part.masks.items()
        )
    )


def _joined_changes(base: Changes, fault: Fault) -> Changes | None:
    execution = merged(base, fault.changes)
    return None if execution is None else execution.changes()


def _place(name: str) -> int:
    return list(catalogue()).index(name)


def _prefix(one: Observation, timesteps: int) -> Observation:
    """Give the first timesteps of an observation as one of its own; without tensors if there are none."""
    p = one.problem
    if not timesteps:
        return Observation(p, {})
    lengths = None if p.lengths is None else np.minimum(p.lengths, timesteps)
    ends = None if lengths is None else tuple(int(n) for n in lengths)
    case = replace(p.case, run=replace(p.case.run, timesteps=timesteps, lengths=ends), expect=None)
    problem = Problem(case, p.W, p.R, p.b, p.x[:timesteps], p.h0, p.c0, lengths)
    return Observation(problem, {name: one.tensors[name][:timesteps] for name in "hc" if name in one.tensors})


def _near(one: Observation, execution: Execution, slack: float = 1.0) -> bool:
    """Tell whether an execution comes near an observation; most that do not are found out at the first timestep."""
    one = one.finite
    if not one.tensors:
        return True
    if not one.shows_states(execution):
        computed = interpret_values(one.problem, execution)
    else:
        h, c, near = one.values["h"], one.values["c"], one.near

        def watch(t: int, new_h: Array, new_c: Array) -> bool:
            return _close(h[t], new_h, near["h"][t], slack) and _close(c[t], new_c, near["c"][t], slack)

        # Each step from the states that were observed: no network amplifies what one step may round.
        computed = interpret_values(one.problem, execution, watch, one.tensors)
        return computed is not None
    return computed is not None and all(
        _close(array, computed[name], one.near[name], slack) for name, array in one.values.items()
    )


def _close(actual: Array, computed: Array, near: Array, slack: float) -> bool:
    distance = np.abs(actual - computed)
    close = distance <= slack * near
    if close.all():
        return True
    same = (actual == computed) | (np.isnan(actual) & np.isnan(computed))
    return bool((close | same).all())


def _misses(one: Observation, execution: Execution | None) -> Array | None:
    if execution is None:
        return None
    computed = interpret_values(one.problem, execution)
    assert computed is not None
    vector = np.concatenate([
        np.asarray((one.values[name] - computed[name]) / one.expected[name].noise, np.float64).ravel()
        for name in one.values
    ])  # fmt: skip
    return vector if np.isfinite(vector).all() else None


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
