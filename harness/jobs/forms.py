"""The forms of cases that a port is checked over: how it is asked, what its calls show, how its faults are explained.

``harness.jobs.check`` is one pipeline for all of them; what differs from form to form is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import close
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case, ContextUse
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.anatomy.anatomy import curve_facts, explain_measured, independent
from lockstep.harness.diagnosis.anatomy.kernel_use import T, scales, unused
from lockstep.harness.diagnosis.anatomy.lanes import measured_causes
from lockstep.harness.diagnosis.anatomy.precision import measure_precision, narrow
from lockstep.harness.diagnosis.behaviour import Repeats, behaviour, differs_by_step, dropped, made_anew, over_the_batch
from lockstep.harness.diagnosis.diagnose import MEASURED_MAP, Measuring, diagnose_found, diagnose_runs
from lockstep.harness.diagnosis.explain_causes import Search
from lockstep.harness.diagnosis.isolate import Ask
from lockstep.harness.diagnosis.named_causes import ONLY_IN, holding
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.sharing import Unshared, diagnosis_of, unshared, values_of
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED, Known, known_of, unexplained
from lockstep.harness.jobs.measure import LimitedCalls, PortBlackBox
from lockstep.harness.jobs.problems import FRESH_SEED, reseeded
from lockstep.harness.ports.port import AnyPort
from lockstep.harness.reference.attention import expect_decoder
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import counted, number

MEASURING_SECONDS = 60.0  # of calls, that a measurement is waited for
MOST_SECONDS_A_QUESTION = 0.5  # that a call may take, for a port to be asked where several mistakes are looked for
LEAST_CALLS = 24  # that are made however long each takes: enough for curves and for the use of each array
MOST_SCALED = 12  # timesteps of which it is measured how often x counts
HELD_AGAINST = (
    "probe",
    "batch",
    "lengths",
    "one-timestep",
    "chunks",
)  # cases whose fresh numbers an explanation is held against
Causes = dict[str, list[Diagnosis]]  # by the name of the case


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
        return lambda problems: observed(problems, self.port.call(problems))

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
    def most_calls(self) -> int:
        """How many calls of a measurement are waited for."""
        return max(LEAST_CALLS, int(MEASURING_SECONDS / max(self.seconds, 1e-6)))


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

    def explain(self, checking: Checking, not_shared: Sequence[Unshared]) -> Causes:
        """The causes of what diverges, by case; what fresh numbers speak against is dropped."""
        del not_shared
        runs, observations = checking.runs, checking.observations
        causes = diagnose_runs(
            observations, runs, layout=checking.port.layout, ask=checking.ask, measuring=self._measuring(checking),
            on_part=checking.on_part,
        )  # fmt: skip
        # What the reference reproduces was found among many candidates: it must hold for other numbers too.
        doubtful = {case for case, diagnosis in causes.items() if diagnosis and diagnosis[0].site}
        problems = [
            self.fresh(observation.problem) for observation in observations if observation.problem.case.name in doubtful
        ]
        again = observed(problems, checking.port.call(problems)) if problems else []
        if again:
            held = holding({match.fault for case in doubtful for match in causes[case]}, again)
            for case in doubtful:
                matches = [match for match in causes[case] if match.fault in held]
                causes[case] = matches or [unexplained(observations, runs)]
        return causes

    def _measuring(self, checking: Checking) -> Measuring | None:
        """What explains with what is measured in lanes; None where the port takes long, or is not to be asked."""
        port = checking.port
        if checking.ask is None:
            return None
        return lambda search: measured_causes(LimitedCalls(port, checking.most_calls), search, name=port.name)


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
        return unshared(checking.port, problem)

    def explain(self, checking: Checking, not_shared: Sequence[Unshared]) -> Causes:
        """As of networks; weights that are not shared are the cause of all that diverges, where there are any."""
        if not not_shared:
            return super().explain(checking, not_shared)
        # All of them at once: each alone reproduces nothing where there are others.
        values = None
        if any(run.first_divergence is not None for run in checking.runs):
            values = values_of([name for weights in not_shared for name in weights.names], checking.observations)
        causes = [diagnosis_of(weights, values) for weights in not_shared]
        return {run.case: causes for run in checking.runs}


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

    def explain(self, checking: Checking, not_shared: Sequence[Unshared]) -> Causes:
        """The causes of what diverges, the same for all cases."""
        del not_shared
        diagnosis = self._explain(checking)
        return {run.case: diagnosis for run in checking.runs}

    def _explain(self, checking: Checking) -> list[Diagnosis]:
        """Explain what was seen, and hold the explanation against numbers that no search has seen."""
        observations, measure = checking.observations, checking.measure
        others = _shipped_problems()
        search = Search.of(observations, LIMIT_SIGMA, layout=checking.port.layout)
        if search is not None:
            search.ask = checking.ask
        causes = diagnose_found(search, observations, checking.runs, others=others, pairs=not measure)
        if not causes:  # all is within rounding: the limit that it is beyond is somebody's own
            return []
        unknown = causes[0]
        known = known_of(observations, checking.runs)
        if measure and unknown.fault == UNEXPLAINED and known.finite_steps is None:
            calls = checking.most_calls
            port = PortBlackBox(checking.port, calls=calls)
            # From what proves most with the fewest calls to what only measures: each where those before find nothing.
            causes = (
                _beside_the_algebra(port, observations, known)
                or _several(search, "pairs", others)
                or explain_measured(port, observations, others)
                or _several(search, "triples", others)
                or _measured(port, observations)
                or [_with_facts(unknown, curve_facts(port))]
            )
            if port.refused and causes[0].fault == UNEXPLAINED:
                causes = [_with_facts(causes[0], [_refused(port, calls, checking.seconds)])]
        provable = causes[0].proof and not causes[0].proof.keys() & {MEASURED_MAP, ONLY_IN}
        if not provable:
            return causes
        # What many candidates were tried for may fit by chance: it must fit numbers that none was tried on.
        return self._confirmed(checking, causes) or [unexplained(observations, checking.runs)]

    def _confirmed(self, checking: Checking, causes: list[Diagnosis]) -> list[Diagnosis]:
        """Those causes that also reproduce fresh numbers."""
        named = [problem for problem in checking.problems if problem.case.name in HELD_AGAINST]
        fresh = [self.fresh(problem) for problem in named or checking.problems[:1]]
        held = holding({cause.fault for cause in causes}, observed(fresh, checking.port.call(fresh)))
        return [cause for cause in causes if cause.fault in held]


def _several(search: Search | None, kind: Literal["pairs", "triples"], others: Sequence[Problem]) -> list[Diagnosis]:
    """Two or three deviations at once, in words."""
    if search is None:
        return []
    return search.told(search.confirmed(search.pairs() if kind == "pairs" else search.triples()), others)


def _beside_the_algebra(port: PortBlackBox, observations: Sequence[Observation], known: Known) -> list[Diagnosis]:
    """What no execution describes and numbers prove: dropout that repeats itself, an x scaled by step, few bits."""
    cause = dropped(observations) or over_the_batch(observations)
    if cause is None:
        by_step = differs_by_step(scales(port, MOST_SCALED), observations)
        cause = by_step if by_step is not None and by_step.sigma is not None else None
    if cause is None and known.narrow is not None:
        wrong = {
            observation.problem.case.run.dtype for observation in observations if not observation.sigma <= LIMIT_SIGMA
        }
        cause = narrow(measure_precision(port, "float64" if wrong == {"float64"} else "float32"))
    return [] if cause is None else [cause]


def _measured(port: PortBlackBox, observations: Sequence[Observation]) -> list[Diagnosis]:
    """What calls with and without a change show of a port that no search explains; told as measured."""
    batched = independent(port)
    not_in_use = unused(port, batched=batched)
    cause = None if not_in_use is None else made_anew(not_in_use, T)
    if cause is None:
        cause = differs_by_step(scales(port, MOST_SCALED, batched=batched), observations)
    return [] if cause is None else [cause]


def _refused(port: PortBlackBox, calls: int, seconds: float) -> str:
    return (
        f"a call takes {number(seconds)} s, so {calls} were made at most: {counted(len(port.refused), 'question')} "
        "(where each weight goes, how many bits are kept) had no room; lockstep anatomy asks all"
    )


def _with_facts(diagnosis: Diagnosis, facts: Sequence[str]) -> Diagnosis:
    return msgspec.structs.replace(diagnosis, facts=[*diagnosis.facts, *facts])


def _shipped_problems() -> list[Problem]:
    """Small shipped problems, by which explanations of the same numbers might be told apart."""
    cases = [found_case.case for found_case in find_cases([])]
    return [Problem.from_case(case) for case in cases if case.plain and case.run.timesteps <= 50]  # noqa: PLR2004


# A decoder whose cell takes in the context is another: what is wrong in one has no place in the other.
_DECODERS = {context: Decoders() for context in get_args(ContextUse)}
_PLAIN_LAYERS, _NETWORKS = PlainLayers(), Networks()


def form_of(case: Case) -> Networks:
    """The form of a case."""
    if case.attention_decoder is not None:
        return _DECODERS[case.attention_decoder.context]
    return _PLAIN_LAYERS if case.plain else _NETWORKS
