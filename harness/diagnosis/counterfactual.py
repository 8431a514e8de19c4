"""What the reference gives with the fault that explains a divergence: the curve that should lie on the observed one."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lockstep.harness.comparison.details import with_counterfactual
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.diagnose import MEASURED_MAP
from lockstep.harness.diagnosis.named_causes import ONLY_IN, expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.errors import LockstepError
from lockstep.harness.reference.expected import Expected


def with_counterfactuals(runs: Sequence[RunResult], observations: Sequence[Observation]) -> list[RunResult]:
    """Results with the curves of their first diagnoses, where they have details and a diagnosis that was proved.

    Args:
        runs: Of one implementation.
        observations: What it returned.
    """
    by_case = {observation.problem.case.name: observation for observation in observations}
    return [_with_curves(run, by_case[run.case]) if run.details and run.case in by_case else run for run in runs]


def _with_curves(run: RunResult, observation: Observation) -> RunResult:
    if run.status != "diverge" or not run.diagnosis:
        return run
    try:
        computed = executed(run.diagnosis[0], observation)
    except (LockstepError, ArithmeticError, LookupError, TypeError, ValueError, MemoryError):
        return run  # a curve less: what was found stands without it
    if computed is None:
        return run
    details = {
        name: with_counterfactual(detail, computed[name], observation.expected[name]) if name in computed else detail
        for name, detail in run.details.items()
    }
    return replace(run, details=details)


def executed(diagnosis: Diagnosis, observation: Observation) -> Expected | None:
    """Carry a diagnosis out on the problem that was observed; None where it names nothing that could be."""
    problem = observation.problem
    if MEASURED_MAP in diagnosis.proof or problem.case.name not in diagnosis.proof.get(ONLY_IN, [problem.case.name]):
        return None
    return expected_named(diagnosis.fault, problem)
