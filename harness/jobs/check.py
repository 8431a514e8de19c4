"""Check a user's own implementation: run it over the suite, more than once, and say why it differs where it does.

One pipeline for cases of every form (``harness.jobs.checks.forms``): ask, judge, repeat, explain, hold against fresh
numbers, and give the curve that the cause predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_changes
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.cases.find import FoundCase, find_cases
from lockstep.harness.comparison.precision import allows_float32, as_float32, computed_in_float32, in_dtype
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.diagnosis.behaviour import overwritten
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.checks.forms import (
    LONG,
    MOST_SECONDS_TO_CONFIRM,
    MOST_SLOW_FRESH,
    REPEATED,
    Checking,
    Networks,
    form_of,
    seconds_at,
)
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems, reseeded
from lockstep.harness.ports.port import AnyPort
from lockstep.harness.text import grouped

if TYPE_CHECKING:
    from lockstep.harness.diagnosis.adequacy import Adequacy
    from lockstep.harness.diagnosis.sharing import Unshared

Judging = Callable[[AnyProblem, Outcome], RunResult]
COMPARED = {"agree", "diverge"}  # statuses of what gave numbers
LOST = {"crashed", "timeout"}  # and of what ended the process
# Of cases in a suite, in the order in which a port is asked them.
SUITE_FORMS = ("plain", "decoder", "decoder, context into the cell", "gradients", "network")
NO_GRADIENTS = "gradients are not compared: it takes no dh, dc"
NONE_OF_DECODERS = "gradients are not compared: ports of decoders go forward only"


@dataclass(frozen=True)
class Request:
    """What a check is asked to do with each form of case."""

    port: AnyPort  # over decoders it goes forward alone, with encoder outputs in the place of an encoder
    limit: float | Limit | None = None  # sigma beyond which a number diverges; None leaves it to each case
    measure: bool = True  # whether a port that no named fault explains is measured (harness.diagnosis.anatomy)
    details: bool = False  # whether results tell some places number by number, for a report
    suite: bool = False  # whether the cases are of all forms, of which those count that the port answers
    float32_will_do: Collection[str] = ()  # cases in float64 in which a port may compute in float32
    on_result: Callable[[RunResult], None] = lambda result: None  # called with each result
    on_search: Callable[[RunResult], None] = lambda result: None  # with what diverges first, before causes are sought
    on_part: Callable[[str], None] = lambda words: None  # told what is looked for as a cause


def check(port: AnyPort, cases: Sequence[Case], **options: Any) -> list[RunResult]:
    """Run a port over cases, judge what it returns, and explain it where it diverges; ``options``: as of ``Request``.

    Raises:
        CaseError: If a case cannot be made concrete.
    """
    request = Request(port, **options)
    cases = [port.fitted(case) for case in cases]
    by_case: dict[str, RunResult] = {}
    unanswered: list[tuple[Checking, Networks]] = []
    left, forms = len(cases), len(grouped(cases, _kind if request.suite else form_of))
    for of_form in _of_suite(port, cases) if request.suite else _by_form(port, cases):
        form = form_of(of_form[0])
        left, forms = left - len(of_form), forms - 1
        checking = _asked(request, [form.problem(case) for case in of_form], form)
        checking = with_changes(checking, later=left + forms * (REPEATED + MOST_SLOW_FRESH))
        statuses = {outcome.status for outcome in checking.outcomes}
        if request.suite and "ran" not in statuses:
            unanswered.append((checking, form))
        else:
            by_case |= {run.case: run for run in _concluded(request, checking, form)}
        if request.suite and statuses & LOST:  # another form would only cost its time-outs too
            break
    if not by_case:
        by_case = {run.case: run for run in _concluded(request, *_nearest(unanswered))}
    return [_noted(by_case[case.name], case, port) for case in cases if case.name in by_case]


def _by_form(port: AnyPort, cases: Sequence[Case]) -> Iterable[list[Case]]:
    """The cases by form, without gradients where the port gives none."""
    return grouped(_as_taken(port, cases), form_of).values()


def _of_suite(port: AnyPort, cases: Sequence[Case]) -> Iterator[list[Case]]:
    """The cases of a suite by form, each when those before are through; those of gradients only for who takes them."""
    by_kind = grouped(cases, _kind)
    for kind, of_kind in sorted(by_kind.items(), key=lambda item: SUITE_FORMS.index(item[0])):
        if kind != "gradients" or not port.forward_only:
            yield _as_taken(port, of_kind)


def _as_taken(port: AnyPort, cases: Sequence[Case]) -> list[Case]:
    """The cases without gradients, if any asks for some and the port goes forward only."""
    if not any(map(_wants_gradients, cases)) or not port.forward_only:
        return list(cases)
    return [replace(case, run=replace(case.run, gradients=False, cotangents=None)) for case in cases]


def _wants_gradients(case: Case) -> bool:
    return case.run.gradients and case.model == "lstm"


def _nearest(unanswered: Sequence[tuple[Checking, Networks]]) -> tuple[Checking, Networks]:
    """Of the forms that a port did not answer the one that came furthest: misread, else raised in, else refused."""

    def refused(pair: tuple[Checking, Networks]) -> int:
        first = pair[0].outcomes[0]
        return 2 if first.status == "unsupported" else int(first.raised)

    return min(unanswered, key=refused)


def _noted(run: RunResult, case: Case, port: AnyPort) -> RunResult:
    """The result, with a note where a case has gradients and the port was not asked for them."""
    if not case.run.gradients or run.status not in COMPARED:
        return run
    if _wants_gradients(case) and not port.forward_only:  # what was asked for them and gave none is told of already
        return run
    return replace(run, notes=[*run.notes, NO_GRADIENTS if _wants_gradients(case) else NONE_OF_DECODERS])


def _concluded(request: Request, checking: Checking, form: Networks) -> list[RunResult]:
    """The results of a port over cases of one form; see the module's first lines."""
    checking, unrepeatable = _repeated(checking, form)
    not_shared = form.not_shared(checking)  # wrong also where numbers agree by chance, as of weights that are all 1
    if not_shared:
        runs = [replace(run, status="diverge") if run.status == "agree" else run for run in checking.runs]
        checking = checking.with_runs(runs)
    spoilt = _overwriting(checking)
    for k, run in enumerate(checking.runs):
        request.on_result(replace(run, status="diverge") if k in spoilt else run)
    if unrepeatable is not None:
        return [_with(run, [unrepeatable]) for run in checking.runs]
    runs = checking.runs
    first = next((run for run in runs if run.status == "diverge"), None)
    if first is not None:
        request.on_search(first)
        runs = _explained(checking, form, not_shared)
    return [spoilt.get(k, run) for k, run in enumerate(runs)]


