"""Why a port differs, over one form of case: imported once something diverges, for it needs the catalogue of faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.anatomy.anatomy import curve_facts, explain_measured, independent
from lockstep.harness.diagnosis.anatomy.kernel_use import T, scales, unused
from lockstep.harness.diagnosis.anatomy.lanes import measured_causes
from lockstep.harness.diagnosis.anatomy.precision import measure_precision, narrow
from lockstep.harness.diagnosis.behaviour import differs_by_step, dropped, made_anew, over_the_batch
from lockstep.harness.diagnosis.clock import seldom_collecting
from lockstep.harness.diagnosis.diagnose import MEASURED_MAP, Measuring, diagnose_found, diagnose_runs
from lockstep.harness.diagnosis.explain_causes import Search
from lockstep.harness.diagnosis.named_causes import ONLY_IN, holding
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.sharing import Unshared, diagnosis_of, values_of
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED, Known, known_of, unexplained
from lockstep.harness.jobs.checks.forms import Checking, Networks, PlainLayers, observed
from lockstep.harness.jobs.measure import LimitedCalls, PortBlackBox
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import counted, number

MOST_SCALED = 12  # timesteps of which it is measured how often x counts
HELD_AGAINST = (
    "probe",
    "batch",
    "lengths",
    "one-timestep",
    "chunks",
)  # cases whose fresh numbers an explanation is held against


Causes = dict[str, list[Diagnosis]]  # by the name of the case


@seldom_collecting()
def explain(form: Networks, checking: Checking, not_shared: Sequence[Unshared]) -> Causes:
    """The causes of what diverges, by case: those of a plain layer, and weights that are not shared, of all cases."""
    if isinstance(form, PlainLayers):
        return dict.fromkeys((run.case for run in checking.runs), _explain_plain(form, checking))
    return _causes_of_unshared(checking, not_shared) if not_shared else _explain_network(form, checking)


def _explain_network(form: Networks, checking: Checking) -> Causes:
    """The causes of what diverges, by case; what fresh numbers speak against is dropped."""
    runs, observations = checking.runs, checking.observations
    causes = diagnose_runs(
        observations, runs, layout=checking.port.layout, ask=checking.ask, measuring=_measuring(checking),
        on_part=checking.on_part,
    )  # fmt: skip
    # What the reference reproduces was found among many candidates: it must hold for other numbers too.
    doubtful = {case for case, diagnosis in causes.items() if diagnosis and diagnosis[0].site}
    problems = [
        form.fresh(observation.problem) for observation in observations if observation.problem.case.name in doubtful
    ]
    problems = checking.fresh(problems)
    again = observed(problems, checking.port.call(problems)) if problems else []
    if again:
        held = holding({match.fault for case in doubtful for match in causes[case]}, again)
        for case in doubtful:
            matches = [match for match in causes[case] if match.fault in held]
            causes[case] = matches or [unexplained(observations, runs)]
    return causes


def _measuring(checking: Checking) -> Measuring | None:
    """What explains with what is measured in lanes; None where the port takes long, or is not to be asked."""
    port = checking.port
    if checking.ask is None:
        return None
    return lambda search: measured_causes(
        LimitedCalls(port, checking.most_calls, checking.calls_until), search, name=port.name
    )


def _causes_of_unshared(checking: Checking, not_shared: Sequence[Unshared]) -> Causes:
    """Weights that are not shared are the cause of all that diverges."""
    # All of them at once: each alone reproduces nothing where there are others.
    values = None
    if any(run.first_divergence is not None for run in checking.runs):
        values = values_of([name for weights in not_shared for name in weights.names], checking.observations)
    causes = [diagnosis_of(weights, values) for weights in not_shared]
    return {run.case: causes for run in checking.runs}


def _explain_plain(form: Networks, checking: Checking) -> list[Diagnosis]:
    """Explain what was seen, and hold the explanation against numbers that no search has seen."""
    observations, measure = checking.observations, checking.measure
    others = _shipped_problems()
    search = Search.of(observations, LIMIT_SIGMA, layout=checking.port.layout)
    if search is not None:
        search.ask, search.on_part = checking.ask, checking.on_part
    causes = diagnose_found(search, observations, checking.runs, others=others, pairs=not measure)
    if not causes:  # all is within rounding: the limit that it is beyond is somebody's own
        return []
    unknown = causes[0]
    known = known_of(observations, checking.runs)
    if measure and unknown.fault == UNEXPLAINED and known.finite_steps is None:
        calls = checking.most_calls
        port = PortBlackBox(checking.port, calls=calls, until=checking.calls_until)
        # From what proves most with the fewest calls to what only measures: each where those before find nothing.
        stages: dict[str, Callable[[], list[Diagnosis]]] = {
            "what is no part of an LSTM, such as dropout": lambda: _beside_the_algebra(port, observations, known),
            "two mistakes at once": lambda: _several(search, "pairs", others),
            "conventions, by measuring them": lambda: explain_measured(port, observations, others),
            "three mistakes at once": lambda: _several(search, "triples", others),
            "what a change of an argument changes": lambda: _measured(port, observations),
            "which curves are as intended": lambda: [_with_facts(unknown, curve_facts(port))],
        }
        causes = _first(stages, checking.on_part)
        if causes[0].fault == UNEXPLAINED:
            refused = [_refused(port, calls, checking.seconds)] if port.refused else []
            causes = [_with_facts(causes[0], [*refused, *(search.ended_facts if search else [])])]
    provable = causes[0].proof and not causes[0].proof.keys() & {MEASURED_MAP, ONLY_IN}
    if not provable:
        return causes
    # What many candidates were tried for may fit by chance: it must fit numbers that none was tried on.
    return _confirmed(form, checking, causes) or [unexplained(observations, checking.runs)]


def _first(stages: Mapping[str, Callable[[], list[Diagnosis]]], on_part: Callable[[str], None]) -> list[Diagnosis]:
    """What the first stage that finds anything finds; ``on_part`` is told of each in words."""
    for words, look in stages.items():
        on_part(words)
        causes = look()
        if causes:
            return causes
    return []


def _confirmed(form: Networks, checking: Checking, causes: list[Diagnosis]) -> list[Diagnosis]:
    """Those causes that also reproduce fresh numbers."""
    named = [problem for problem in checking.problems if problem.case.name in HELD_AGAINST]
    fresh = checking.fresh([form.fresh(problem) for problem in named or checking.problems[:1]])
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
