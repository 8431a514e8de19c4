"""What a campaign came to, in words and as plain values."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lockstep.harness.jobs.durations import duration_text
from lockstep.harness.text import counted

if TYPE_CHECKING:
    from lockstep.harness.jobs.campaign.journal import Journal, LoggedFinding

LISTED_FINDINGS = 50  # in words: the page has them all


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
        "environments": [
            {"machine": machine, "versions": msgspec.json.decode(versions)}
            for machine, versions in journal.rows("SELECT machine, versions FROM environments ORDER BY id")
        ],
    }