def _explained(checking: Checking, form: Networks, not_shared: list[Unshared]) -> list[RunResult]:
    """The results with the causes of those that diverge, and the curves that these predict."""
    from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
    from lockstep.harness.jobs.checks.explaining import explain

    causes = explain(form, checking, not_shared)
    runs = [_with(run, causes.get(run.case, [])) for run in checking.runs]
    return with_counterfactuals(runs, checking.observations)


def _overwriting(checking: Checking) -> dict[int, RunResult]:
    """The first result whose numbers are right but whose arguments were changed so that a second call's are not."""
    for k, (run, outcome) in enumerate(zip(checking.runs, checking.outcomes, strict=True)):
        if outcome.overwrites and run.status == "agree":
            return {k: replace(run, status="diverge", diagnosis=[overwritten(outcome.overwrites)])}
    return {}


def _asked(request: Request, asked: list[AnyProblem], form: Networks) -> Checking:
    """Have a port answer problems, and judge what it gives."""
    port = request.port
    # The first problem comes again after one of other numbers, and once more when all others are through: what is
    # remembered shows.
    stranger = form.stranger(asked[0])
    fitted = port.fitted(stranger.case)
    stranger = stranger if fitted == stranger.case else problem_of(fitted)
    # What tells most for least comes first.
    long = [
        problem for problem in asked if request.suite and problem.case.run.timesteps > LONG and problem is not asked[0]
    ]
    short = [problem for problem in asked if problem not in long]
    outcomes = port.call([asked[0], stranger, *short, asked[0]])
    repeated = [outcomes[0], outcomes[2], outcomes[-1]]
    of_stranger, outcomes = outcomes[1], _with_refusals(port, short, [outcomes[0], *outcomes[3:-1]])
    judged = _judging(request)

    def answers_of(problems: Sequence[AnyProblem], outcomes: Sequence[Outcome]) -> list[_Answer]:
        return [
            _Answer.of(problem, outcome, judged, float32_will_do=problem.case.name in request.float32_will_do)
            for problem, outcome in zip(problems, outcomes, strict=True)
        ]

    answers = answers_of(short, outcomes)
    if long:
        diverges = any(answer.run.status == "diverge" for answer in answers)
        answers += answers_of(long, _confirming(port, long, short, outcomes, diverges=diverges))
        order = [problem.case.name for problem in asked]
        answers.sort(key=lambda answer: order.index(answer.problem.case.name))
    if answers[0].narrow:
        repeated = [as_float32(outcome) for outcome in repeated]
        stranger, of_stranger = in_dtype(stranger, "float32"), as_float32(of_stranger)
    problems = [answer.problem for answer in answers]
    runs = [answer.run for answer in answers]
    again = [runs[0], *(judged(problems[0], outcome) for outcome in repeated[1:])]
    outcomes = [answer.outcome for answer in answers]
    return Checking(
        port, problems, outcomes, repeated, (stranger, of_stranger), runs, again, request.measure, request.on_part
    )


