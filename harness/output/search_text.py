"""What a campaign came to: in words, as plain values, and as a page that is written while it runs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.durations import duration_text
from lockstep.harness.output.console import complain
from lockstep.harness.output.write_results import renderer, telling
from lockstep.harness.text import counted

if TYPE_CHECKING:
    from lockstep.harness.jobs.campaign.journal import Journal, LoggedFinding
    from lockstep.harness.jobs.campaign.search import CampaignBounds, State
    from lockstep.harness.jobs.campaign.summary import PlannedRow

LISTED_FINDINGS = 50  # in words: the page has them all
# Of each process of ours: the megabytes that it had first, last and at most.
MEMORY = """SELECT DISTINCT process, first_value(megabytes) OVER of_it, last_value(megabytes) OVER of_it,
    max(megabytes) OVER of_it FROM memory WINDOW of_it AS (PARTITION BY process ORDER BY time
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) ORDER BY process"""
SHARE = 20  # a page that took a second is written again after so many: who draws it does not run units


def found_text(finding: LoggedFinding, folder: Path, shown_by: str) -> str:
    """One finding, with the command that shows it."""
    lines = [f"Finding {finding.id}: {finding.title}"]
    if finding.bundle is not None:
        lines += [
            f"  {finding.shrunk['text']}",
            f"  Shown by: cd {shlex.quote(str(folder / finding.bundle))} && {shown_by}",
        ]
    return "\n".join(lines)


def campaign_text(journal: Journal, *, interrupted: bool = False) -> str:
    """What a campaign came to so far."""
    counts = journal.counts()
    new = f"{counted(counts.findings, 'finding')} ({counted(counts.new, 'run')})" if counts.findings else "nothing new"
    units = counted(counts.units - counts.refused, "unit")
    so_far = f"{counted(counts.runs, 'run')} of {units} in {duration_text(counts.seconds)}"
    lines = [f"{so_far}: {new}, {counts.known} known; {counts.refused} refused."]
    lines += [
        f"  {finding.id}. {finding.title}: {counted(finding.runs, 'run')}, {finding.bundle}"
        for finding in journal.findings()[:LISTED_FINDINGS]
    ]
    for name, backend, met in missing_of(journal):
        unseen = f"Known, and not seen though its features were met: {name} in {backend}, met {counted(met, 'time')}."
        lines.append(f"{unseen} It may be mended: lockstep findings {name}")
    if interrupted:
        lines.append(f"Interrupted. Go on with: lockstep search --out {shlex.quote(str(journal.folder))} --resume")
    return "\n".join(lines)


def plan_text(rows: Sequence[PlannedRow], problems: int) -> str:
    """What the first round of a campaign takes, by backend."""
    width = max(len(row.backend) for row in rows)
    lines = [f"{'':{width}}  units  pairs of features"]
    lines += [f"{row.backend:{width}}  {row.units:5}  {row.pairs:5}" for row in rows]
    units, pairs = sum(row.units for row in rows), sum(row.pairs for row in rows)
    lines.append(f"{'together':{width}}  {units:5}  {pairs:5}")
    meet = "each meet every pair of features once in every backend that supports both."
    return "\n".join([*lines, f"{counted(units, 'unit')} of {counted(problems, 'problem')} {meet}"])


def missing_of(journal: Journal) -> list[tuple[str, str, int]]:
    """Known findings whose features were met and that did not show: name, backend, how often they were met."""
    return [(name, backend, met) for (name, backend), (met, shown) in sorted(journal.met().items()) if not shown]


def campaign_values(journal: Journal) -> dict[str, Any]:
    """What a campaign came to as plain values, for --json."""
    return {
        "format": 1,
        "folder": str(journal.folder),
        "settings": msgspec.to_builtins(journal.campaign),
        "counts": msgspec.to_builtins(journal.counts()),
        "findings": msgspec.to_builtins(journal.findings()),
        "known": [
            {"finding": name, "backend": backend, "met": met, "shown": shown}
            for (name, backend), (met, shown) in sorted(journal.met().items())
        ],
        "memory": [
            {"process": process, "first": first, "last": last, "most": most}
            for process, first, last, most in journal.rows(MEMORY)
        ],
        "environments": [
            {"machine": machine, "versions": msgspec.json.decode(versions)}
            for machine, versions in journal.rows("SELECT machine, versions FROM environments ORDER BY id")
        ],
    }


@dataclass
class CampaignPage:
    """The page in a campaign's folder."""

    journal: Journal
    bounds: CampaignBounds
    _next: float = 0.0
    _state: State | None = None
    _complained: bool = False

    def on_tick(self, state: State) -> None:
        """Write how far the campaign is, unless writing it takes too much of the time."""
        self._state = state
        if state.phase == "through" or time.monotonic() >= self._next:
            self._write(state)

    def close(self) -> None:
        """Say how far a campaign came that ended before it was through."""
        if self._state is not None and self._state.phase != "through":
            self._write(replace(self._state, phase="interrupted"))

    def _write(self, state: State) -> None:
        from lockstep.harness.jobs.campaign.summary import summary

        start = time.monotonic()
        values: dict[str, Any] = msgspec.to_builtins(summary(
            self.journal, phase=state.phase, minutes=self.bounds.minutes, runs=self.bounds.runs, counts=state.counts
        ))  # fmt: skip
        try:
            with telling(self.journal.folder):
                renderer("search")(values, self.journal.folder)
        except LockstepError as error:  # no page is no reason to end a campaign
            if not self._complained:
                complain(f"the campaign goes on without its page: {error}")
            self._complained = True
        now = time.monotonic()
        self._next = now + SHARE * (now - start)
