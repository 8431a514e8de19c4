"""Deviations that explain observations of any form: one, one with a number or in part of a run, or several at once.

Evidence first: what goes forward wrong is not looked for on the way back, and of a network the first lane that is
wrong is explained before any other. Candidates run many at a time with values alone; those that are left are held
against every observation, with noise. Several at once are found by those that repair part of what differs.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import combinations, islice, zip_longest
from typing import Any, TypeVar

import numpy as np

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis import named_causes
from lockstep.harness.diagnosis.clock import Clock, seconds_of_search
from lockstep.harness.diagnosis.fit import plain_values, solve_many
from lockstep.harness.diagnosis.isolate import Ask, isolating
from lockstep.harness.diagnosis.named_causes import MOST_FOUND, Found, apart
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.screen import misses, outcomes
from lockstep.harness.diagnosis.seen import AMPLIFIED, OF_C, OF_H, Cause, Seen
from lockstep.harness.faults.deviation import FORWARD, Deviation, architecture_of
from lockstep.harness.faults.numbers import Numbered, numbered
from lockstep.harness.faults.table import backward_deviations, cuts, find, forward_deviations, in_part, resets
from lockstep.harness.faults.weight_edits import layout_deviations
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import TWO_BIASES, UNNAMED_TWO_BIASES

MOST_HALVES = 24  # singles that repair part, each tried with all others
MOST_THIRDS = 4  # of these that are gone on with to three, and of what each is then best with
MOST_ALIKE = 3  # of those that give the same numbers of one observation
MOST_NAMED = 6  # that are held against every observation
MOST_KINDS = 4  # of cases, in each of which one of two deviations may show alone
AT_ONCE = 512  # candidates between two looks at the clock
LARGE = 5_000  # numbers returned, above which an observation only confirms


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
    return [] if search is None else search.told(search.causes(several=several))


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
        self.partial: list[tuple[int, Deviation]] = []  # comparisons passed
        self.halves: list[Deviation] = []  # of the first alone
        self.until = math.inf  # on the clock of ``time.process_time``
        self._known_next: dict[Cause, list[Deviation]] = {}
        self._known_isolated: defaultdict[Cause, dict[int, list[Deviation]]] = defaultdict(dict)
        self.ask: Ask | None = None  # of a port that can be called: what it returns for further problems
        self.on_part: Callable[[str], None] = lambda words: None  # told what is looked for
        self.measuring: Callable[[Search], list[Found]] | None = None  # what explains with what is measured of a port

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

    @property
    def ended_facts(self) -> list[str]:
        """That time was up before all was tried, where it was."""
        if time.process_time() <= self.until:
            return []
        seconds = seconds_of_search()
        longer = f"lockstep check --search-seconds {10 * seconds:g} looks longer"
        return [f"the search for a cause was ended after {seconds:g} s of computing: {longer}"]

    @property
    def every(self) -> list[Seen]:
        """All that was observed."""
        return [self.first, *self.others, *self.large]

    def told(self, causes: list[Found], others: Sequence[AnyProblem] = ()) -> list[Diagnosis]:
        """Causes in words; ``others`` are problems by which those of the same numbers might be told apart."""
        return named_causes.told(causes, [seen.problem for seen in self.every], others, self.layout)

    def causes(self, *, several: bool = True) -> list[Found]:
        """Every cause of the simplest kind that explains."""
        clock = Clock("all", self.until)
        self.until = clock.end
        kinds: dict[str, Callable[[], list[Found]]] = {
            "one mistake": self.singles, "a state that is reset": self.resets,
            "one mistake with a number in it": self.with_numbers, "one mistake at some timesteps": self.in_part,
        }  # fmt: skip
        # To measure every lane of a network takes longer than to look for two deviations.
        problem = self.first.problem
        measured_first = not isinstance(problem, DecoderProblem) and problem.case.lstm.single
        many = {"two mistakes at once": self.pairs, "conventions, by measuring them": self.upon_measured}
        many = dict(reversed(many.items())) if measured_first else many
        if several:
            kinds |= many | {"three mistakes at once": self.triples}
        for words, kind in kinds.items():
            self.on_part(words)
            causes = self.confirmed(kind())
            if causes or clock.is_over:
                return causes
        return []

    def confirmed(self, causes: list[Found]) -> list[Found]:
        """Of those that are not identical, those that reproduce every observation, the largest too."""
        confirmed = []
        for cause in [each.cause for each in apart(causes, self.first.observation)][:MOST_NAMED]:
            # Parts that explain all by themselves need no company.
            parts = [part for size in range(1, len(cause)) for part in combinations(cause, size)]
            for explaining in (*parts, cause):
                sigma = self._sigma(explaining)
                if sigma <= self.limit:
                    confirmed.append(Found(explaining, sigma))
                    break
        return confirmed

    def _sigma(self, cause: Cause) -> float:
        """The largest distance over all observations, infinite as soon as it is beyond the limit."""
        worst = 0.0
        # Large ones come last: most causes are refused before their noise has to be computed.
        for seen in self.every:
            worst = max(worst, seen.sigma(cause))
            if not worst <= self.limit:
                return math.inf
        return worst

    def in_some_cases(self) -> list[Found]:
        """What explains all that is wrong, though it would show in cases that are right."""
        wrong = [seen for seen in self.every if not seen.distance <= self.limit]
        for half in self.halves:
            sigma = max(seen.sigma((half,)) for seen in wrong)
            if sigma <= self.limit:
                return [Found((half,), sigma, tuple(seen.problem.case.name for seen in wrong))]
        return []

    def explaining_most(self) -> tuple[Found, list[Observation]] | None:
        """What explains most of the cases, and those that it does not; None if it explains few."""
        best: tuple[Found, list[Observation]] | None = None
        for half in self.halves[:MOST_FOUND]:
            sigmas = [seen.sigma((half,)) for seen in self.every]
            left = [seen.observation for seen, sigma in zip(self.every, sigmas, strict=True) if not sigma <= self.limit]
            if 2 * len(left) < len(self.every) and (best is None or len(left) < len(best[1])):
                best = Found((half,), max(sigma for sigma in sigmas if sigma <= self.limit)), left
        return best

    # -- one -----------------------------------------------------------------------------------------------------

    def singles(self, base: Cause = ()) -> list[Found]:
        """Single deviations that on top of a base explain everything; those of the widest scope that does."""
        clock = Clock("singles", self.until)
        deviations = self._possible(self._candidates(self.first, base), self.first, base)
        parts = [deviation for deviation in deviations if deviation.scope.name or deviation.scope.steps]
        whole = [deviation for deviation in deviations if not (deviation.scope.name or deviation.scope.steps)]
        # What was found before the narrower scopes come is kept to the widest.
        return self._explaining(whole, clock, base) or self._explaining(parts, clock, base)

    def upon(self, base: Cause, clock: Clock) -> list[Found]:
        """What on top of measured deviations explains everything: nothing, one, one with a number."""
        causes: list[Found] = []
        self._try(base, causes)
        candidates = self._possible(self._candidates(self.first, base), self.first, base)
        causes = self.confirmed(causes) or self.confirmed(self._explaining(candidates, clock, base))
        return causes or ([] if clock.is_over else self.confirmed(self.with_numbers(base)))

    def _explaining(
        self, deviations: Iterable[Deviation], clock: Clock, base: Cause = (), target: Seen | None = None
    ) -> list[Found]:
        """Those deviations that explain everything on top of a base; ``target`` is asked first."""
        first, causes = target or self.first, []
        doubtful: list[Cause] = []  # within what rounding may be amplified to, which takes long to compute
        names = first.compared(base)
        right = outcomes(first, [first.like(base)], names)[0]
        for chunk in _chunks(deviations, AT_ONCE):
            for deviation, outcome in zip(chunk, self._outcomes(first, base, chunk, names), strict=True):
                if outcome is None or outcome.passes:
                    self._try((*base, deviation), causes, target, doubtful)
                # It puts off the first number that differs: it may be one of several.
                elif not base and right and outcome.passed > right.passed:
                    self.partial.append((outcome.passed, deviation))
                if len(causes) >= MOST_FOUND:
                    return causes
                # One that has to be run alone takes as long as many that are run together.
                if (outcome is None or outcome.passes) and clock.is_over:
                    break
            if clock.is_over:
                break
        for cause in doubtful if not causes else ():
            if clock.is_over:
                break
            self._try(cause, causes, target)
        return causes

    def _outcomes(
        self, seen: Seen, base: Cause, deviations: Sequence[Deviation], names: set[str], *, counts: bool = False
    ) -> list[Any]:
        if seen.alike:
            return outcomes(seen, [(*base, deviation) for deviation in deviations], names, counts=counts)
        like = [seen.like_or_none((*base, deviation)) for deviation in deviations]
        compared = iter(outcomes(seen, [cause for cause in like if cause is not None], names, counts=counts))
        return [None if cause is None else next(compared) for cause in like]

    def _candidates(self, seen: Seen, base: Cause = ()) -> list[Deviation]:
        """Those that may reach what differs first under a base."""
        # An observation with lengths has deviations that one without has not.
        problem = seen.problem if seen.alike else self.first.problem
        taken = {(deviation.site, deviation.scope) for deviation in base}
        if not seen.goes_forward_wrong(base):
            return [d for d in backward_deviations(problem) if (d.site, d.scope) not in taken]
        of_layout = (
            layout_deviations(problem, self.layout) if self.layout not in {"canonical", UNNAMED_TWO_BIASES} else ()
        )
        of_step = seen.wrong_in_a_step if not base else set()
        # Where c is wrong in a step already, what makes h of it is not the cause; where h alone is wrong, c is right.
        beside = OF_H if "c" in of_step else OF_C if of_step else frozenset()
        return [
            deviation
            for deviation in (*of_layout, *forward_deviations(problem))
            # A format that h is rounded to, h0 is rounded to as well: of that the first c is wrong.
            if (deviation.form or deviation.site not in beside)
            and self._fits(deviation)
            and (deviation.site, deviation.scope) not in taken
        ]

    def _fits(self, deviation: Deviation | Numbered) -> bool:
        return deviation.site not in OF_TWO_BIASES or self.layout in TWO_BIASES

    def _possible(self, deviations: list[Deviation], seen: Seen, base: Cause) -> list[Deviation]:
        """Of a network, those that in the first lane that is wrong give what was returned of it.

        Whatever other lanes it holds in, there an edit does what it does in the lane alone.
        """
        wrong = seen.first_wrong(base) if seen.alike else None
        if wrong is None:
            return deviations
        label, names = wrong
        alone = [deviation for deviation in deviations if deviation.scope.lanes == (label,)]
        compared = outcomes(seen, [(*base, deviation) for deviation in alone], names)
        giving = {
            _without_lanes(deviation)
            for deviation, outcome in zip(alone, compared, strict=True)
            if outcome is None or outcome.passes
        }
        return [
            deviation
            for deviation in deviations
            if deviation.scope.lanes == ("",)
            or (deviation.site in FROM_BELOW and _before(label, deviation))
            or (label in deviation.scope.lanes and _without_lanes(deviation) in giving)
        ]

    def _try(
        self, cause: Cause, causes: list[Found], target: Seen | None = None, doubtful: list[Cause] | None = None
    ) -> None:
        """Put a cause beside those found, if every observation agrees with it; ``target`` is asked first.

        Where it would only by what it may amplify of rounding it is put beside those that are doubtful, if asked for.
        """
        first = target or self.first
        try:
            passes, watcher = first.passes(first.like(cause))
        except NoPlaceError:
            return
        if not passes:
            if target is None and len(cause) == 1 and watcher.passed > self.passed:
                self.partial.append((watcher.passed, cause[0]))
            return
        if not all(seen.agrees_with(cause) for seen in (self.first, *self.others) if seen is not first):
            if target is None and len(cause) == 1:
                self.halves.append(cause[0])
            return
        sigma = first.sigma(cause, widen=doubtful is None)
        if sigma <= self.limit:
            causes.append(Found(cause, sigma))
        elif doubtful is not None and sigma <= AMPLIFIED * self.limit:
            doubtful.append(cause)

    @property
    def passed(self) -> int:
        """How many comparisons of the first observation pass without any deviation."""
        if self._passed is None:
            with np.errstate(all="ignore"):
                self._passed = self.first.passes(())[1].passed
        return self._passed

    _passed: int | None = None

    def with_numbers(self, before: Cause = ()) -> list[Found]:
        """Edits with a number that is solved for, and a plain number near it where that explains as well."""
        seen = self.first
        if not seen.goes_forward_wrong(()):
            return []
        clock, causes = Clock("numbers", self.until), []
        wrong = seen.first_wrong(())
        label, names = wrong or ("", seen.forward_names)
        rows = [row for row in numbered(seen.problem) if self._fits(row) and (not label or label in row.scope.lanes)]
        alone = [row for row in rows if not label or row.scope.lanes == (label,)]
        for row, number in self._solved(alone, names, before, clock):
            for wider in [each for each in rows if (each.site, each.edit) == (row.site, row.edit)]:
                # 0.1 rather than 0.0999997, where both explain.
                for plain in plain_values(number):
                    count = len(causes)
                    self._try((*before, wider.at(plain)), causes)
                    if len(causes) > count:
                        break
        return causes

    def _solved(
        self, rows: list[Numbered], names: set[str], before: Cause, clock: Clock
    ) -> Iterator[tuple[Numbered, float]]:
        """Rows with the number at which what they give is nearest to what was returned, the nearest first."""
        pairs = [(row, start) for row in rows for start in row.starts]

        def misses_at(which: Sequence[int], numbers: Sequence[float]) -> list[Any]:
            at = [(*before, pairs[k][0].at(number)) for k, number in zip(which, numbers, strict=True)]
            return misses(self.first, at, names)

        solved = solve_many(misses_at, [start for _, start in pairs], lambda: clock.is_over)
        for k, number in solved:
            yield pairs[k][0], number

    def resets(self) -> list[Found]:
        """States that are reset about the first timestep that differs, or gradients that are cut."""
        problem = self.first.problem
        forward = self.first.goes_forward_wrong(())
        parts = resets(problem, self.first.first_wrong_place(())[0]) if forward else cuts(problem)
        return self._explaining(parts, Clock("in part", self.until))

    def in_part(self) -> list[Found]:
        """Deviations at some timesteps, or in some sequences, that the first difference points to."""
        if not self.first.goes_forward_wrong(()):
            return []
        parts = [d for d in in_part(self.first.problem, *self.first.first_wrong_place(())) if self._fits(d)]
        return self._explaining(self._possible(parts, self.first, ()), Clock("in part", self.until))

    # -- several -------------------------------------------------------------------------------------------------

    def upon_measured(self) -> list[Found]:
        """What explains with conventions that are measured in a port: several at once take no longer than one."""
        return [] if self.measuring is None else self.measuring(self)

    def pairs(self) -> list[Found]:
        """Two deviations at once: one that explains some cases or repairs part of one, and any other."""
        clock = Clock("pairs", self.until)
        tried: set[str] = set()
        for half, target in self._halves(clock):
            if half.name in tried:
                continue
            tried.add(half.name)
            causes = self._completed((half,), target, clock)
            if causes or clock.is_over:
                return causes
        return []

    def triples(self) -> list[Found]:
        """Three at once: each time what shows alone somewhere, or repairs most of what is left."""
        clock = Clock("triples", self.until)
        for half in self._next(()):
            for second in self._next((half,)):
                two: list[Found] = []
                self._try((half, second), two)
                if two:
                    return two
                causes = self._completed((half, second), self.first, clock)
                if causes or clock.is_over:
                    return causes
        return []

    def _next(self, base: Cause) -> list[Deviation]:
        """What to go on with from a base, towards three at once."""
        if base not in self._known_next:
            clock = Clock("next", self.until)
            shown, repairing = self._isolated_upon(base, clock), self._repairing(base, clock)
            self._known_next[base] = [*shown[:MOST_THIRDS], *repairing[:MOST_THIRDS]]
        return self._known_next[base]

    def _completed(self, base: Cause, target: Seen, clock: Clock) -> list[Found]:
        """What beside a base explains everything; nothing of a target that has no place for the base."""
        if target.like_or_none(base) is None:
            return []
        whole = self._possible(self._candidates(target, base), target, base)
        causes = self._explaining(whole, clock, base, target)
        place = target.first_wrong_place(base) if not causes and target.goes_forward_wrong(base) else (0, 0)
        if place == (0, 0) or not target.alike or clock.is_over:
            return causes
        parts = [deviation for deviation in in_part(target.problem, *place) if self._fits(deviation)]
        return self._explaining(self._possible(parts, target, base), clock, base, target)

    def _halves(self, clock: Clock) -> Iterator[tuple[Deviation, Seen]]:
        """What explains a case alone, puts off the first number that differs, or gives more of the numbers.

        Each with the observation that it leaves to explain.
        """
        for seen in (None, *self._of_other_kinds()):
            halves = self.halves if seen is None else self._explaining_alone(seen, clock)
            # A short format lets nearly everything pass in a case that shows little.
            halves = sorted(halves, key=lambda half: bool(half.form))
            alone = apart([Found((half,), 0.0) for half in halves[:MOST_FOUND]], self.first.observation)
            for half in alone[:MOST_HALVES]:
                left = next((s for s in (self.first, *self.others) if not s.agrees_with(half.cause)), None)
                if left is not None:
                    yield half.cause[0], left
        yield from self._shown_alone(clock)
        yield from ((half, self.first) for half in self._repairing_outputs((), clock))
        yield from self._going_further(clock)

    def _shown_alone(self, clock: Clock) -> Iterator[tuple[Deviation, Seen]]:
        """What shows alone where parts are silent."""
        for half in self._isolated((), clock):
            yield half, next((s for s in (self.first, *self.others) if not s.agrees_with((half,))), self.first)

    def _going_further(self, clock: Clock) -> Iterator[tuple[Deviation, Seen]]:
        """What puts off the first number that differs, or gives more of the numbers."""
        # Of those that come equally far, the narrowest: a wider one spoils what is right elsewhere.
        order = sorted(self.partial, key=lambda item: (-item[0], len(item[1].scope.lanes)))
        repairing = self._repairing((), clock)
        for far, more in zip_longest(order[:MOST_HALVES], repairing):
            if far is not None:
                yield far[1], self.first
            if more is not None:
                yield more, self.first

    @cached_property
    def isolated(self) -> list[Seen]:
        """What a port that can be called returns where parts of the computation are silent."""
        observations = [] if self.ask is None else self.ask(list(isolating(self.first.problem)))
        isolated = [Seen.of(observation) for observation in observations]
        for seen in isolated:
            seen.alike = True
        return isolated

    def _isolated_upon(self, base: Cause, clock: Clock) -> list[Deviation]:
        """Deviations that on top of a base show alone where parts are silent; those first that explain most of it."""
        halves = {half.name: half for half in self._isolated(base, clock)}
        scores = dict.fromkeys(halves, 0)
        for seen in self.isolated:
            compared = outcomes(seen, [(*base, half) for half in halves.values()], seen.compared(base))
            for name, outcome in zip(halves, compared, strict=True):
                scores[name] += bool(outcome and outcome.passes)
        best = sorted(halves, key=lambda name: (-scores[name], len(halves[name].scope.lanes)))
        return [halves[name] for name in best[:MOST_HALVES]]

    def _isolated(self, base: Cause, clock: Clock) -> Iterator[Deviation]:
        """Deviations that on top of a base show alone where parts are silent, as they are found."""
        known = self._known_isolated[base]
        for k, seen in enumerate(self.isolated):
            if k not in known:
                if clock.is_over:
                    return
                right = seen.agrees_with(base)
                known[k] = [] if right else self._explaining_alone(seen, clock, base)
            yield from known[k][:MOST_ALIKE]

    def _of_other_kinds(self) -> list[Seen]:
        """Wrong observations, small ones of other kinds than the first: what one deviation leaves alone in some."""
        kinds = {_kind(self.first): self.first}
        for seen in self.others:
            if seen.alike and not seen.is_right:
                kinds.setdefault(_kind(seen), seen)
        return list(kinds.values())[1 : MOST_KINDS + 1]

    def _explaining_alone(self, seen: Seen, clock: Clock, base: Cause = ()) -> list[Deviation]:
        """Single deviations that on top of a base explain one observation."""
        alone = Search(seen, [], self.limit, layout=self.layout)
        alone.until = clock.end
        return [explaining.cause[-1] for explaining in alone.singles(base)]

    def _repairing(self, base: Cause, clock: Clock) -> list[Deviation]:
        """Those on top of a base that give more of the numbers than it does, the best first; few of each effect."""
        seen = self.first
        every = [d for d in self._candidates(seen, base) if not (d.form or d.scope.steps)]
        wrong = seen.first_wrong(base)
        if wrong is None:
            return self._most_repairing(base, every, seen.compared(base), clock)
        label, names = wrong
        of_lane = self._most_repairing(base, [d for d in every if d.scope.lanes == (label,)], names, clock)
        whole = self._repairing_outputs(base, clock) if base else []
        return [*whole, *(deviation for each in of_lane for deviation in self._widened(each))]

    def _repairing_outputs(self, base: Cause, clock: Clock) -> list[Deviation]:
        """Of those that belong to no lane, and move whole outputs, what gives more of all numbers."""
        of_none = [d for d in self._candidates(self.first, base) if d.scope.lanes == ("",)]
        return self._most_repairing(base, of_none, self.first.compared(base), clock)[:MOST_ALIKE]

    def _most_repairing(
        self, base: Cause, candidates: Sequence[Deviation], names: set[str], clock: Clock
    ) -> list[Deviation]:  # fmt: skip
        """Those candidates that on top of a base give more of some tensors' numbers than it does."""
        seen = self.first
        before = outcomes(seen, [base], names, counts=True)[0]
        best: defaultdict[tuple[int, float], list[Found]] = defaultdict(list)
        for chunk in _chunks(candidates, AT_ONCE):
            for deviation, outcome in zip(chunk, self._outcomes(seen, base, chunk, names, counts=True), strict=True):
                if outcome and before and outcome.repaired > before.repaired:
                    best[-outcome.repaired, outcome.effect].append(Found((deviation,), 0.0))
            if clock.is_over:
                break
        repairing = []
        for effect in sorted(best)[:MOST_HALVES]:
            # What is alike in this observation may differ in others.
            repairing += [each.cause[0] for each in apart(best[effect], seen.observation)][:MOST_ALIKE]
        return repairing

    def _widened(self, narrow: Deviation) -> Iterator[Deviation]:
        """A deviation of one lane as it would be everywhere, and as it is."""
        everywhere = find(f"{narrow.site}:{narrow.edit}".replace(" ", "-"), self.first.problem)
        if everywhere is not None and everywhere.scope.lanes != narrow.scope.lanes:
            yield everywhere
        yield narrow