def _confirming(
    port: AnyPort,
    long: Sequence[AnyProblem],
    short: Sequence[AnyProblem],
    outcomes: Sequence[Outcome],
    *,
    diverges: bool,
) -> list[Outcome]:
    """What long problems give; those that would take long are not asked where short ones diverge already."""
    answered = []
    for problem in long:
        seconds = seconds_at(problem.case.run.timesteps, short, outcomes)
        if diverges and seconds > MOST_SECONDS_TO_CONFIRM:
            message = (
                f"not asked, as shorter cases diverge and its {problem.case.run.timesteps} timesteps would take "
                f"{seconds:.0f} s: add --case {problem.case.name} to ask it"
            )
            answered.append(Outcome("unsupported", message=message))
        else:
            answered += port.call([problem])
    return answered


@dataclass(frozen=True)
class _Answer:
    """What a port gave for a problem, judged: both in float32 where the port computes in it and may."""

    problem: AnyProblem
    outcome: Outcome
    run: RunResult
    narrow: bool = False

    @classmethod
    def of(cls, problem: AnyProblem, outcome: Outcome, judged: Judging, *, float32_will_do: bool) -> _Answer:
        run, trace = judged(problem, outcome), outcome.trace
        if run.status != "diverge" or not float32_will_do or trace is None or not computed_in_float32(trace):
            return cls(problem, outcome, run)
        problem, outcome = in_dtype(problem, "float32"), as_float32(outcome)
        run = judged(problem, outcome)
        how = "agrees to float32's rounding" if run.status == "agree" else "held against float32's rounding"
        run = replace(run, notes=[*run.notes, f"computed in float32: {how}"], computed_in="float32")
        return cls(problem, outcome, run, narrow=True)


def _judging(request: Request) -> Judging:
    """What judges the answers of a check."""
    problems = Problems()
    judge = Judge(problems, request.limit, details=request.details)

    def judged(problem: AnyProblem, outcome: Outcome) -> RunResult:
        problems.put(problem)
        return judge.judge_outcome(problem.case, request.port.name, outcome)

    return judged


