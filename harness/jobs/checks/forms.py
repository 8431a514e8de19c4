"""The forms of cases that a port is checked over: how it is asked, what its calls show, how its faults are explained.

``harness.jobs.check`` is one pipeline for all of them; what differs from form to form is here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import numpy as np

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import close
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case, ContextUse
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.behaviour import Repeats, behaviour
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.problems import FRESH_SEED, reseeded
from lockstep.harness.ports.port import AnyPort
from lockstep.harness.reference.attention import expect_decoder

if TYPE_CHECKING:
    from lockstep.harness.diagnosis.isolate import Ask
    from lockstep.harness.diagnosis.sharing import Unshared

MEASURING_SECONDS = 6.0  # of calls, that a measurement is waited for
SLOW_SECONDS = 0.1  # that a call may take, for a port to be called as often as it tells something
MOST_SECONDS_A_QUESTION = 0.5  # that a call may take, for a port to be asked where several mistakes are looked for
LEAST_CALLS = 24  # that are made however long each takes: enough for curves and for the use of each array
MOST_SLOW_CALLS = 60  # of a slow port, in a whole check
LONG = 100  # timesteps above which a case only confirms what smaller ones show
MOST_SECONDS_TO_CONFIRM = 1.0  # that such a case may take where smaller ones diverge
REPEATED = 3  # calls of a form beside one for each case: the first problem twice more, and a stranger
MOST_SLOW_FRESH = 2  # fresh problems of a form that such a port's explanation is held against


@dataclass(frozen=True)
class Checking:
    """One form's share of a check: what was asked, and what came of it."""

    port: AnyPort
    problems: list[AnyProblem]
    outcomes: list[Outcome]  # one for each problem
    repeated: list[Outcome]  # of the first problem: asked first, after a stranger, and when all others were through
    stranger: tuple[AnyProblem, Outcome]  # of other numbers in the same shapes, asked after the first
    runs: list[RunResult]  # one for each problem
    again: list[RunResult]  # one for each repeated call
    measure: bool  # whether a port that no named fault explains is measured
    on_part: Callable[[str], None] = lambda words: None  # told what is looked for as a cause
    later: int = 0  # calls that other forms have yet to take

    def with_runs(self, runs: list[RunResult]) -> Checking:
        """The same with other results."""
        return replace(self, runs=runs)

    @property
    def observations(self) -> list[Observation]:
        """What was returned, by lane, where anything was."""
        return observed(self.problems, self.outcomes)

    @property
    def ask(self) -> Ask | None:
        """What the port returns for further problems; None where it takes long, or is not to be asked."""
        if not self.measure or self.seconds > MOST_SECONDS_A_QUESTION:
            return None

        def ask(problems: list[AnyProblem]) -> list[Observation]:
            there_is_room_for = problems[: self._slow_calls_left] if self.is_slow else problems
            return observed(there_is_room_for, self.port.call(there_is_room_for))

        return ask

    @property
    def repeats(self) -> Repeats:
        """The calls that show what is kept from one to the next."""
        problem, (other_problem, other_outcome) = self.problems[0], self.stranger
        replies = tuple(_tensors(outcome, problem) for outcome in self.repeated)
        return Repeats(problem, replies, other_problem, _tensors(other_outcome, other_problem))

    @property
    def seconds(self) -> float:
        """The median of what a call takes."""
        return float(np.median([outcome.seconds.get("run", 0.0) for outcome in self.outcomes]))

    @property
    def is_slow(self) -> bool:
        """Whether each call is waited for."""
        return self.seconds > SLOW_SECONDS

    @property
    def most_calls(self) -> int:
        """How many calls of a measurement are waited for."""
        calls = max(LEAST_CALLS, int(MEASURING_SECONDS / max(self.seconds, 1e-6)))
        return min(calls, self._slow_calls_left) if self.is_slow else calls

    @property
    def calls_until(self) -> int:
        """How many calls there are in all, before those that hold an explanation against fresh problems."""
        return MOST_SLOW_CALLS - self.later - MOST_SLOW_FRESH if self.is_slow else sys.maxsize

    @property
    def _slow_calls_left(self) -> int:
        return max(0, self.calls_until - self.port.calls)

    def fresh(self, problems: list[AnyProblem]) -> list[AnyProblem]:
        """Those of fresh problems that an explanation is held against: few of a port that is slow."""
        return problems[:MOST_SLOW_FRESH] if self.is_slow else problems


def seconds_at(timesteps: int, problems: Sequence[AnyProblem], outcomes: Sequence[Outcome]) -> float:
    """What a call of so many timesteps would take, by how calls of other lengths grew; 0 where nothing ran."""
    taken = [
        (problem.case.run.timesteps, outcome.seconds["run"])
        for problem, outcome in zip(problems, outcomes, strict=True)
        if outcome.trace is not None and "run" in outcome.seconds
    ]
    # The median of all slopes: a first call that compiles, or one that was interrupted, does not count.
    slopes = [(b - a) / (long - short) for short, a in taken for long, b in taken if long > short]
    return timesteps * max(float(np.median(slopes)), 0.0) if slopes else 0.0


def _tensors(outcome: Outcome, problem: AnyProblem) -> Arrays | None:
    return None if outcome.trace is None else outcome.trace.tensors(problem.case)


