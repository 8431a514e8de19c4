"""Check a user's own implementation: run it over the suite, more than once, and say why it differs where it does."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.diagnosis.adequacy import adequacy
from lockstep.harness.diagnosis.anatomy.anatomy import curve_facts, explain_measured
from lockstep.harness.diagnosis.anatomy.kernel_use import T, scales, unused_at
from lockstep.harness.diagnosis.anatomy.precision import measure_precision, narrow
from lockstep.harness.diagnosis.behaviour import behaviour, differs_by_step, dropped, made_anew
from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
from lockstep.harness.diagnosis.diagnose import MEASURED_MAP, ONLY_IN, diagnose, execution_of, several
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import NARROW, NOT_FINITE, UNEXPLAINED, unexplained
from lockstep.harness.errors import LockstepError
from lockstep.harness.faults.execution import CANONICAL
from lockstep.harness.jobs.check_decoder import check_decoder
from lockstep.harness.jobs.judge_run import FRESH_SEED, Problems, explained, judged, observed
from lockstep.harness.jobs.measure import PortSubject
from lockstep.harness.ports.port import LocalPort, Port
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.weights.dialects import TWO_BIASES

SLOW = 0.1  # seconds for a call, beyond which a measurement of a thousand calls is not waited for
FRESH = ("probe", "batch", "lengths", "one-timestep")


@dataclass(frozen=True)
class Checked:
    """What a check came to: one result for each case, and what explains those that diverge."""

    runs: list[RunResult]
    diagnosis: list[Diagnosis]
    blind: dict[str, list[str]] = field(default_factory=dict)  # by case: faults that it cannot see


def check(
    port: Port | LocalPort,
    cases: Sequence[Case],
    *,
    layout: str = "canonical",
    limit: float | Limit | None = None,
    seed: int = 0,
    measure: bool = True,
    blind: bool = False,
    on_result: Callable[[RunResult], None] = lambda result: None,
    details: bool = False,
) -> Checked:
    """Run a port over cases, judge what it returns, and explain it where it diverges.

    Args:
        port: What to check.
        cases: Over what.
        layout: How the port is handed its weights.
        limit: Sigma beyond which a number diverges; None leaves it to each case.
        seed: Added to the seed of every case that has one: the same check on other numbers.
        measure: Whether a port that no named fault explains is measured (``harness.diagnosis.anatomy.anatomy``).
        blind: Whether to say of each case which faults it cannot see.
        on_result: Called with each result.
        details: Whether results tell some places number by number, for a report.

    Raises:
        CaseError: If a case cannot be made concrete.
    """
    cases = [reseeded(case, seed) for case in cases]
    decoders = [case for case in cases if case.model == "attention_decoder"]
    if decoders:
        return _with_decoders(
            port, cases, decoders, layout, limit=limit, measure=measure, blind=blind, told=on_result, details=details
        )
    unseen = _blind(cases, layout) if blind else {}
    problems = Problems()
    asked = [Problem.from_case(case) for case in cases]
    for problem in asked:
        problems.put(problem)
    # The first problem comes again at once, and once more when all others are through: what is remembered shows.
    replies = port.call([asked[0], *asked, asked[0]])
    again, replies = [replies[0], replies[1], replies[-1]], replies[1:-1]
    replies[0] = again[0]
    runs = [
        judged(case, port.name, reply, problems, limit, details=details)
        for case, reply in zip(cases, replies, strict=True)
    ]
    remembered = behaviour(asked[0], again, asked[-1], replies[-1]) if cases[0].plain else None
    if remembered is not None:
        diverges = remembered.sigma is not None or not _close(again)
        runs[0] = replace(runs[0], status="diverge" if diverges else runs[0].status, repeatable=False)
    elif runs[0].status in {"agree", "diverge"}:
        repeats = cases[0].plain or _repeats(cases[0], port.name, again, problems, limit)
        runs[0] = replace(runs[0], status=runs[0].status if repeats else "diverge", repeatable=repeats)
    for run in runs:
        on_result(run)
    if all(run.status != "diverge" for run in runs):
        return Checked(runs, [], unseen)
    if remembered is not None:
        found = [remembered]
        return Checked([_with(run, found) for run in runs], found, unseen)
    seen = observed(asked, replies)
    plain = [k for k, case in enumerate(cases) if case.plain]
    of_plain = _explain_plain(
        port,
        [cases[k] for k in plain],
        [one for one in seen if one.problem.case.plain],
        [runs[k] for k in plain],
        layout,
        measure=measure,
        seconds=float(np.median([replies[k].seconds.get("run", 0.0) for k in plain])) if plain else 0.0,
    )
    of_others = explain_others(
        port,
        [one for one in seen if not one.problem.case.plain],
        [run for case, run in zip(cases, runs, strict=True) if not case.plain],
    )
    runs = [
        _with(run, of_plain if case.plain else of_others.get(run.case, []))
        for run, case in zip(runs, cases, strict=True)
    ]
    runs = with_counterfactuals(runs, seen)
    told = [one for run in runs for one in run.diagnosis]
    return Checked(runs, list({one.fault: one for one in told}.values()), unseen)


def _with_decoders(
    port: Port | LocalPort,
    cases: Sequence[Case],
    decoders: Sequence[Case],
    layout: str,
    *,
    limit: float | Limit | None,
    measure: bool,
    blind: bool,
    told: Callable[[RunResult], None],
    details: bool,
) -> Checked:
    """Check attention decoders, and the other cases apart."""
    runs = {run.case: run for run in check_decoder(port, decoders, limit=limit, on_result=told, details=details)}
    rest = [case for case in cases if case not in decoders]
    unseen: dict[str, list[str]] = {}
    if rest:
        others = check(
            port, rest, layout=layout, limit=limit, measure=measure, blind=blind, on_result=told, details=details
        )
        runs |= {run.case: run for run in others.runs}
        unseen = others.blind
    ordered = [runs[case.name] for case in cases]
    diagnosis = {one.fault: one for run in ordered for one in run.diagnosis}
    return Checked(ordered, list(diagnosis.values()), unseen)


def _explain_plain(
    port: Port | LocalPort,
    cases: Sequence[Case],
    seen: list[Observation],
    runs: list[RunResult],
    layout: str,
    *,
    measure: bool,
    seconds: float,
) -> list[Diagnosis]:
    """Explain what diverges in cases of one plain layer; a port whose calls take many ``seconds`` is not measured."""
    if all(run.status != "diverge" for run in runs):
        return []
    diagnosis = _explained(port, cases, seen, runs, layout, measure=measure and seconds < SLOW)
    if measure and seconds >= SLOW and diagnosis and diagnosis[0].fault == UNEXPLAINED:
        fact = f"it was not measured: a call takes {seconds:.2g} s; lockstep anatomy does it all the same"
        diagnosis = [replace(diagnosis[0], facts=[*diagnosis[0].facts, fact])]
    return diagnosis


def explain_others(
    port: Port | LocalPort, seen: Sequence[Observation], runs: Sequence[RunResult]
) -> dict[str, list[Diagnosis]]:
    """Explain what diverges in networks, by case; see ``harness.jobs.judge_run.explained``."""
    return explained(port, seen, runs, lambda problem: Problem.from_case(reseeded(problem.case, FRESH_SEED)))


def _blind(cases: Sequence[Case], layout: str) -> dict[str, list[str]]:
    plain = [case for case in cases if case.plain]
    found = adequacy(plain, two_biases=layout in TWO_BIASES)  # its catalogue is of one plain layer
    return {case.name: found.blind(case.name) for case in plain}


def reseeded(case: Case, seed: int) -> Case:
    """Give the case with other numbers, where a seed draws them."""
    return case if not seed else replace(case, run=replace(case.run, seed=case.run.seed + seed), expect=None)


def _close(replies: Sequence[Outcome]) -> bool:
    """Whether repeated calls differ by no more than rounding could."""
    first = replies[0].trace
    for reply in replies[1:]:
        if first is None or reply.trace is None:
            return False
        for name, array in first.tensors().items():
            other = reply.trace.tensors().get(name)
            if other is None or not np.allclose(array, other, rtol=1e-4, atol=1e-5, equal_nan=True):
                return False
    return True


def _repeats(
    case: Case, name: str, replies: Sequence[Outcome], problems: Problems, limit: float | Limit | None
) -> bool:
    """Whether repeated calls gave the same numbers, or such as are all right."""
    traces = [reply.trace.arrays for reply in replies if reply.trace is not None]
    same = all(
        trace.keys() == traces[0].keys() and all(a.tobytes() == traces[0][name].tobytes() for name, a in trace.items())
        for trace in traces
    )
    return same or all(judged(case, name, reply, problems, limit).status != "diverge" for reply in replies)


def _explained(
    port: Port | LocalPort,
    cases: Sequence[Case],
    seen: list[Observation],
    runs: list[RunResult],
    layout: str,
    *,
    measure: bool,
) -> list[Diagnosis]:
    """Explain what was seen, and hold the explanation against numbers that no search has seen."""
    two_biases = layout in TWO_BIASES
    others = _shipped_problems()
    found = diagnose(seen, runs, others=others, pairs=not measure, two_biases=two_biases)
    if not found:  # all is within rounding: the limit that it is beyond is somebody's own
        return []
    if measure and found[0].fault == UNEXPLAINED and not any(NOT_FINITE in fact for fact in found[0].facts):
        subject = PortSubject(port, two_biases=two_biases)
        found = (
            _beside_the_catalogue(subject, seen, found[0])
            or explain_measured(subject, seen, others)
            or several(seen, others, two_biases=two_biases)
            or [replace(found[0], facts=[*found[0].facts, *curve_facts(subject)])]
        )
    provable = found[0].proof and not found[0].proof.keys() & {MEASURED_MAP, ONLY_IN}
    return found if not provable else _held(port, cases, found) or [unexplained(seen, runs)]


def _beside_the_catalogue(subject: PortSubject, seen: Sequence[Observation], unknown: Diagnosis) -> list[Diagnosis]:
    """Try what no execution describes: dropout that repeats itself, weights made anew, a narrower format throughout."""
    found = dropped(seen)
    if found is None:
        unused = unused_at(subject)
        found = made_anew(unused, T) if unused and len(unused) < T else None
    if found is None:
        by_step = scales(subject)
        found = None if by_step is None else differs_by_step(by_step)
    if found is None and any(NARROW in fact for fact in unknown.facts):
        wrong = {one.problem.case.run.dtype for one in seen if not one.sigma(CANONICAL) <= LIMIT_SIGMA}
        found = narrow(measure_precision(subject, "float64" if wrong == {"float64"} else "float32"))
    return [] if found is None else [found]


def _held(port: Port | LocalPort, cases: Sequence[Case], found: list[Diagnosis]) -> list[Diagnosis]:
    """Keep the explanations that also reproduce fresh numbers."""
    named = [case for case in cases if case.name in FRESH] or list(cases[:1])
    fresh = [Problem.from_case(reseeded(case, FRESH_SEED)) for case in named]
    replies = port.call(fresh)
    seen = [
        Observation(problem, reply.trace.tensors())
        for problem, reply in zip(fresh, replies, strict=True)
        if reply.trace is not None
    ]
    return [one for one in found if all(o.sigma(execution_of(one)) <= LIMIT_SIGMA for o in seen)]


def _shipped_problems() -> list[Problem]:
    from lockstep.harness.cases.find import find_cases

    small = [one.case for one in find_cases([]) if one.case.plain and one.case.run.timesteps <= 50]  # noqa: PLR2004
    return [Problem.from_case(case) for case in small]


def _with(run: RunResult, diagnosis: list[Diagnosis]) -> RunResult:
    return replace(run, diagnosis=diagnosis) if run.status == "diverge" else run


def rerun_of(run: RunResult, target: str, options: dict[str, object]) -> RunResult:
    """Give a result with the command that checks its case alone; ``options`` are those that were not left out."""
    words = ["lockstep", "check", target, "--case", run.case]
    for name, value in options.items():
        words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return replace(run, rerun=shlex.join(words))


def cases_of(names: Sequence[str], *, decoder: bool = False) -> list[Case]:
    """Find the cases of a check: those named, or the suite.

    The suite is all shipped cases of one plain layer; for a port of an ``decoder``, all attention decoders.

    Raises:
        LockstepError: If a case is unknown.
    """
    from lockstep.harness.cases.find import find_cases

    wanted = (lambda case: case.model == "attention_decoder") if decoder else (lambda case: case.plain)
    cases = [one.case for one in find_cases(names) if names or wanted(one.case)]
    if not cases:
        raise LockstepError("no case to check: name one with --case, or none for the whole suite.")
    return sorted(cases, key=lambda case: case.run.timesteps * case.run.batch * case.lstm.hidden_size)


def left_out(checked: Sequence[str] = ()) -> list[str]:
    """Name the shipped networks that are checked only where they are named: they ask for more than one plain layer.

    ``checked``: the cases that a check without names ran; if they are decoders nothing of their kind was left out.
    """
    from lockstep.harness.cases.find import find_cases

    cases = [one.case for one in find_cases([])]
    if any(case.name in checked and case.model != "lstm" for case in cases):
        return []
    return [case.name for case in cases if not case.plain and case.model == "lstm"]
