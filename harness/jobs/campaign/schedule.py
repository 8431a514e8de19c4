"""Which units come next: those of the backend that had least time so far, the frameworks beside each other."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lockstep.harness.jobs.campaign.hands import framework_of
from lockstep.harness.jobs.campaign.tasks import Batch, Choosing
from lockstep.harness.jobs.campaign.unit import Campaign, UnitResult

BATCH_SECONDS = 4.0  # that a batch is to take: long beside what sending it costs, short beside what its loss costs
SECONDS_BEFORE_ASKING = 15.0  # that those who were asked already have first
MOST_IN_BATCH = 64
MOST_LOSSES = 3  # of workers that had a unit in hand, after which it is not sent again


@dataclass
class Course:
    """How far one backend is."""

    backend: str
    framework: object
    round: int = 0  # the next one that is chosen from
    ks: deque[int] = field(default_factory=deque)  # chosen, and not sent yet
    choosing: bool = False
    seconds: float = 0.0  # that it had
    mean: float = BATCH_SECONDS  # seconds of a unit, of late
    barren: bool = False  # whether it runs nothing of a round, and would of no other

    @property
    def turn(self) -> float:
        """The smaller, the sooner it comes: to ask one more, whose framework is imported for that, can wait a while."""
        return self.seconds + (0.0 if self.ks else SECONDS_BEFORE_ASKING)


class Schedule:
    """The order of the units of a campaign; what is through, or given up, never comes again."""

    def __init__(
        self,
        campaign: Campaign,
        done: Iterable[tuple[str, int]] = (),
        chosen: Mapping[tuple[str, int], Iterable[int]] | None = None,
        spent: Mapping[str, float] | None = None,
    ) -> None:
        """Begin, or go on where units are through, rounds were chosen from, and backends had so many seconds."""
        self._courses = {name: Course(name, framework_of(campaign, name)) for name in campaign.backends}
        self._done = set(done)
        self._number = 0
        self._sent: dict[int, Batch | Choosing] = {}
        self._losses: Counter[tuple[str, int]] = Counter()
        for (backend, number), ks in (chosen or {}).items():
            self._queue(backend, number, ks)
        for backend, seconds in (spent or {}).items():
            self._courses[backend].seconds = seconds

    @property
    def in_hand(self) -> int:
        """Tasks that are sent and not answered."""
        return len(self._sent)

    @property
    def exhausted(self) -> bool:
        """Whether no backend runs anything more."""
        return all(course.barren and not course.ks for course in self._courses.values())

    def number(self) -> int:
        """A number for a task."""
        self._number += 1
        return self._number

    def next(self, most_units: int = MOST_IN_BATCH) -> Batch | Choosing | None:
        """The next task; None while there is none to send, as while all rounds are being chosen from."""
        busy = {self._courses[task.backend].framework for task in self._sent.values()}
        ready = [course for course in self._courses.values() if course.ks or not (course.choosing or course.barren)]
        # A second process of one framework only where every other framework has enough to do.
        course = min(ready, key=lambda course: (course.framework in busy, course.turn), default=None)
        if course is None:
            return None
        task = self._batch(course, most_units) if course.ks else self._choosing(course)
        self._sent[task.number] = task
        return task

    def _batch(self, course: Course, most: int) -> Batch:
        count = max(1, min(int(BATCH_SECONDS / max(course.mean, 1e-3)), MOST_IN_BATCH, most))
        ks = tuple(course.ks.popleft() for _ in range(min(count, len(course.ks))))
        course.seconds += course.mean * len(ks)  # counted now: what is sent next is to be another's
        return Batch(self.number(), course.backend, ks)

    def _choosing(self, course: Course) -> Choosing:
        course.choosing = True
        return Choosing(self.number(), course.backend, course.round)

    def chosen(self, number: int, ks: Iterable[int]) -> tuple[str, int]:
        """Take in what a backend runs of a round, as a task has it answered: the backend and the round."""
        task = self._sent[number]
        assert isinstance(task, Choosing)
        self._queue(task.backend, task.round, ks)
        return task.backend, task.round

    def _queue(self, backend: str, number: int, ks: Iterable[int]) -> None:
        course, chosen = self._courses[backend], list(ks)
        course.round, course.barren = number + 1, not chosen
        course.ks.extend(k for k in chosen if (backend, k) not in self._done)

    def through(self, result: UnitResult) -> None:
        """Take in that a unit is through."""
        course = self._courses[result.backend]
        self._done.add((result.backend, result.k))
        seconds = sum(run.framework_seconds + run.harness_seconds for run in result.runs)
        course.seconds += seconds - course.mean
        course.mean += (seconds - course.mean) / 4

    def ended(self, number: int, lost: str | None) -> list[tuple[str, int]]:
        """Take in that a task is done or lost: the units that have taken their workers with them too often."""
        task = self._sent.pop(number, None)
        if task is None:
            return []
        course = self._courses[task.backend]
        if isinstance(task, Choosing):
            course.choosing = False
            return []
        left = [k for k in task.ks if (task.backend, k) not in self._done]
        self._losses.update((task.backend, k) for k in left[: 1 if lost else 0])
        given_up = [(task.backend, k) for k in left if self._losses[task.backend, k] >= MOST_LOSSES]
        course.ks.extendleft(k for k in reversed(left) if (task.backend, k) not in given_up)
        return given_up