def observed(problems: Sequence[AnyProblem], outcomes: Sequence[Outcome]) -> list[Observation]:
    """What was returned for problems, by lane, where anything was."""
    return [
        Observation(problem, outcome.trace.tensors(problem.case))
        for problem, outcome in zip(problems, outcomes, strict=True)
        if outcome.trace is not None
    ]


class Networks:
    """Stacks and directions, gradients, half precision: all that is not one plain layer."""

    def problem(self, case: Case) -> AnyProblem:
        """The problem of a case as a port is given it."""
        return Problem.from_case(case)

    def fresh(self, problem: AnyProblem) -> AnyProblem:
        """A problem of the same form with numbers that no search has seen."""
        return Problem.from_case(reseeded(problem.case, FRESH_SEED))

    def stranger(self, problem: AnyProblem) -> AnyProblem:
        """A problem of the same shapes with other numbers throughout: what is kept of the call before shows in it."""
        run = problem.case.run
        changes: dict[str, Any] = {"seed": run.seed + FRESH_SEED}
        changes |= dict.fromkeys(("weights", "inputs", "initial_state"), "probe")
        return problem_of(
            msgspec.structs.replace(problem.case, run=msgspec.structs.replace(run, **changes), expect=None)
        )

    def remembered(self, checking: Checking) -> Diagnosis | None:
        """What a port keeps from call to call, or that it is random; None where its calls are alike, or all right."""
        return behaviour(checking.repeats, [run.status != "diverge" for run in checking.again])

    def repeats_closely(self, checking: Checking, cause: Diagnosis) -> bool:
        """Whether repeated calls differ by no more than rounding could, though not by rounding alone."""
        del checking, cause
        return False

    def not_shared(self, checking: Checking) -> list[Unshared]:
        """Weights that some steps do not use, though the numbers may agree."""
        del checking
        return []


class Decoders(Networks):
    """Attention decoders, which a port runs forward alone."""

    def problem(self, case: Case) -> AnyProblem:
        """The problem of a case without gradients, with encoder outputs in the place of an encoder."""
        return as_given(DecoderProblem.from_case(case))

    def fresh(self, problem: AnyProblem) -> AnyProblem:
        """A problem of the same form with numbers that no search has seen, weights that are all alike replaced too."""
        run = problem.case.run
        changes: dict[str, Any] = {"seed": run.seed + FRESH_SEED}
        changes |= {key: "probe" for key in ("weights", "inputs") if run.values(key).kind in {"ones", "zeros"}}
        fresh_run = msgspec.structs.replace(run, **changes)
        return DecoderProblem.from_case(msgspec.structs.replace(problem.case, run=fresh_run))

    def not_shared(self, checking: Checking) -> list[Unshared]:
        """Weights that some steps do not use, though the numbers may agree; none where calls do not repeat."""
        runs = checking.runs
        if runs[0].repeatable is False and runs[0].status != "agree":
            return []
        answered = next((k for k, run in enumerate(runs) if run.status in {"agree", "diverge"}), None)
        if answered is None:
            return []
        problem = checking.problems[answered]
        assert isinstance(problem, DecoderProblem)
        from lockstep.harness.diagnosis.sharing import unshared

        return unshared(checking.port, problem)


def as_given(problem: DecoderProblem) -> DecoderProblem:
    """A problem as a port gets it: forward alone, with encoder outputs in the place of an encoder."""
    case, weights = problem.case, problem.weights
    decoder, enc = problem.decoder, problem.enc
    if enc is None:
        outputs = expect_decoder(problem)["enc"]
        enc = (outputs.value + outputs.rest).astype(dtype_of(case.run.dtype))
        size = decoder.width(case.lstm)
        decoder = msgspec.structs.replace(decoder, encoder=None, source_size=size)
    run = msgspec.structs.replace(case.run, gradients=False, cotangents=None)
    arrays = {name: array for name, array in weights.arrays().items() if not name.endswith("_encoder")}
    case = msgspec.structs.replace(case, attention_decoder=decoder, run=run, expect=None)
    p = problem
    return DecoderProblem(case, type(weights)(**arrays), p.h0, p.c0, p.y0, enc=enc, lengths=p.lengths)


class PlainLayers(Networks):
    """One plain layer in one direction, forward alone: what the catalogue of faults describes, and can be measured."""

    def repeats_closely(self, checking: Checking, cause: Diagnosis) -> bool:
        """Whether repeated calls differ by no more than rounding could, though not by rounding alone."""
        traces = [outcome.trace for outcome in checking.repeated]
        if cause.sigma is not None or traces[0] is None:
            return False
        first = traces[0].tensors()
        return all(trace is not None and close(first, trace.tensors()) for trace in traces[1:])


# A decoder whose cell takes in the context is another: what is wrong in one has no place in the other.
_DECODERS = {context: Decoders() for context in get_args(ContextUse)}
_PLAIN_LAYERS, _NETWORKS = PlainLayers(), Networks()


def form_of(case: Case) -> Networks:
    """The form of a case."""
    if case.attention_decoder is not None:
        return _DECODERS[case.attention_decoder.context]
    return _PLAIN_LAYERS if case.plain else _NETWORKS
