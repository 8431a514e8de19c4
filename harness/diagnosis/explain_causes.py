"""Deviations of networks, gradients and decoders that explain observations: one, or two at once.

Evidence first: what goes forward wrong is not looked for on the way back, and lanes that agree are not looked into.
Candidates run with values alone and end at the first number that differs; those that are left are held against every
observation, with noise. Two at once are found by those that put off the first number that differs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace as changed

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import BACKWARD, kind_of, lanes, name_of, tensors_of
from lockstep.harness.causes.deviation import Deviation, edits_of
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.interpret import base_of, expected_with, values_with
from lockstep.harness.causes.network_run import NetworkRun, label_of
from lockstep.harness.causes.table import backward_deviations, forward_deviations, named
from lockstep.harness.causes.words import fix, message
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.observation import Observation, close
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.noise import LIMIT_SIGMA

SECONDS = 12.0  # for singles
PAIR_SECONDS = 8.0
FRESH = 77_003  # added to a seed for numbers that no search has seen
MOST_PARTIAL = 6  # singles that repair part, each tried with all others
MOST_NAMED = 6
JOIN = " + "

Cause = tuple[Deviation, ...]


class _MissError(Exception):
    """A number differs."""


@dataclass
class _Watcher:
    """Ends a run at the first number that differs, and counts how far it came."""

    observation: Observation
    passed: int = 0
    failed: str = ""  # the tensor in which a number differs first

    def tensor(self, name: str, value: Array) -> None:
        """Compare a whole tensor."""
        self._compare(name, ..., value)

    def step(self, name: str, t: Any, value: Array) -> None:
        """Compare one timestep."""
        self._compare(name, t, value)

    def _compare(self, name: str, rows: object, value: Array) -> None:
        actual = self.observation.values.get(name)
        if actual is None:
            return
        near = self.observation.near[name]
        if not close(actual[rows], value, near[rows], 1.0):  # type: ignore[index]
            self.failed = name
            raise _MissError
        self.passed += 1


@dataclass
class _Seen:
    """An observation with what is known of it before the search."""

    observation: Observation
    base: NetworkRun | None = None
    known: dict[str, Deviation] = field(default_factory=dict)

    @classmethod
    def of(cls, observation: Observation) -> _Seen:
        return cls(observation, base_of(observation.problem))

    @property
    def problem(self) -> AnyProblem:
        return self.observation.problem

    @property
    def forward_names(self) -> set[str]:
        return {name for name in self.observation.tensors if kind_of(name) not in BACKWARD}

    def like(self, cause: Cause) -> Cause:
        """The same deviations of this problem.

        Raises:
            NoPlaceError: If it has no place for one.
        """
        if not self.known:
            self.known = named(self.problem)
        try:
            return tuple(self.known[deviation.name] for deviation in cause)
        except KeyError:
            raise NoPlaceError from None

    def passes(self, cause: Cause) -> tuple[bool, _Watcher]:
        """Whether values come near, and how far they came; first what goes forward is compared, then all."""
        watcher = _Watcher(self.observation)
        edits = edits_of(cause, self.problem)
        forward, all_names = self.forward_names, set(self.observation.tensors)
        with np.errstate(all="ignore"):
            try:
                if all(deviation.way == "forward" for deviation in cause):
                    values_with(self.problem, edits, forward, watcher, self.base)
                if forward != all_names:
                    values_with(self.problem, edits, all_names, watcher)
            except _MissError:
                return False, watcher
        return True, watcher

    def sigma(self, cause: Cause) -> float:
        """The distance from what a cause gives, with its noise; of the reference, where there is no place for it."""
        try:
            found = self.expected(cause)
        except NoPlaceError:
            return self.observation.distance(self.observation.expected, None)
        return self.observation.distance(found, None)

    def expected(self, cause: Cause) -> Expected:
        return expected_with(self.problem, edits_of(self.like(cause), self.problem), set(self.observation.tensors))

    def first_wrong_lane(self, limit: float) -> str | None:
        """The label of the first lane, in order of computation, of which a tensor going forward is wrong."""
        if isinstance(self.problem, DecoderProblem):
            return None
        lstm, observation = self.problem.case.lstm, self.observation
        for place in lanes(lstm):
            names = [
                name
                for name in (name_of(kind, place, lstm) for kind in ("h", "c", "h_n", "c_n"))
                if name in observation.tensors
            ]
            parts = Observation(self.problem, {name: observation.tensors[name] for name in names})
            if names and not parts.distance(observation.expected, None) <= limit:
                return label_of(place)
        return None


def explain(observations: Sequence[Observation], limit: float = LIMIT_SIGMA) -> list[Diagnosis]:
    """The deviations under which every number of every observation is reproduced; the plainest first.

    Observations in which something diverges decide; those that agree must be reproduced too.
    """
    wrong = [o for o in observations if not o.distance(o.expected, None) <= limit]
    if not wrong:
        return []
    wrong.sort(key=lambda o: sum(array.size for array in o.tensors.values()))
    decoder = isinstance(wrong[0].problem, DecoderProblem)
    alike = [o for o in observations if isinstance(o.problem, DecoderProblem) == decoder and o is not wrong[0]]
    search = _Search(_Seen.of(wrong[0]), [_Seen.of(o) for o in alike], limit)
    causes = search.singles() or search.pairs()
    return _told(causes, search, decoder=decoder)


def expected_named(fault: str, problem: AnyProblem) -> Expected | None:
    """What comes out of a problem with the deviations of that name; None where it has no place for them."""
    known = named(problem)
    try:
        cause = [known[name] for name in fault.split(JOIN)]
        return expected_with(problem, edits_of(cause, problem))
    except (KeyError, NoPlaceError):
        return None


def holding(faults: Iterable[str], observations: Sequence[Observation], limit: float = LIMIT_SIGMA) -> set[str]:
    """Those names whose deviations reproduce every number of every observation."""
    held = set()
    for fault in faults:
        for observation in observations:
            expected = expected_named(fault, observation.problem) or observation.expected
            if not observation.distance(expected, None) <= limit:
                break
        else:
            held.add(fault)
    return held


class _Search:
    """The search over one set of observations."""

    def __init__(self, first: _Seen, others: list[_Seen], limit: float) -> None:
        self.first, self.others, self.limit = first, others, limit
        self.partial: list[tuple[int, str, Deviation]] = []  # comparisons passed, the tensor that failed
        with np.errstate(all="ignore"):
            self.passed = first.passes(())[1].passed

    def singles(self) -> list[tuple[Cause, float]]:
        """Single deviations that explain everything; those of the widest scope that does."""
        end = time.perf_counter() + SECONDS
        found: list[tuple[Cause, float]] = []
        # What was found before the narrower scopes come is kept to the widest.
        for group in self._by_scope():
            for deviation in group:
                self._try((deviation,), found)
                if time.perf_counter() > end:
                    return found
            if found:
                return found
        return found

    def _by_scope(self) -> Iterator[list[Deviation]]:
        """Candidates that may reach what differs first, everywhere before in part."""
        observation = self.first.observation
        forward = Observation(observation.problem, {n: observation.tensors[n] for n in self.first.forward_names})
        wrong = bool(forward.tensors) and not forward.distance(observation.expected, None) <= self.limit
        table = list(forward_deviations(self.first.problem)) if wrong else list(backward_deviations(self.first.problem))
        label = self.first.first_wrong_lane(self.limit) if wrong else None
        whole, parts = [], []
        for deviation in table:
            scope = deviation.scope
            if label is not None and scope.lanes != ("",) and label not in scope.lanes:
                continue
            (parts if scope.name or scope.steps else whole).append(deviation)
        yield whole
        yield parts

    def _try(self, cause: Cause, found: list[tuple[Cause, float]]) -> None:
        try:
            passes, watcher = self.first.passes(cause)
        except NoPlaceError:
            return
        if not passes:
            if watcher.passed > self.passed and len(cause) == 1:
                self.partial.append((watcher.passed, watcher.failed, cause[0]))
            return
        if not all(self._passes(other, cause) for other in self.others):
            return
        sigma = max(seen.sigma(cause) for seen in (self.first, *self.others))
        if sigma <= self.limit:
            found.append((cause, sigma))

    def _passes(self, seen: _Seen, cause: Cause) -> bool:
        try:
            return seen.passes(seen.like(cause))[0]
        except NoPlaceError:
            return seen.observation.distance(seen.observation.expected, None) <= self.limit

    def pairs(self) -> list[tuple[Cause, float]]:
        """Two deviations at once: one that puts off the first number that differs, and any other."""
        end = time.perf_counter() + PAIR_SECONDS
        found: list[tuple[Cause, float]] = []
        # Of those that come equally far, the narrowest: a wider one spoils what is right elsewhere.
        order = sorted(self.partial, key=lambda item: (-item[0], len(item[2].scope.lanes)))
        for _, failed, partial in order[:MOST_PARTIAL]:
            for other in self._partners(partial, failed):
                self._try((partial, other), found)
                if time.perf_counter() > end:
                    return found
            if found:
                return found
        return found

    def _partners(self, partial: Deviation, failed: str) -> Iterator[Deviation]:
        """Candidates that reach the lane in which a number differs next, and none of those that became right."""
        problem = self.first.problem
        backward = kind_of(failed) in BACKWARD
        several = isinstance(problem, Problem) and not problem.case.lstm.single and not backward
        for other in (backward_deviations if backward else forward_deviations)(problem):
            if (other.site, other.scope) == (partial.site, partial.scope):
                continue
            if several and other.scope.lanes != ("",):
                place = tensors_of(problem.case)[failed].lane
                right = {label_of(before) for before in lanes(problem.case.lstm) if before < place}
                if label_of(place) not in other.scope.lanes or right & set(other.scope.lanes):
                    continue
            yield other


def _told(causes: list[tuple[Cause, float]], search: _Search, *, decoder: bool) -> list[Diagnosis]:
    """Put causes into words; what gives other numbers than the first for a fresh problem is named beside it."""
    kept = list(_apart(causes, search))[:MOST_NAMED]
    names = [JOIN.join(deviation.name for deviation in cause) for cause, _ in kept]
    cases = ", ".join(seen.problem.case.name for seen in (search.first, *search.others))
    return [
        Diagnosis(
            fault=name,
            site=JOIN.join(deviation.site for deviation in cause),
            edit=JOIN.join(deviation.edit for deviation in cause),
            scope=JOIN.join(deviation.scope.suffix.removeprefix("@") or "everywhere" for deviation in cause),
            message=" And: ".join(message(deviation) for deviation in cause),
            fix=" ".join(dict.fromkeys(fix(deviation) for deviation in cause)),
            sigma=sigma,
            evidence=f"Run that way, every number of {cases} is reproduced to {sigma:.2g} sigma.",
            indistinguishable_from=[other for other in names if other != name],
            family="attention" if decoder else "network",
        )
        for name, (cause, sigma) in zip(names, kept, strict=True)
    ]


def _apart(causes: list[tuple[Cause, float]], search: _Search) -> Iterable[tuple[Cause, float]]:
    """The causes without those that are identical to one before: alike for a problem that no search has seen."""
    if not causes[1:]:
        return causes
    fresh = _Seen(Observation(fresh_problem(search.first.problem), {}))
    wanted = set(search.first.observation.tensors)
    kept: list[tuple[Cause, float]] = []
    known: list[dict[str, Array]] = []
    for cause, sigma in causes[:40]:
        try:
            values = values_with(fresh.problem, edits_of(fresh.like(cause), fresh.problem), wanted)
        except NoPlaceError:  # it needs sizes that are alike
            kept.append((cause, sigma))
            continue
        if not any(_same(values, other) for other in known):
            kept.append((cause, sigma))
            known.append(values)
    return kept or causes[:1]


def _same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return all(np.allclose(array, other[name], rtol=1e-9, atol=1e-12, equal_nan=True) for name, array in one.items())


def fresh_problem(problem: AnyProblem) -> AnyProblem:
    """A problem of the same form with other numbers and sizes, so that none of them coincide."""
    case, run = problem.case, problem.case.run
    changes: dict[str, Any] = {"seed": run.seed + FRESH, "timesteps": run.timesteps + 1, "batch": run.batch + 1}
    changes |= {
        key: "probe"
        for key in ("weights", "inputs", "initial_state")
        if run.values(key).file or run.values(key).kind in {"ones", "zeros"}  # type: ignore[arg-type]
    }
    if run.lengths is not None:
        longest = problem.decoder.source_timesteps if isinstance(problem, DecoderProblem) else run.timesteps + 1
        changes["lengths"] = tuple(max(1, longest - 1 - (k + 1) % 3) for k in range(run.batch + 1))
    lstm = case.lstm
    if not isinstance(problem, DecoderProblem):
        lstm = changed(lstm, hidden_size=lstm.hidden_size + 1)
    return problem_of(changed(case, lstm=lstm, run=changed(run, **changes), expect=None))
