"""Which finding a failure is: one that is there already, or a new one, which is made small first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from textwrap import shorten

from msgspec.structs import replace

from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.jobs.campaign.failures.bundle import Bundle, shrinking_text
from lockstep.harness.jobs.campaign.failures.signature import joined, signature_of
from lockstep.harness.jobs.campaign.journal import Journal, LoggedFinding, UnsortedFailure
from lockstep.harness.jobs.campaign.tasks import Shrinking, Shrunk
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.units import met_by

MOST_OF_A_KIND = 8  # findings of one backend, status, tensor and place: what comes then counts as the last of them
MOST_OF_TITLE = 120  # characters of what went wrong
MOST_ATTEMPTS = 2  # to make a failure small: a worker that dies of it twice leaves it as it is


class Sorting:
    """Sorts failures into findings, one of a kind at a time: the next may be the same."""

    def __init__(self, journal: Journal, campaign: Campaign, seconds: float, told: Callable[[RunResult], str]) -> None:
        """Go on where the journal is. ``seconds``: the budget of one; ``told`` puts a result into words."""
        self._journal, self._campaign, self._seconds, self._told = journal, campaign, seconds, told
        self.findings = {finding.id: finding for finding in journal.findings()}
        self._waiting: dict[str, list[UnsortedFailure]] = {}
        self._sent: dict[int, UnsortedFailure] = {}
        self._attempts: dict[str, int] = {}
        self.take(journal.unsorted())

    @property
    def busy(self) -> bool:
        """Whether failures wait for what becomes of others."""
        return bool(self._waiting or self._sent)

    @property
    def in_hand(self) -> int:
        """Shrinkings that are sent and not answered."""
        return len(self._sent)

    def has(self, number: int) -> bool:
        """Whether a task is one of its own."""
        return number in self._sent

    def take(self, failures: Iterable[UnsortedFailure]) -> None:
        """Take in failures that the journal has."""
        for failure in failures:
            self._waiting.setdefault(failure.signature, []).append(failure)

    def next(self, number: Callable[[], int]) -> Shrinking | None:
        """The next failure to be made small, after counting those that are known by now."""
        shrinking = {failure.signature for failure in self._sent.values()}
        for signature in [signature for signature in self._waiting if signature not in shrinking]:
            left = self._counted(signature, self._waiting.pop(signature))
            if not left:
                continue
            first = min(left, key=lambda failure: _size(failure.failure.case))
            self._waiting[signature] = left
            task = Shrinking(number(), first.backend, first.failure.case, self._seconds)
            self._sent[task.number] = first
            return task
        return None

    def shrunk(self, number: int, shrunk: Shrunk | None) -> LoggedFinding | None:
        """Keep what a failure came to; None where its worker was lost: it is tried again, but not for ever."""
        failure = self._sent.pop(number)
        if shrunk is None:
            place = f"{failure.k} {failure.backend} {failure.n}"
            self._attempts[place] = self._attempts.get(place, 0) + 1
            if self._attempts[place] < MOST_ATTEMPTS:
                return None
            shrunk = Shrunk(case=failure.failure.case, result=None)
        finding = self._finding(failure, shrunk)
        number = self._journal.add_finding(finding, [failure])
        self.findings = {finding.id: finding for finding in self._journal.findings()}
        left = [other for other in self._waiting.pop(failure.signature, []) if other is not failure]
        self._waiting |= {failure.signature: left} if left else {}
        return self.findings[number]

    def _counted(self, signature: str, failures: list[UnsortedFailure]) -> list[UnsortedFailure]:
        """Count failures as findings that are there, and return the others."""
        of_kind = [finding for finding in self.findings.values() if finding.coarse == signature]
        by_finding: dict[int, list[UnsortedFailure]] = {}
        left = []
        for failure in failures:
            features = needed(failure.failure.case)
            finding = next((finding for finding in of_kind if finding.takes(features)), None)
            if finding is None and len(of_kind) >= MOST_OF_A_KIND:
                finding = of_kind[-1]
            if finding is None:
                left.append(failure)
            else:
                by_finding.setdefault(finding.id, []).append(failure)
        for number, of_finding in by_finding.items():
            self._journal.assign(number, of_finding)
        return left

    def _finding(self, failure: UnsortedFailure, shrunk: Shrunk) -> LoggedFinding:
        """A finding with its bundle, which is there before the journal says so."""
        case, result = shrunk.case, shrunk.result or failure.failure.result
        kind = signature_of(result, case)
        cause = result.diagnosis[0].fault if result.diagnosis else None
        cause = None if cause == UNEXPLAINED else cause
        features = needed(case)
        end = f"cause: {cause}" if cause else f"takes: {', '.join(features) or 'nothing'}"
        end = end if shrunk.result else "did not show again"
        signature, title = joined((*kind, end)), _title(result, cause, features, again=shrunk.result is not None)
        name = f"{result.backend}-{hashlib.sha256(signature.encode()).hexdigest()[:8]}"
        bundle = Bundle(name, title, self._campaign, case, result, shrunk, self._told(replace(result, case=name)))
        folder = bundle.write(self._journal.folder)
        facts = {"tried": shrunk.tried, "seconds": round(shrunk.seconds, 1), "spent": shrunk.spent,
                 "again": shrunk.result is not None, "text": shrinking_text(shrunk)}  # fmt: skip
        return LoggedFinding(
            id=0, signature=signature, backend=kind.backend, status=kind.status, tensor=kind.tensor, place=kind.place,
            cause=cause, features=(features,), k=failure.k, n=failure.n, shrunk=facts, title=title,
            bundle=folder.relative_to(self._journal.folder).as_posix(), runs=1,
        )  # fmt: skip


def needed(case: Case) -> tuple[str, ...]:
    """The features that a case has; float32 is none."""
    return tuple(sorted(met_by(case) - {"float32"}))


def _size(case: Case) -> int:
    return case.run.timesteps * case.run.batch * case.lstm.hidden_size * case.lstm.num_layers


def _title(result: RunResult, cause: str | None, features: tuple[str, ...], *, again: bool) -> str:
    """A finding in one line."""
    first = result.first_divergence
    message = next(iter((result.message or "").splitlines()), "")
    what = f"differs first in {first.tensor}" if result.status == "diverge" and first else f"{result.status}: {message}"
    why = f": {cause}" if cause else f", takes {', '.join(features)}" if features else ""
    what = shorten(what, MOST_OF_TITLE, placeholder=" ...")
    return f"{result.backend} {what}{why}{'' if again else '; did not show again'}"