def _with_refusals(port: AnyPort, problems: Sequence[AnyProblem], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, a refused dtype as unsupported: what was raised for it is not raised for the same in another."""
    answered = {
        problem.case.run.dtype for problem, outcome in zip(problems, outcomes, strict=True) if outcome.trace is not None
    }
    doubtful = {
        k: problem.case.run.dtype
        for k, (problem, outcome) in enumerate(zip(problems, outcomes, strict=True))
        if outcome.raised and problem.case.run.dtype not in answered
    }
    others = [in_dtype(problems[k], "float64" if dtype == "float32" else "float32") for k, dtype in doubtful.items()]
    corrected = list(outcomes)
    for (k, dtype), reply in zip(doubtful.items(), port.call(others) if others else [], strict=True):
        if reply.trace is not None:
            message = f"it refuses {dtype}: {outcomes[k].message}"
            corrected[k] = with_changes(outcomes[k], status="unsupported", message=message)
    return corrected


def _repeated(checking: Checking, form: Networks) -> tuple[Checking, Diagnosis | None]:
    """Mark the first result by whether its calls repeat; if they do not, the cause is that of all divergences."""
    first = checking.runs[0]
    if first.status not in COMPARED:
        return checking, None
    cause = form.remembered(checking)
    status = first.status if cause is None or form.repeats_closely(checking, cause) else "diverge"
    # What it keeps may be what its first call was given: then that one repeats.
    first = replace(first, status=status, repeatable=cause is None or checking.repeats.alike)
    return checking.with_runs([first, *checking.runs[1:]]), cause


def _with(run: RunResult, diagnosis: list[Diagnosis]) -> RunResult:
    return replace(run, diagnosis=diagnosis) if run.status == "diverge" else run


def strength(cases: Sequence[Case], runs: Sequence[RunResult], layout: str) -> Adequacy | None:
    """How strong the cases are in which a port agrees; None where it does not agree in some, which matters more.

    Of plain layers alone, whose faults the catalogue has.
    """
    agreeing = {run.case for run in runs if run.status == "agree"}
    plain = [case for case in cases if case.plain and case.name in agreeing]
    if not plain or any(run.status not in {"agree", "unsupported"} for run in runs):
        return None
    from lockstep.harness.diagnosis.adequacy import adequacy

    return adequacy(plain, layout=layout)


def float32_will_do(
    cases: Sequence[Case], names: Sequence[str], *, strict: bool = False, found: Sequence[FoundCase] | None = None
) -> frozenset[str]:
    """The cases in which a port may compute in float32 though they are in float64: those that nobody named.

    ``names`` are those that a check was asked for. A folder names none of the cases in it. ``strict``: there are none.
    ``found``: what the names were found to be, if that is known.
    """
    if strict:
        return frozenset()
    asked = (find_cases(names) if found is None else found) if names else []
    named = {found_case.case.name for found_case in asked if found_case.argument in names}
    return frozenset(case.name for case in cases if case.name not in named and allows_float32(case))


def cases_of(
    names: Sequence[str], *, decoder: bool = False, seed: int = 0, found: Sequence[FoundCase] | None = None
) -> list[Case]:
    """The cases of a check, the smallest first: those named, or the suite; ``seed`` is added to that of each.

    ``found``: what the names were found to be, if that is known.

    The suite is all shipped cases that a port is told of by its arguments: one plain layer, with gradients and without,
    and stacks and directions of it; for a port of an attention decoder, all attention decoders.
    """
    cases = [
        reseeded(found_case.case, seed)
        for found_case in (find_cases(names) if found is None else found)
        if names or ((kind := _kind(found_case.case)) is not None and decoder == kind.startswith("decoder"))
    ]
    if not cases:
        raise LockstepError("no case to check: name one with --case, or leave --case out for all cases.")
    return sorted(cases, key=lambda case: case.run.timesteps * case.run.batch * case.lstm.hidden_size)


def _kind(case: Case) -> str | None:
    """What a case of the suite asks for; None where it has a setting that the arguments of a call do not tell."""
    if case.attention_decoder is not None:
        return "decoder" if case.attention_decoder.context == "output" else "decoder, context into the cell"
    if case.lstm.merged:
        return None
    one_layer = replace(case.lstm, num_layers=1, direction=case.lstm.direction.replace("bidirectional", "forward"))
    if not one_layer.plain or case.run.dtype not in {"float32", "float64"} or case.run.resets is not None:
        return None
    return "network" if not case.lstm.single else "gradients" if case.run.gradients else "plain"


def in_pieces(cases: Sequence[Case], chunks: Sequence[int], *, named: bool) -> list[Case]:
    """The cases as sequences that arrive in pieces of these timesteps.

    Of cases that nobody ``named`` those that cannot be, as of another length, are left out.

    Raises:
        LockstepError: If a case cannot be run in such pieces, or none is left.
    """
    words = ",".join(map(str, chunks))
    cut: list[Case] = []
    for case in cases:
        try:
            cut.append(replace(case, run=replace(case.run, chunks=tuple(chunks))))
        except ValueError as error:
            if named:
                raise LockstepError(f"--chunks {words}, case {case.name}: {error}.") from error
    if not cut:
        lengths = sorted({case.run.timesteps for case in cases})
        raise LockstepError(
            f"--chunks {words}: that is {sum(chunks)} timesteps, and no case has as many: there are cases of "
            f"{', '.join(map(str, lengths))}. Name a case with --case to see what fits."
        )
    return cut


def left_out(checked: Collection[str]) -> list[str]:
    """Name the shipped cases of networks that a check without names did not run; none of them for a decoder's."""
    cases = [found_case.case for found_case in find_cases([])]
    if any(case.name in checked and case.model != "lstm" for case in cases):
        return []
    return [case.name for case in cases if case.model == "lstm" and case.name not in checked]