# Sites whose edits may show first in the lane above, or in the one that comes before it on the way back: final states,
# which may be all that is returned of a lower layer, can be right where its sequence is wrong.
FROM_BELOW = frozenset({
    "h.up", "h.up and h.out", "the step", "d x and h_in",
    "up.seq", "h.seq", "h.seq and c.seq", "h.out", "h.out and c.out", "order of the run", "turn", "turn out",
    "past the end", "lengths", "lengths of the run", "lengths that cut", "lengths that turn", "returned",
    "d x", "d h.up",
})  # fmt: skip
OF_TWO_BIASES = frozenset({"b_ih", "b_hh"})  # sites that only layouts with two biases have
Item = TypeVar("Item")


def _before(label: str, deviation: Deviation) -> bool:
    """Whether a deviation holds in a layer from which a lane takes something in, going its way."""
    layers = {int(lane.rstrip("r")) for lane in deviation.scope.lanes}
    layer = int(label.rstrip("r"))
    return min(layers) < layer if deviation.way == FORWARD else max(layers) > layer


def _without_lanes(deviation: Deviation) -> tuple[str, ...]:
    return deviation.site, deviation.edit, deviation.scope.steps, str(deviation.scope.first_sequence)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _shapeless(architecture: tuple[Any, ...]) -> tuple[Any, ...]:
    """What of an architecture scopes and orders depend on."""
    return architecture[:3]


def _kind(seen: Seen) -> tuple[bool, ...]:
    """What decides whether a deviation shows at all: lengths, and what there are several of."""
    T, B, I, H = seen.problem.case.shape
    return seen.problem.lengths is not None, T > 1, B > 1, H > 1, I == H


def _depth(seen: Seen) -> int:
    return seen.problem.case.lstm.num_layers


def _size(seen: Seen) -> int:
    return sum(array.size for array in seen.observation.tensors.values())
