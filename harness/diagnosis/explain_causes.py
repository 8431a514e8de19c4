"""Deviations that explain observations of any form: one, one with a number or in part of a run, or several at once.

Evidence first: what goes forward wrong is not looked for on the way back, and lanes that agree are not looked into.
Candidates run with values alone and end at the first number that differs; those that are left are held against every
observation, with noise. Several at once are found by those that repair part of what differs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace as changed

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import BACKWARD, kind_of, lanes, tensors_of
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.interpret import expected_with, values_with
from lockstep.harness.causes.network_run import label_of
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.fit import plain_values, solve
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.seen import OF_C, OF_H, Cause, Seen, fitting_in
from lockstep.harness.faults.deviation import Deviation, architecture_of, edits_of
from lockstep.harness.faults.numbers import Numbered, numbered
from lockstep.harness.faults.table import backward_deviations, find, forward_deviations, in_part, resets
from lockstep.harness.faults.weight_edits import layout_deviations
from lockstep.harness.faults.words import AND, FAMILIES, Words, family_of
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import number
from lockstep.harness.weights.dialects import TWO_BIASES

SECONDS = {"singles": 10.0, "numbers": 3.0, "in part": 3.0, "pairs": 8.0}  # of the processor
FRESH = 77_003  # added to a seed for numbers that no search has seen
MOST_PARTIAL = 8  # singles that repair part, each tried with all others
MOST_FOUND = 40  # causes that are told apart by a fresh problem
MOST_NAMED = 6
MOST_KINDS = 4  # of cases, in each of which one of two deviations may show alone
LARGE = 5_000  # numbers returned, above which an observation only confirms
JOIN = " + "  # between the names of deviations that hold together
ONLY_IN = "only_in"  # the cases that a proof is about, where it is not about all


class Found(NamedTuple):
    """A cause that reproduces everything, and how well."""

    cause: Cause
    sigma: float
    only_in: tuple[str, ...] = ()  # the cases that it is about, where it is not about all

    @property
    def name(self) -> str:
        """Its stable name."""
        return JOIN.join(deviation.name for deviation in self.cause)


def explain(
    observations: Sequence[Observation], limit: float = LIMIT_SIGMA, *, layout: str = "canonical", several: bool = True
) -> list[Diagnosis]:
    """The deviations under which every number of every observation is reproduced; the plainest first.

    Args:
        observations: Those in which something diverges decide; those that agree must be reproduced too.
        limit: In sigma.
        layout: In which the weights were handed over: what is read as another's comes first, and the words are its.
        several: Whether several deviations at once are looked for, which takes longer.
    """
    search = Search.of(observations, limit, layout=layout)
    return [] if search is None else told(search.causes(several=several), search)


def expected_named(fault: str, problem: AnyProblem) -> Expected | None:
    """What comes out of a problem with the deviations of that name; None where it has no place for any."""
    cause = _named_in(fault, problem)
    try:
        return expected_with(problem, edits_of(cause, problem)) if cause else None
    except NoPlaceError:
        fitting = fitting_in(problem, cause)
        return expected_with(problem, edits_of(fitting, problem)) if fitting else None


def _named_in(fault: str, problem: AnyProblem) -> Cause:
    """The deviations of a name that a problem knows."""
    return tuple(deviation for name in fault.split(JOIN) if (deviation := find(name, problem)) is not None)


def holding(faults: Iterable[str], observations: Sequence[Observation], limit: float = LIMIT_SIGMA) -> set[str]:
    """Those names whose deviations reproduce every number of every observation."""
    return {
        fault
        for fault in faults
        if all(Seen.of(seen).sigma(_named_in(fault, seen.problem)) <= limit for seen in observations)
    }


class Search:
    """The search over one set of observations of one form."""

    def __init__(self, first: Seen, others: list[Seen], limit: float, *, layout: str = "canonical") -> None:
        """Take what decides first, and what else must be reproduced, the quickest first."""
        self.first, self.limit, self.layout = first, limit, layout
        # Large ones only confirm.
        self.others = [seen for seen in others if _size(seen) <= LARGE]
        self.large = [seen for seen in others if _size(seen) > LARGE]
        architecture = architecture_of(first.problem)
        for seen in (first, *others):
            seen.alike = _shapeless(architecture_of(seen.problem)) == _shapeless(architecture)
        self.partial: list[tuple[int, str, Deviation]] = []  # comparisons passed, the tensor that failed
        self.halves: list[Deviation] = []  # of the first alone
        self.until = math.inf  # on the clock of ``time.process_time``
        with np.errstate(all="ignore"):
            self.passed = first.passes(())[1].passed

    @classmethod
    def of(cls, observations: Sequence[Observation], limit: float, *, layout: str = "canonical") -> Search | None:
        """A search; None where nothing diverges, or all is right until it overflows."""
        # The deepest first: what holds in its layers has a name in a shallower one, and not the other way round.
        all_seen = sorted((Seen.of(o) for o in observations), key=lambda seen: (-_depth(seen), _size(seen)))
        wrong = [seen for seen in all_seen if not seen.distance <= limit]
        if not wrong:  # where a number overflows, all before it may be right
            return None
        decoder = isinstance(wrong[0].problem, DecoderProblem)
        right = [seen for seen in all_seen if seen not in wrong]
        alike = [s for s in (*wrong[1:], *right) if isinstance(s.problem, DecoderProblem) == decoder]
        return cls(wrong[0], alike, limit, layout=layout)

    def causes(self, *, several: bool = True) -> list[Found]:
        """Every cause of the simplest kind that explains."""
        kinds = [self.singles, self.resets, self.with_numbers, self.in_part, *([self.pairs] if several else [])]
        for kind in kinds:
            found = self.confirmed(kind())
            if found:
                return found
        return []

    def confirmed(self, found: list[Found]) -> list[Found]:
        """Of those that are not identical, those that reproduce every observation, the largest too."""
        confirmed = []
        for cause in [each.cause for each in _apart(found, self)][:MOST_NAMED]:
            # A part that explains all by itself needs no company.
            parts = ((deviation,) for deviation in cause) if len(cause) > 1 else ()
            for explaining in (*parts, cause):
                sigma = self._sigma(explaining)
                if sigma <= self.limit:
                    confirmed.append(Found(explaining, sigma))
                    break
        return confirmed

    def _sigma(self, cause: Cause) -> float:
        """The largest distance over all observations, infinite as soon as it is beyond the limit."""
        worst = 0.0
        for seen in (self.first, *self.others, *self.large):
            worst = max(worst, seen.sigma(cause))
            if not worst <= self.limit:
                return math.inf
        return worst

    def in_some_cases(self) -> list[Found]:
        """What explains all that is wrong, though it would show in cases that are right."""
        wrong = [seen for seen in (self.first, *self.others, *self.large) if not seen.distance <= self.limit]
        for half in self.halves:
            sigma = max(seen.sigma((half,)) for seen in wrong)
            if sigma <= self.limit:
                return [Found((half,), sigma, tuple(seen.problem.case.name for seen in wrong))]
        return []

    def explaining_most(self) -> tuple[Found, list[Observation]] | None:
        """What explains most of the cases, and those that it does not; None if it explains few."""
        every = [self.first, *self.others, *self.large]
        best: tuple[Found, list[Observation]] | None = None
        for half in self.halves[:MOST_FOUND]:
            sigmas = [seen.sigma((half,)) for seen in every]
            left = [seen.observation for seen, sigma in zip(every, sigmas, strict=True) if not sigma <= self.limit]
            if 2 * len(left) < len(every) and (best is None or len(left) < len(best[1])):
                best = Found((half,), max(sigma for sigma in sigmas if sigma <= self.limit)), left
        return best

    # -- one -----------------------------------------------------------------------------------------------------

    def singles(self) -> list[Found]:
        """Single deviations that explain everything; those of the widest scope that does."""
        whole, parts = [], []
        for deviation in self._candidates():
            (parts if deviation.scope.name or deviation.scope.steps else whole).append(deviation)
        # What was found before the narrower scopes come is kept to the widest.
        clock = _Clock("singles", self.until)
        return self._explaining(whole, clock) or self._explaining(parts, clock)

    def upon(self, base: Cause, until: float) -> list[Found]:
        """What on top of measured deviations explains everything: nothing, one, one with a number."""
        found: list[Found] = []
        self._try(base, found)
        clock = _Clock("in part", until)
        found = self.confirmed(found) or self.confirmed(self._explaining(self._candidates(), clock, base))
        return found or (self.confirmed(self.with_numbers(base)) if not clock.is_over else [])

    def _explaining(self, deviations: Iterable[Deviation], clock: _Clock, base: Cause = ()) -> list[Found]:
        found: list[Found] = []
        for deviation in deviations:
            self._try((*base, deviation), found)
            if clock.is_over or len(found) >= MOST_FOUND:
                break
        return found

    @property
    def _forward_is_wrong(self) -> bool:
        observation = self.first.observation
        forward = Observation(observation.problem, {n: observation.tensors[n] for n in self.first.forward_names})
        return bool(forward.tensors) and not forward.distance(observation.expected, None) <= self.limit

    def _candidates(self) -> Iterator[Deviation]:
        """Those that may reach what differs first."""
        wrong = self._forward_is_wrong
        if wrong and self.layout != "canonical":
            yield from layout_deviations(self.first.problem, self.layout)
        label = self.first.first_wrong_lane(self.limit) if wrong else None
        of_step = self.first.wrong_in_a_step if wrong else set()
        beside = OF_H if "c" in of_step else OF_C if of_step else frozenset()
        for deviation in forward_deviations(self.first.problem) if wrong else backward_deviations(self.first.problem):
            if deviation.site not in beside and self._reaches(deviation, label):
                yield deviation

    def _reaches(self, deviation: Deviation | Numbered, label: str | None) -> bool:
        if deviation.site in OF_TWO_BIASES and self.layout not in TWO_BIASES:
            return False
        lanes_of = deviation.scope.lanes
        return label is None or lanes_of == ("",) or label in lanes_of

    def _try(self, cause: Cause, found: list[Found], target: Seen | None = None) -> None:
        """Put a cause beside those found, if every observation agrees with it; ``target`` is asked first."""
        first = target or self.first
        try:
            passes, watcher = first.passes(first.like(cause))
        except NoPlaceError:
            return
        if not passes:
            if target is None and watcher.passed > self.passed and len(cause) == 1:
                self.partial.append((watcher.passed, watcher.failed, cause[0]))
            return
        if not all(other.agrees_with(cause) for other in (self.first, *self.others) if other is not first):
            if target is None and len(cause) == 1:
                self.halves.append(cause[0])
            return
        sigma = first.sigma(cause)
        if sigma <= self.limit:
            found.append(Found(cause, sigma))

    def with_numbers(self, before: Cause = ()) -> list[Found]:
        """Edits with a number that is solved for, and a plain number near it where that explains as well."""
        if not self._forward_is_wrong:
            return []
        clock, found = _Clock("numbers", self.until), []
        label = self.first.first_wrong_lane(self.limit)
        for row in numbered(self.first.problem):
            if self._reaches(row, label):
                found += self._solved(row, before)
            if clock.is_over:
                break
        return found

    def _solved(self, row: Numbered, before: Cause) -> list[Found]:
        target = self.first

        def residual(number: float) -> Array | None:
            try:
                return target.misses((*before, row.at(number)))
            except NoPlaceError:
                return None

        found: list[Found] = []
        for start in row.starts:
            fitted = solve(residual, start)
            if fitted is None or not math.isfinite(fitted):
                continue
            for plain in plain_values(fitted):
                self._try((*before, row.at(plain)), found)
                if found:
                    return found
        return found

    def resets(self) -> list[Found]:
        """States that are reset about the first timestep that differs."""
        parts = resets(self.first.problem, self.first.first_wrong_place(self.limit)[0])
        return self._explaining(parts, _Clock("in part", self.until))

    def in_part(self) -> list[Found]:
        """Deviations at some timesteps, or in some sequences, that the first difference points to."""
        if not self._forward_is_wrong:
            return []
        label = self.first.first_wrong_lane(self.limit)
        parts = in_part(self.first.problem, *self.first.first_wrong_place(self.limit))
        return self._explaining((d for d in parts if self._reaches(d, label)), _Clock("in part", self.until))

    # -- several -------------------------------------------------------------------------------------------------

    def pairs(self) -> list[Found]:
        """Two deviations at once: one that explains some cases or repairs part of one, and any other."""
        clock = _Clock("pairs")
        for half, target, failed in self._halves(clock):
            found: list[Found] = []
            for other in self._partners(half, failed):
                self._try((half, other), found, target)
                if clock.is_over or len(found) >= MOST_FOUND:
                    break
            if found or clock.is_over:
                return found
        return []

    def _halves(self, clock: _Clock) -> Iterator[tuple[Deviation, Seen, str]]:
        """What explains a case alone, puts off the first number that differs, or gives more of the numbers.

        Each with the observation that it leaves to explain, and the tensor that differs there first, if known.
        """
        for seen in (None, *self._of_other_kinds()):
            halves = self.halves if seen is None else self._explaining_alone(seen, clock)
            for found in list(_apart([Found((half,), 0.0) for half in halves[:MOST_FOUND]], self))[:MOST_PARTIAL]:
                left = next((s for s in (self.first, *self.others) if not s.agrees_with(found.cause)), None)
                if left is not None:
                    yield found.cause[0], left, ""
        # Of those that come equally far, the narrowest: a wider one spoils what is right elsewhere.
        order = sorted(self.partial, key=lambda item: (-item[0], len(item[2].scope.lanes)))
        for _, failed, half in order[:MOST_PARTIAL]:
            yield half, self.first, failed
        if isinstance(self.first.problem, Problem) and self.first.problem.case.lstm.single and self._forward_is_wrong:
            for half in self._giving_more(clock):
                yield half, self.first, ""

    def _of_other_kinds(self) -> list[Seen]:
        """Wrong observations, small ones of other kinds than the first: what one deviation leaves alone in some."""
        kinds = {_kind(self.first): self.first}
        for seen in self.others:
            if seen.alike and not seen.is_right:
                kinds.setdefault(_kind(seen), seen)
        return list(kinds.values())[1 : MOST_KINDS + 1]

    def _explaining_alone(self, seen: Seen, clock: _Clock) -> list[Deviation]:
        """Single deviations that explain one observation."""
        alone = Search(seen, [], self.limit, layout=self.layout)
        alone.until = clock.end
        return [found.cause[0] for found in alone.singles()]

    def _giving_more(self, clock: _Clock) -> list[Deviation]:
        """Those that give more of the numbers than what is right does, the best first."""
        gains = []
        before = self.first.repaired(())
        for deviation in self._candidates():
            if clock.is_over:
                break
            if deviation.form or deviation.scope.steps:
                continue
            try:
                gain = self.first.repaired((deviation,)) - before
            except NoPlaceError:
                continue
            if gain > 0:
                gains.append((gain, deviation))
        gains.sort(key=lambda item: -item[0])
        return [deviation for _, deviation in gains[: 2 * MOST_PARTIAL]]

    def _partners(self, partial: Deviation, failed: str) -> Iterator[Deviation]:
        """Candidates that reach the lane in which a number differs next, and none of those that became right."""
        problem = self.first.problem
        backward = bool(failed) and kind_of(failed) in BACKWARD
        several = isinstance(problem, Problem) and not problem.case.lstm.single and not backward and failed
        for other in (backward_deviations if backward else forward_deviations)(problem):
            if (other.site, other.scope) == (partial.site, partial.scope) or not self._reaches(other, None):
                continue
            if several and other.scope.lanes != ("",):
                place = tensors_of(problem.case)[failed].lane
                right = {label_of(before) for before in lanes(problem.case.lstm) if before < place}
                if label_of(place) not in other.scope.lanes or right & set(other.scope.lanes):
                    continue
            yield other


def _shapeless(architecture: tuple[Any, ...]) -> tuple[Any, ...]:
    """What of an architecture scopes and orders depend on."""
    return architecture[:3]


def _kind(seen: Seen) -> tuple[bool, ...]:
    """What decides whether a deviation shows at all: lengths, and what there are several of."""
    T, B, I, H = seen.problem.case.shape
    return seen.problem.lengths is not None, T > 1, B > 1, H > 1, I == H


OF_TWO_BIASES = frozenset({"b_ih", "b_hh"})


class _Clock:
    """The time that one kind of search may take."""

    def __init__(self, kind: str, until: float = math.inf) -> None:
        """Start; ``until`` is on the clock of ``time.process_time``: that of a busy machine is no measure."""
        self.end = min(time.process_time() + SECONDS[kind], until)

    @property
    def is_over(self) -> bool:
        return time.process_time() > self.end


def _depth(seen: Seen) -> int:
    return seen.problem.case.lstm.num_layers


def _size(seen: Seen) -> int:
    return sum(array.size for array in seen.observation.tensors.values())


def told(causes: list[Found], search: Search, others: Sequence[AnyProblem] = ()) -> list[Diagnosis]:
    """Put causes into words; what gives other numbers than the first for a fresh problem is named beside it.

    ``others`` are problems by which causes of the same numbers might be told apart.
    """
    words, names = Words(search.layout), [found.name for found in causes]
    apart = _telling_problem(causes, others) if causes[1:] else None
    diagnoses = []
    for found in causes:
        families = [family_of(deviation) for deviation in found.cause]
        diagnoses.append(
            Diagnosis(
                fault=found.name,
                site=JOIN.join(deviation.site for deviation in found.cause),
                edit=JOIN.join(deviation.edit for deviation in found.cause),
                scope=JOIN.join(deviation.scope.suffix.removeprefix("@") or "everywhere" for deviation in found.cause),
                message=AND.join(words.message(deviation) for deviation in found.cause) + _only_in(found, search),
                fix=" ".join(dict.fromkeys(words.fix(deviation) for deviation in found.cause)),
                sigma=found.sigma,
                evidence=_evidence(found.sigma, 1 + len(search.others) + len(search.large)),
                indistinguishable_from=[name for name in names if name != found.name],
                told_apart_by=apart,
                family=families[0],
                met=FAMILIES[families[0]].met,
                proof={"deviations": found.name.split(JOIN)} | ({ONLY_IN: [*found.only_in]} if found.only_in else {}),
            )
        )
    return diagnoses


def _only_in(found: Found, search: Search) -> str:
    """In which cases it holds, where others are right."""
    if not found.only_in:
        return ""
    every = (search.first, *search.others, *search.large)
    right = [seen.problem.case.name for seen in every if seen.problem.case.name not in found.only_in]
    return f" In {', '.join(found.only_in)} only: {', '.join(right)} {'agrees' if len(right) == 1 else 'agree'}."


def _evidence(sigma: float, problems: int) -> str:
    """What the proof came to."""
    over = "" if problems == 1 else f" of {problems} problems"
    how = f"to {number(sigma)} sigma" if sigma else "exactly"
    return f"The reference with this mistake reproduces every number{over} {how}."


def _telling_problem(causes: list[Found], others: Sequence[AnyProblem]) -> str | None:
    """The name of a problem for which the first cause gives other numbers than another."""
    for problem in others:
        first, *alternatives = (expected_named(found.name, problem) for found in causes)
        for alternative in alternatives:
            if first is not None and alternative is not None and _differ(first, alternative):
                return problem.case.name
    return None


def _differ(first: Expected, second: Expected) -> bool:
    """Whether two causes give h or c further apart than rounding could."""
    with np.errstate(all="ignore"):
        for name in first.keys() & {"h", "c"}:
            a, b = first[name], second[name]
            near = np.abs(a.value - b.value) <= LIMIT_SIGMA * (a.noise + b.noise)
            same = (np.isnan(a.value) & np.isnan(b.value)) | (a.value == b.value)
            if not (near | same).all():
                return True
    return False


def _apart(causes: list[Found], search: Search) -> Iterable[Found]:
    """The causes without those that are identical to one before: alike for a problem that no search has seen."""
    if not causes[1:]:
        return causes
    fresh = Seen(Observation(fresh_problem(search.first.problem), {}))
    wanted = set(search.first.observation.tensors)
    kept: list[Found] = []
    known: list[dict[str, Array]] = []
    for found in causes[:MOST_FOUND]:
        cause = found.cause
        try:
            values = values_with(fresh.problem, edits_of(fresh.like(cause), fresh.problem), wanted)
        except NoPlaceError:  # it needs sizes that are alike
            kept.append(found)
            continue
        if not any(_same(values, other) for other in known):
            kept.append(found)
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
