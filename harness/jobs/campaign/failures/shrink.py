"""Make a failure small: the smallest case that still fails in the same way, explained, with its numbers."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from dataclasses import replace as replace_in
from pathlib import Path

from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Recorded, save_trace
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.jobs.campaign.failures.reductions import Step, smaller
from lockstep.harness.jobs.campaign.failures.signature import Signature, signature_of
from lockstep.harness.jobs.campaign.hands import Hands, Runner, SharedProblems
from lockstep.harness.jobs.campaign.run_unit import run_problem
from lockstep.harness.jobs.campaign.target import PortRunner
from lockstep.harness.jobs.campaign.tasks import Shrinking, Shrunk
from lockstep.harness.jobs.check import check
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.run import environment

FOUND_NAME, SHRUNK_NAME = "found", "shrunk"  # of a case as it was drawn, and as small as it got


@dataclass(frozen=True)
class Shown:
    """A case that failed: as it was run, with what came of it."""

    case: Case
    result: RunResult
    problems: SharedProblems
    outcome: Outcome


@dataclass
class Shrinker:
    """Tries cases through one backend, until a time."""

    task: Shrinking
    hands: Hands
    runner: Runner
    end: float  # of the budget
    tried: int = 0
    spent: bool = False
    _wanted: Signature | None = field(default=None, init=False)

    def shown(self, case: Case) -> Shown | None:
        """What came of a case, if it fails in the way that is wanted; the first failure decides."""
        problems = SharedProblems()
        ran, outcome = run_problem(0, case, self.task.backend, self.hands, problems, self.runner)
        if ran.result is None or ran.case is None:
            return None
        signature = signature_of(ran.result, ran.case)
        self._wanted = self._wanted or signature
        return Shown(ran.case, ran.result, problems, outcome) if signature == self._wanted else None

    def smallest(self, shown: Shown) -> Shown:
        """The smallest case that fails alike, going on from each that does."""
        vain: set[Step] = set()  # steps that led elsewhere: tried again once nothing else is left
        again = False
        while True:
            below = self._next(shown.case, vain)
            if below is not None:
                shown, again = below, True
            elif again and vain and not self.spent:
                vain, again = set(), False
            else:
                return shown

    def _next(self, case: Case, vain: set[Step]) -> Shown | None:
        """The first step from a case that fails alike; None where there is none, or no time left."""
        for step, candidate in smaller(case):
            if step in vain:
                continue
            if time.monotonic() > self.end:
                self.spent = True
                return None
            self.tried += 1
            shown = self.shown(candidate)
            if shown is not None:
                return shown
            vain.add(step)
        return None


def shrink(task: Shrinking, hands: Hands) -> Shrunk:
    """Make the case of a failure small, and explain what is left."""
    start = time.monotonic()
    with hands.runner(task.backend) as runner:
        shrinker = Shrinker(task, hands, runner, start + task.seconds)
        large = shrinker.shown(replace(task.case, name=SHRUNK_NAME))
        if large is None:
            seconds = time.monotonic() - start
            return Shrunk(case=task.case, result=None, tried=1, environment=environment(), seconds=seconds)
        small = shrinker.smallest(large)
        result = _explained(_renamed(large, FOUND_NAME), small, hands, runner)
        numbers, trace = _files(small, task.backend)
    return Shrunk(
        case=small.case, result=result, trace=trace, numbers=numbers, tried=shrinker.tried,
        spent=shrinker.spent, environment=environment(), seconds=time.monotonic() - start,
    )  # fmt: skip


def _renamed(shown: Shown, name: str) -> Shown:
    """The same under another name, with the same numbers."""
    case, problems = replace(shown.case, name=name), SharedProblems()
    problems.problems.put(replace_in(shown.problems.problems.problem(shown.case), case=case))
    return Shown(case, replace(shown.result, case=name), problems, shown.outcome)


def _explained(large: Shown, small: Shown, hands: Hands, runner: Runner) -> RunResult:
    """The result of the small case with a cause that explains the large one too: of few numbers many causes are alike.

    What is two mistakes in the large one is explained in the small one alone.
    """
    result = small.result
    if result.status != "diverge":
        return result
    try:
        explained = _with_cause([large, small], hands, runner) or result
        if not _is_explained(explained):
            explained = _with_cause([small], hands, runner) or explained
    except Exception as error:  # noqa: BLE001 (a campaign goes on without the cause of one finding)
        return replace(result, notes=[*result.notes, f"looking for the cause raised {type(error).__name__}: {error}"])
    return explained


def _is_explained(result: RunResult) -> bool:
    return bool(result.diagnosis) and result.diagnosis[0].fault != UNEXPLAINED


def _with_cause(shown: list[Shown], hands: Hands, runner: Runner) -> RunResult | None:
    """The result of the last case, with a cause that explains all of them; of a port as ``lockstep check`` tells it."""
    limit = hands.campaign.limit
    if isinstance(runner, PortRunner):
        explained = check(runner.port, [failure.case for failure in shown], limit=limit)[-1]
        return explained if explained.status == "diverge" else None
    problems = Problems()
    judge, runs = Judge(problems, limit), []
    for failure in shown:
        problems.put(failure.problems.problems.problem(failure.case))
        runs.append(judge.judge(failure.case, failure.result.backend, failure.outcome))
    return judge.explain(runs)[-1]


def _files(shown: Shown, backend: str) -> tuple[bytes, bytes]:
    """The numbers of a case and what a backend gave for them, each as a .safetensors file."""
    problem, outcome = shown.problems.problems.problem(shown.case), shown.outcome
    trace = outcome.trace
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "arrays.safetensors"
        save_safetensors(file, problem.arrays(), {"case": shown.case.name})
        numbers = file.read_bytes()
        if trace is None:
            return numbers, b""
        recorded = Recorded(
            case=shown.case, problem=problem.digest, backend=backend, parameters=trace.parameters, device=trace.device,
            environment=environment(), versions=outcome.versions, seconds=outcome.seconds,
            repeatable=outcome.repeatable,
        )  # fmt: skip
        save_trace(file, trace, recorded)
        return numbers, file.read_bytes()
