"""An observation as the search for causes sees it: what a cause gives there, how far that is, how much it repairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.tensors import BACKWARD, kind_of, lanes, name_of, turned
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.formats import FORMATS
from lockstep.harness.causes.interpret import base_of, expected_with, values_with, widened_with
from lockstep.harness.causes.network_run import OUTPUT, NetworkRun, label_of
from lockstep.harness.diagnosis.observation import FLIP_SIZE, Observation, close
from lockstep.harness.faults.deviation import Deviation, edits_of
from lockstep.harness.faults.table import find
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.noise import LIMIT_SIGMA

BETWEEN_LANES = frozenset(
    {"joined", OUTPUT, "finals", "finals of h", "finals of c"}
)  # sites whose edits move what belongs to one lane to another
AMPLIFIED = 10  # times the limit: up to there it is looked whether rounding is amplified

Cause = tuple[Deviation, ...]


class MissError(Exception):
    """A number differs."""


@dataclass
class EarlyStop:
    """Ends a run at the first number that differs, and counts how far it came."""

    observation: Observation
    flip: float = 0.0  # by how much, of values of 1 and more, rounding to a shorter format may put off
    passed: int = 0
    failed: str = ""  # the tensor in which a number differs first

    def tensor(self, name: str, value: Array) -> None:
        """Compare a whole tensor."""
        self._compare(name, ..., value)

    def step(self, name: str, t: Any, value: Array) -> None:
        """Compare one timestep."""
        self._compare(name, t, value)

    def _compare(self, name: str, rows: Any, value: Array) -> None:
        actual = self.observation.values.get(name)
        if actual is None:
            return
        near = self.observation.near[name][rows]
        if self.flip:
            near = np.maximum(near, self.flip * np.maximum(np.abs(actual[rows]), 1))
        if not close(actual[rows], value, near, 1.0):
            self.failed = name
            raise MissError
        self.passed += 1


@dataclass
class Seen:
    """An observation with what is known of it before the search."""

    observation: Observation
    base: NetworkRun | None = None  # a run without edits, of which lanes that no edit reaches are taken
    alike: bool = False  # whether its problem has the architecture of the one for which causes are made

    @classmethod
    def of(cls, observation: Observation) -> Seen:
        """What was returned before anything overflowed."""
        return cls(observation.finite, base_of(observation.finite.problem))

    @property
    def problem(self) -> AnyProblem:
        """What was run."""
        return self.observation.problem

    @cached_property
    def forward_names(self) -> set[str]:
        """The tensors that go forward."""
        return {name for name in self.observation.tensors if kind_of(name) not in BACKWARD}

    def like(self, cause: Cause) -> Cause:
        """The same deviations of this problem.

        Raises:
            NoPlaceError: If it has no place for one.
        """
        if self.alike:
            return cause
        # Scopes are sets of lanes, orders lists of them: another architecture has others.
        deviations = tuple(find(deviation.name, self.problem) for deviation in cause)
        if None in deviations:
            raise NoPlaceError
        return deviations  # type: ignore[return-value]

    def like_or_none(self, cause: Cause) -> Cause | None:
        """As ``like``; None where there is no place."""
        try:
            return self.like(cause)
        except NoPlaceError:
            return None

    def states_for(self, edits: Edits) -> Arrays | None:
        """The h and c that were returned, where they are the states that each step started from under these edits."""
        problem = self.problem
        # Past its end a sequence returns an h of 0, and its state is another.
        if isinstance(problem, DecoderProblem) or not problem.case.lstm.single or problem.lengths is not None:
            return None
        # What a piece starts from is handed over, and may be edited on the way.
        if problem.case.run.chunks is not None:
            return None
        if not {"h", "c"} <= self.observation.tensors.keys() or problem.case.lstm.direction != "forward":
            return None
        outside = any(site in _AFTER_THE_STATE for _, site in (*edits.changes, *edits.rules))
        return None if outside else self.observation.values

    def passes(self, cause: Cause) -> tuple[bool, EarlyStop]:
        """Whether values come near, and how far they came; first what goes forward is compared, then all.

        What has no place in the problem does not.
        """
        watcher = EarlyStop(self.observation, flip_of(form_of(cause)))
        if not self.observation.tensors:
            return True, watcher
        forward, all_names = self.forward_names, set(self.observation.tensors)
        with np.errstate(all="ignore"):
            try:
                edits = edits_of(cause, self.problem)
                # It takes less time, and refuses most causes.
                if forward and all(deviation.way == "forward" for deviation in cause):
                    states = self.states_for(edits)
                    values_with(self.problem, edits, forward, watcher, None if states else self.base, states)
                if forward != all_names:
                    values_with(self.problem, edits, all_names, watcher)
            except (MissError, NoPlaceError):
                return False, watcher
        return True, watcher

    def sigma(self, cause: Cause, *, widen: bool = True) -> float:
        """The distance from what a cause gives, with its noise; ``widen``: and with what it may amplify of it.

        Of several deviations those count that the problem has a place for; where there is none, what is right counts.
        """
        if not self.observation.tensors:
            return 0.0
        try:
            return self._sigma(self.like(cause), widen=widen)
        except NoPlaceError:
            fitting = fitting_in(self.problem, cause)
        return self._sigma(fitting, widen=widen) if fitting else self.distance

    def _sigma(self, cause: Cause, *, widen: bool) -> float:
        observation, names = self.observation, set(self.observation.tensors)
        edits, form = edits_of(cause, self.problem), form_of(cause)
        with np.errstate(all="ignore"):
            expected = expected_with(self.problem, edits, names)
            sigma = observation.distance(expected, form)
            states = self.states_for(edits)
            if not sigma <= LIMIT_SIGMA and states and names <= {"h", "c"}:
                # Amplified on the way, or wrong? Each step from the state that was observed tells.
                sigma = min(sigma, observation.distance(expected_with(self.problem, edits, names, states), form))
            # What is run so may amplify rounding beyond its first order, as the reference may.
            if widen and LIMIT_SIGMA < sigma <= AMPLIFIED * LIMIT_SIGMA:
                sigma = observation.distance(widened_with(self.problem, edits, expected), form)
        return sigma if math.isfinite(sigma) else math.inf

    def agrees_with(self, cause: Cause) -> bool:
        """Whether values come near, or as near as noise lets them."""
        try:
            if self.passes(self.like(cause))[0]:
                return True
        except NoPlaceError:
            pass
        return self.sigma(cause) <= LIMIT_SIGMA

    @cached_property
    def distance(self) -> float:
        """How far it is from what it should be, in sigma."""
        return self.observation.distance(self.observation.expected, None) if self.observation.tensors else 0.0

    @property
    def is_right(self) -> bool:
        """Whether what was returned is right."""
        return self.distance <= LIMIT_SIGMA

    def expected(self, cause: Cause) -> Expected:
        """What a cause gives, with its noise."""
        return expected_with(self.problem, edits_of(self.like(cause), self.problem), set(self.observation.tensors))

    @cached_property
    def wrong_in_a_step(self) -> set[str]:
        """Which of h and c are wrong where each step starts from the states that were returned, if it can."""
        edits = Edits()
        states = self.states_for(edits)
        if states is None:
            return set()
        values = values_with(self.problem, edits, {"h", "c"}, observed=states)
        near, actual = self.observation.near, self.observation.values
        return {name for name in "hc" if not close(actual[name], values[name], near[name], 1.0)}

    def goes_forward_wrong(self, cause: Cause) -> bool:
        """Whether a number that goes forward differs under a cause."""
        names = self.forward_names
        if not cause:
            parts = Observation(self.problem, {name: self.observation.tensors[name] for name in names})
            return bool(names) and not parts.distance(self.observation.expected, None) <= LIMIT_SIGMA
        return self._differing(cause, names) != set()

    def compared(self, cause: Cause) -> set[str]:
        """The tensors among which an explanation on top of a cause has to be looked for: what goes forward first."""
        return self.forward_names if self.goes_forward_wrong(cause) else set(self.observation.tensors)

    def _differing(self, cause: Cause, names: set[str]) -> set[str]:
        """Those tensors in which a number differs under a cause."""
        if not cause:
            observation = self.observation
            return {
                name
                for name in names
                if not Observation(self.problem, {name: observation.tensors[name]}).distance(observation.expected, None)
                <= LIMIT_SIGMA
            }
        try:
            with np.errstate(all="ignore"):
                values = values_with(self.problem, edits_of(self.like(cause), self.problem), names)
        except NoPlaceError:
            return names
        near, actual = self.observation.near, self.observation.values
        return {name for name, value in values.items() if not close(actual[name], value, near[name], 1.0)}

    def first_wrong(self, cause: Cause) -> tuple[str, set[str]] | None:
        """Of a network under a cause, the first lane of which a tensor is wrong, with its tensors.

        In the order of computation, and of lanes on the way back where all that goes forward is right. None where
        there are no lanes, or none is wrong; or where the cause moves outputs from one lane's place to another's.
        """
        if isinstance(self.problem, DecoderProblem) or self.problem.case.lstm.single:
            return None
        if any(deviation.site in BETWEEN_LANES for deviation in cause):
            return None
        lstm, forward = self.problem.case.lstm, self.goes_forward_wrong(cause)
        wrong = self._differing(cause, self.compared(cause))
        places = lanes(lstm) if forward else lanes(lstm)[::-1]
        kinds = ("i", "f", "g", "o", "h", "c", "h_n", "c_n") if forward else sorted(set(BACKWARD) - {"dx"})
        for place in places:
            names = {name_of(kind, place, lstm) for kind in kinds} & set(self.observation.tensors)
            if names & wrong:
                return label_of(place), names
        return None

    def first_wrong_place(self, cause: Cause) -> tuple[int, int]:
        """Where tensors (T, B, n) going forward differ first under a cause, of the first lane that does.

        The timestep, in the order in which its lane goes through them, and the sequence; 0 and 0 if none does. A lane
        of which there are final states alone shows in those above it that go the same way.
        """
        label, names = self.first_wrong(cause) or ("", self.forward_names)
        if label:
            lstm = self.problem.case.lstm
            above = [place for place in lanes(lstm) if place.reverse == label.endswith("r")]
            above = above[[label_of(place) for place in above].index(label) :]
            names = {name_of(kind, place, lstm) for kind in "hc" for place in above} & self.forward_names
        with np.errstate(all="ignore"):
            if cause:
                try:
                    values = values_with(self.problem, edits_of(self.like(cause), self.problem), names)
                except NoPlaceError:
                    return 0, 0
                # Of a cause values alone are known: how near a candidate has to come stands in for their noise.
                near: Arrays = self.observation.near
            else:
                expected = self.observation.expected
                values = {name: expected[name].value for name in names}
                near = {name: LIMIT_SIGMA * expected[name].noise for name in names}
            wrong = [
                ~(np.abs(self.observation.values[name] - value) <= near[name]).all(axis=-1)
                for name, value in values.items()
                if value.ndim == 3  # noqa: PLR2004 (T, B, n)
            ]
        differs = np.logical_or.reduce(wrong) if wrong else np.zeros((1, 1), bool)
        if not differs.any():
            return 0, 0
        if label.endswith("r") or (not label and self.problem.case.lstm.direction == "reverse"):
            differs = turned(differs[..., None], self.problem.lengths)[..., 0]
        timesteps, sequences = differs.nonzero()
        return int(timesteps.min()), int(sequences.min())


# Of a step that starts from the states that were returned: what changes h and not c, and what changes c. What is
# returned from elsewhere is in neither: then the states are not those.
OF_H = frozenset({
    "z.o", "o", "out.o", "out.u", "tanh.c", "u", "m", "h", "equation of h", "curve of o", "curve of u", "peep.o",
    "term.o", *(f"{group}.o" for group in ("W", "R", "b", "WR", "Wb", "Rb", "WRb")),
})  # fmt: skip
OF_C = frozenset({
    "keep.f", "keep.c", "add.i", "add.g", "raw", "c", "equation of c", "coupling of f",
    *(f"{site}{gate}" for gate in "ifg" for site in ("", "z.", "curve of ")),
    *(f"{group}.{gate}" for gate in "ifg" for group in ("W", "R", "b", "WR", "Wb", "Rb", "WRb")),
})  # fmt: skip


def fitting_in(problem: AnyProblem, cause: Sequence[Deviation]) -> Cause:
    """Those deviations of a cause that a problem has a place for, as they are there."""
    fitting = []
    for deviation in cause:
        there = find(deviation.name, problem)
        with suppress(NoPlaceError), np.errstate(all="ignore"):
            if there is not None:
                values_with(problem, edits_of([there], problem))
                fitting.append(there)
    return tuple(fitting)


# Edges that what is returned goes over after the state was taken: what comes out is no state then.
_AFTER_THE_STATE = frozenset({"h.out", "c.out", "h.seq", "c.seq", "returned", "resets when"})


def flip_of(form: str | None) -> float:
    """By how much, of values of 1 and more, rounding to a format may put off."""
    return 0.0 if form is None else FLIP_SIZE * 2.0 ** -FORMATS[form]


def form_of(cause: Sequence[Deviation]) -> str | None:
    """The coarsest number format that a cause rounds to; None if it rounds nothing."""
    forms = [deviation.form for deviation in cause if deviation.form]
    return min(forms, key=lambda form: FORMATS[form]) if forms else None
