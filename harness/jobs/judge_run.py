"""What a run came to: its trace judged, its divergence explained.

What only a divergence needs is imported for it: where all agree, that would take longer than the rest.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.compare import compare, compare_steps, largest_sigma, limit_for
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.errors import TraceError
from lockstep.harness.jobs.findings import expected_of
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.reference.expected import Expected, ExpectedTensor

MOST_KEPT = 10_000  # numbers in a trace that is kept although it agrees


class Judge:
    """Judges what backends gave, and explains each backend's divergences together once all its runs are through.

    ``limit`` is the sigma beyond which a number diverges; None leaves it to each case. ``details``: whether results
    tell some places number by number, for a report.
    """

    def __init__(self, problems: Problems, limit: float | Limit | None = None, *, details: bool = False) -> None:
        """Judge by these problems, which are those of all cases."""
        self._problems, self._limit, self._details = problems, limit, details
        self._observations: dict[str, list[Observation]] = {}

    def judge(self, case: Case, backend: str, outcome: Outcome) -> RunResult:
        """The result of a run; a known finding is marked as such, and needs no explanation."""
        result = as_known(self.judge_outcome(case, backend, outcome), case)
        trace, explained = outcome.trace, result.known is not None or bool(result.diagnosis)
        # Causes are looked for among numbers that were rounded to a case's dtype alone.
        if trace is not None and trace.quantised is None and not explained:
            self.keep(case, trace, result)
        return result

    def agreement(self, case: Case, outcome: Outcome) -> float | None:
        """The largest sigma of a run that agrees, at little cost; None where it takes ``judge_outcome`` to tell."""
        trace, limit = outcome.trace, limit_for(case, self._limit)
        if trace is None or outcome.later is not None or case.expect is not None or limit.sigma is None:
            return None
        sigma = largest_sigma(trace, self._problems.expected(case, trace.quantised), case)
        return sigma if sigma <= limit.sigma else None

    def judge_outcome(self, case: Case, backend: str, outcome: Outcome) -> RunResult:
        """Judge what came of a run, or tell why nothing came."""
        if outcome.trace is None:
            return RunResult(
                case=case.name, backend=backend, status=outcome.status,  # type: ignore[arg-type]
                message=outcome.message, stderr=outcome.stderr, timesteps=case.run.timesteps, seconds=outcome.seconds,
                notes=_notes(outcome), cached=outcome.cached,
            )  # fmt: skip
        try:
            result = self.judge_trace(case, backend, outcome.trace)
        except MemoryError:
            message = "the reference ran out of memory: the case is too large for this machine"
            return RunResult(case=case.name, backend=backend, status="failed", message=message)
        notes = [*_notes(outcome), *result.notes]
        result = replace(
            result, versions=outcome.versions, seconds=outcome.seconds, repeatable=outcome.repeatable, notes=notes,
            cached=outcome.cached,
        )  # fmt: skip
        remembered = self._remembered(case, outcome, result)
        return result if remembered is None else replace(result, status="diverge", diagnosis=[remembered])

    def _remembered(self, case: Case, outcome: Outcome, result: RunResult) -> Diagnosis | None:
        """Why a backend gives other numbers, beyond the noise, when it is called again after another problem."""
        if outcome.trace is None or outcome.later is None or result.limit is None:
            return None
        trace, (stranger, of_stranger, again) = outcome.trace, outcome.later
        for expected in (self._problems.expected, self._problems.widened):
            apart = difference(case, again, trace, expected(case, trace.quantised), result.limit)
            if apart.status == "agree":
                return None
        # Here: where nothing is remembered, it would take longer to import than the rest to run.
        from lockstep.harness.diagnosis.behaviour import Repeats, remembered

        replies = trace.tensors(case), again.tensors(case), again.tensors(case)
        calls = Repeats(self._problems.problem(case), replies, stranger, of_stranger.tensors(case))
        return remembered(calls, max(tensor.worst.sigma for tensor in apart.tensors.values()))

    def judge_trace(self, case: Case, backend: str, trace: Trace) -> RunResult:
        """Compare a trace with what is expected, and judge it.

        Raises:
            LockstepError: If nothing can be compared, or the case contradicts its golden values.
        """
        expected, limit = self._problems.expected(case, trace.quantised), limit_for(case, self._limit)
        unjudged = RunResult(
            case=case.name, backend=backend, status="agree", limit=limit, timesteps=case.run.timesteps,
            local=compare_steps(trace, self._problems.problem(case), limit),
            parameters=list(trace.parameters), device=trace.device,
        )  # fmt: skip
        result = judge(replace(unjudged, tensors=compare(trace, expected, case, limit)), limit)
        if result.status == "diverge" and limit.sigma is not None:
            # Is it rounding that the network itself amplifies, all of it or where it seems to begin?
            from lockstep.harness.reference.undetermined import notes_of

            widened = self._problems.widened(case, trace.quantised)
            wider = judge(replace(unjudged, tensors=compare(trace, widened, case, limit)), limit)
            if wider.status == "agree" or wider.first_divergence != result.first_divergence:
                expected, result = widened, replace(wider, notes=[*wider.notes, *notes_of(widened, case)])
        if not self._details:
            return result
        from lockstep.harness.comparison.details import details_of

        return replace(result, details=details_of(trace.tensors(case), expected, result.tensors))

    def keep(self, case: Case, trace: Trace, result: RunResult) -> None:
        """Keep what diverges, and what agrees where it is small: an explanation must reproduce both."""
        size = sum(array.size for array in trace.arrays.values())
        if result.status == "diverge" or size <= MOST_KEPT:
            observation = Observation(self._problems.problem(case), trace.tensors(case))
            self._observations.setdefault(result.backend, []).append(observation)

    def explain(self, runs: list[RunResult], *, pairs: bool = True, layout: str = "canonical") -> list[RunResult]:
        """The results with the causes of those that diverge: one search for each backend.

        ``pairs``: whether to look for several faults of a plain layer at once, which takes longer. ``layout``: that of
        the weights that were handed over.
        """
        if all(run.status != "diverge" for run in runs):
            return runs
        from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
        from lockstep.harness.diagnosis.diagnose import diagnose_runs

        causes: dict[tuple[str, str], list[Diagnosis]] = {}
        unknown = [
            run for run in runs if run.known is None
        ]  # a finding is a cause of its own: it would mislead the search
        for backend in dict.fromkeys(run.backend for run in unknown if run.status == "diverge"):
            if backend in self._observations:
                runs_of_backend = [run for run in unknown if run.backend == backend]
                by_case = diagnose_runs(self._observations[backend], runs_of_backend, pairs=pairs, layout=layout)
                causes |= {(backend, case): diagnosis for case, diagnosis in by_case.items()}
        runs = [replace(run, diagnosis=causes.get((run.backend, run.case), run.diagnosis)) for run in runs]
        return [with_counterfactuals([run], self._observations.get(run.backend, []))[0] for run in runs]


def difference(case: Case, new: Trace, old: Trace, expected: Expected, limit: Limit) -> RunResult:
    """Measure one trace against another of the same problem, in the noise of what is expected.

    Only tensors that both have are compared.

    Raises:
        TraceError: If they have none in common.
    """
    news, olds = new.tensors(case), old.tensors(case)
    common = {name: array for name, array in news.items() if name in olds}
    if not common:
        raise TraceError(f"case {case.name}: the two traces have no tensor in common.")
    # What a trace holds is exact in its dtype: rounding cut nothing off it.
    against = {
        name: ExpectedTensor(
            olds[name].astype(expected[name].value.dtype), np.zeros_like(expected[name].rest), expected[name].noise
        )
        for name in common
    }
    # Golden values say nothing of how far two traces are from each other.
    plain = replace(case, expect=None)
    measured = RunResult(
        case=case.name, backend="", status="agree", limit=limit, timesteps=case.run.timesteps,
        tensors=compare(Trace().replaced(**common), against, plain, limit),
    )  # fmt: skip
    return judge(measured, limit)


def _notes(outcome: Outcome) -> list[str]:
    return [*outcome.notes, *(["from the cache of an earlier run, not run now"] if outcome.cached else [])]


def measurable(run: RunResult) -> RunResult:
    """An unexplained divergence, with the hint that the backend, which can be called, can be measured."""
    if not run.diagnosis:
        return run
    from lockstep.harness.diagnosis.unexplained import UNEXPLAINED

    if run.diagnosis[0].fault != UNEXPLAINED:
        return run
    fact = f"its conventions can be measured: lockstep anatomy {run.backend}"
    return replace(run, diagnosis=[replace(run.diagnosis[0], facts=[*run.diagnosis[0].facts, fact])])


def as_known(result: RunResult, case: Case) -> RunResult:
    """The result, marked if it is a known finding."""
    finding = expected_of(result.backend, case, result.status)
    return result if finding is None else replace(result, known=finding.name)
