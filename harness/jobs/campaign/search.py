"""A campaign from its beginning, or from where it was, to its end: units sent, answers kept, findings sorted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from lockstep.harness.adapters.backend_process import resident_megabytes
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.failures.signature import joined, signature_of
from lockstep.harness.jobs.campaign.failures.sorting import Sorting
from lockstep.harness.jobs.campaign.journal import Counts, Journal, LoggedFinding, StoredFailure, UnsortedFailure
from lockstep.harness.jobs.campaign.schedule import MOST_IN_BATCH, Schedule
from lockstep.harness.jobs.campaign.tasks import Answer, Executor
from lockstep.harness.jobs.campaign.unit import Campaign, Ran, Unit, UnitResult
from lockstep.harness.jobs.campaign.work import unit_of
from lockstep.harness.jobs.run import lockstep_version

WAIT = 0.5  # seconds that answers are waited for, between two looks at the clock
SHRINKING_SECONDS = 120.0  # the budget of one finding
MEMORY_TICK = 60.0  # seconds between two times that the memory of our processes is kept
TICK = 5.0  # seconds between two times that the state is told


class CampaignError(LockstepError):
    """A campaign ended before it was through: of what, and that it can go on."""


@dataclass(frozen=True)
class CampaignBounds:
    """When a campaign ends: what it did before it was resumed counts."""

    minutes: float | None = None
    runs: int | None = None
    shrinking: float = SHRINKING_SECONDS  # seconds for one finding


class State(Struct, frozen=True, kw_only=True):
    """How far a campaign is, as it is told while it runs."""

    counts: Counts
    minutes: float | None
    runs: int | None
    phase: str  # "running", "shrinking": time is up, and failures are made small; "through"
    last: str = ""  # the unit or finding that came last


@dataclass
class CampaignRun:
    """One session of a campaign."""

    journal: Journal
    campaign: Campaign
    executor: Executor
    bounds: CampaignBounds
    told: Callable[[RunResult], str]  # a result in words
    on_state: Callable[[State], None] = lambda state: None
    on_finding: Callable[[LoggedFinding], None] = lambda finding: None
    on_tick: Callable[[State], None] = lambda state: None  # every few seconds: what is written while it runs
    _schedule: Schedule = field(init=False)
    _sorting: Sorting = field(init=False)
    _counts: Counts = field(init=False)
    _last: str = field(default="", init=False)
    _written: float = field(default=0.0, init=False)
    _megabytes: dict[str, float] = field(default_factory=dict, init=False)  # by worker, since they were kept
    _remembered: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._schedule = Schedule(self.campaign, self.journal.done(), self.journal.chosen(), self.journal.spent())
        self._sorting = Sorting(self.journal, self.campaign, self.bounds.shrinking, self.told)
        self._counts = self.journal.counts()
        self._before, self._start = self._counts.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the campaign has run, all sessions together."""
        return self._before + time.monotonic() - self._start

    def run(self) -> None:
        """Run until the end that was asked for, and until what was found is sorted.

        Raises:
            CampaignError: If nothing can be run any more.
            JournalError: If nothing can be written any more.
        """
        while True:
            self._send()
            if not (self._schedule.in_hand or self._sorting.busy):
                break
            self._take(self.executor.answers(WAIT))
            self._tell()
        self._tell(through=True)

    def _send(self) -> None:
        places = self.executor.capacity
        while self._schedule.in_hand + self._sorting.in_hand < places:
            # Many failures of one backend are not to hold up all others.
            may_shrink = self._over or self._sorting.in_hand < max(1, places // 2)
            shrinking = self._sorting.next(self._schedule.number) if may_shrink else None
            task = shrinking or (None if self._over else self._schedule.next(self._most_units))
            if task is None:
                return
            self.executor.submit(task)

    @property
    def _over(self) -> bool:
        minutes, runs = self.bounds.minutes, self.bounds.runs
        timely = minutes is None or self.seconds < 60 * minutes
        return not timely or (runs is not None and self._counts.runs >= runs) or self._schedule.exhausted

    @property
    def _most_units(self) -> int:
        """How many units may still be sent at once, where a number of runs is asked for."""
        if self.bounds.runs is None:
            return MOST_IN_BATCH
        return max(1, (self.bounds.runs - self._counts.runs) // (self.campaign.problems * self.executor.capacity))

    def _take(self, answers: Iterable[Answer]) -> None:
        answers = list(answers)
        self._keep([unit for answer in answers for unit in answer.units])
        for answer in answers:
            if answer.fatal is not None:
                raise CampaignError(
                    f"{answer.fatal.strip()}\nWhat was done is in the journal. Go on with: "
                    f"lockstep search --out {self.journal.folder} --resume"
                )
            if answer.chosen is not None:
                backend, number = self._schedule.chosen(answer.number, answer.chosen)
                self.journal.choose(backend, number, answer.chosen)
            if answer.done and self._sorting.has(answer.number):
                self._found(self._sorting.shrunk(answer.number, answer.shrunk))
            elif answer.done:
                given_up = self._schedule.ended(answer.number, answer.lost)
                self._keep([_lost(unit_of(self.campaign, k, name), answer.lost or "") for name, k in given_up])

    def _keep(self, units: list[UnitResult]) -> None:
        if not units:
            return
        self._counts = self._counts.with_units(self.journal.write(units, self.seconds))
        for unit in units:
            self._schedule.through(unit)
            self._sorting.take(_failures(unit))
            self._megabytes |= dict([unit.worker] if unit.worker else [])
        self._last = f"configuration {units[-1].k} x {units[-1].backend}"

    def _found(self, finding: LoggedFinding | None) -> None:
        if finding is not None:
            self._counts = self.journal.counts()
            self._last = finding.title
            if finding.runs == 1:
                self.on_finding(finding)

    def _tell(self, *, through: bool = False) -> None:
        phase = "through" if through else "shrinking" if self._over else "running"
        counts = msgspec.structs.replace(self._counts, seconds=self.seconds)
        bounds = self.bounds
        state = State(counts=counts, minutes=bounds.minutes, runs=bounds.runs, phase=phase, last=self._last)
        self.on_state(state)
        now = time.monotonic()
        if through or now - self._written > TICK:
            self.journal.keep(seconds=self.seconds)
            self._remember(now, through=through)
            self.on_tick(state)
            self._written = time.monotonic()

    def _remember(self, now: float, *, through: bool) -> None:
        client = resident_megabytes()
        if client is not None and (through or now - self._remembered > MEMORY_TICK):
            self.journal.remember({"client": client, **self._megabytes}, self.seconds)
            self._megabytes, self._remembered = {}, now


def status_of(findings: Iterable[LoggedFinding]) -> int:
    """The exit status of a campaign: 0 nothing new, 1 findings, 3 a backend died of itself."""
    return max((3 if finding.status == "crashed" else 1 for finding in findings), default=0)


def _failures(unit: UnitResult) -> list[UnsortedFailure]:
    """What is new of a unit, as the journal has it."""
    return [
        UnsortedFailure(
            unit.k, unit.backend, run.n, joined(signature_of(run.result, run.case)),
            StoredFailure(run.case, run.result),
        )
        for run in unit.runs
        if run.result is not None and run.case is not None
    ]  # fmt: skip


def _lost(unit: Unit, message: str) -> UnitResult:
    """The result of a unit that took its workers with it, again and again."""
    result = RunResult(case=unit.case.name, backend=unit.backend, status="crashed", message=f"{message}, each time")
    run = Ran(n=0, verdict="crashed", case=unit.case, result=result)
    return UnitResult(k=unit.k, backend=unit.backend, features=unit.features, runs=(run,),
                      versions={"lockstep": lockstep_version()})  # fmt: skip
