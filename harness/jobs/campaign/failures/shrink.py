"""Make a failure small: the smallest case that still fails in the same way, explained, with its numbers."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Recorded, save_trace
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.jobs.campaign.failures.reductions import Step, smaller
from lockstep.harness.jobs.campaign.failures.signature import Signature, signature_of
from lockstep.harness.jobs.campaign.hands import Hands, Runner, SharedProblems
from lockstep.harness.jobs.campaign.run_unit import run_problem
from lockstep.harness.jobs.campaign.target import PortRunner
from lockstep.harness.jobs.campaign.tasks import Shrinking, Shrunk
from lockstep.harness.jobs.check import check
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.run import environment

SHRUNK_NAME = "shrunk"  # the name of a case that was made small


@dataclass
class Shrinker:
    """Tries cases through one backend, until a time."""

    task: Shrinking
    hands: Hands
    runner: Runner
    end: float  # of the budget
    tried: int = 0
    spent: bool = False
    last: tuple[SharedProblems, Outcome] | None = None  # of the smallest case so far
    _wanted: Signature | None = field(default=None, init=False)

    def shown(self, case: Case) -> tuple[Case, RunResult] | None:
        """A case and its result as it ran, if it fails in the way that is wanted; the first failure decides."""
        network = SharedProblems()
        ran, outcome = run_problem(0, case, self.task.backend, self.hands, network, self.runner)
        if ran.result is None or ran.case is None:
            return None
        signature = signature_of(ran.result, ran.case)
        self._wanted = self._wanted or signature
        if signature != self._wanted:
            return None
        self.last = network, outcome
        return ran.case, ran.result

    def smallest(self, case: Case, result: RunResult) -> tuple[Case, RunResult]:
        """The smallest case that fails alike, going on from each that does."""
        vain: set[Step] = set()  # steps that led elsewhere: tried again once nothing else is left
        again = False
        while True:
            shown = self._next(case, vain)
            if shown is not None:
                (case, result), again = shown, True
            elif again and vain and not self.spent:
                vain, again = set(), False
            else:
                return case, result

    def _next(self, case: Case, vain: set[Step]) -> tuple[Case, RunResult] | None:
        """The first step from a case that fails alike; None where there is none, or no time left."""
        for step, candidate in smaller(case):
            if step in vain:
                continue
            if time.monotonic() > self.end:
                self.spent = True
                return None
            self.tried += 1
            kept = self.last
            shown = self.shown(candidate)
            if shown is not None:
                return shown
            self.last = kept
            vain.add(step)
        return None


def shrink(task: Shrinking, hands: Hands) -> Shrunk:
    """Make the case of a failure small, and explain what is left."""
    start = time.monotonic()
    with hands.runner(task.backend) as runner:
        shrinker = Shrinker(task, hands, runner, start + task.seconds)
        shown = shrinker.shown(replace(task.case, name=SHRUNK_NAME))
        if shown is None:
            seconds = time.monotonic() - start
            return Shrunk(case=task.case, result=None, tried=1, environment=environment(), seconds=seconds)
        case, result = shrinker.smallest(*shown)
        assert shrinker.last is not None
        network, outcome = shrinker.last
        result = _explained(case, result, hands, network, outcome, runner)
        numbers, trace = _files(case, task.backend, network, outcome)
    return Shrunk(
        case=case, result=result, trace=trace, numbers=numbers, tried=shrinker.tried,
        spent=shrinker.spent, environment=environment(), seconds=time.monotonic() - start,
    )  # fmt: skip


def _explained(
    case: Case, result: RunResult, hands: Hands, network: SharedProblems, outcome: Outcome, runner: Runner
) -> RunResult:
    """The result with its cause; of a port as ``lockstep check`` tells it."""
    if result.status != "diverge":
        return result
    try:
        if isinstance(runner, PortRunner):
            (explained,) = check(runner.port, [case], limit=hands.campaign.limit)
            return explained if explained.status == "diverge" else result
        judge = Judge(network.problems, hands.campaign.limit)
        (explained,) = judge.explain([judge.judge(case, result.backend, outcome)])
    except Exception as error:  # noqa: BLE001 (a campaign goes on without the cause of one finding)
        return replace(result, notes=[*result.notes, f"looking for the cause raised {type(error).__name__}: {error}"])
    return explained


def _files(case: Case, backend: str, network: SharedProblems, outcome: Outcome) -> tuple[bytes, bytes]:
    """The numbers of a case and what a backend gave for them, each as a .safetensors file."""
    problem, trace = network.problems.problem(case), outcome.trace
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "arrays.safetensors"
        save_safetensors(file, problem.arrays(), {"case": case.name})
        numbers = file.read_bytes()
        if trace is None:
            return numbers, b""
        recorded = Recorded(
            case=case, problem=problem.digest, backend=backend, parameters=trace.parameters, device=trace.device,
            environment=environment(), versions=outcome.versions, seconds=outcome.seconds,
            repeatable=outcome.repeatable,
        )  # fmt: skip
        save_trace(file, trace, recorded)
        return numbers, file.read_bytes()
