"""Whether the workers of a cluster have the same: versions of ours and of frameworks, told without importing any."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.cache.installed import distribution_of
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.run import lockstep_version
from lockstep.harness.text import counted

MOST_TOLD = 8  # workers, and differences of one, in a message
OURS = "lockstep"
Facts = dict[str, str]


def backends_of(campaign: Campaign) -> tuple[str, ...]:
    """The names of the backends that a campaign runs; a port is none."""
    return campaign.backends if campaign.port is None else ()


@cache
def facts_of(names: tuple[str, ...]) -> Facts:
    """What must be alike where backends are run, by their names: versions, and a digest of our own sources."""
    backends = find_backends(names)
    packages = {package for backend in backends for package in (backend.module.partition(".")[0], *backend.requires)}
    return {
        OURS: f"{lockstep_version()} ({_sources()[:12]})",
        "python": platform.python_version(),
        **{package: _version(package) for package in sorted({"numpy", *packages} - {OURS})},
    }


def _sources() -> str:
    """A digest of the text of lockstep's modules: where it is installed for editing its version says little."""
    digest, top = hashlib.sha256(), Path(str(files(OURS)))
    for part in ("harness", "backends", "cases"):
        for path in sorted((top / part).rglob("*.py")):
            digest.update(f"{path.relative_to(top).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    distribution = distribution_of(package)
    return "not installed" if distribution is None else distribution.version


def check_alike(facts: Mapping[str, Facts | BaseException], here: Facts, *, allow_mixed: bool) -> None:
    """Check what workers, by address, said of themselves. Ours is to be as it is here: units are drawn on both sides.

    Raises:
        LockstepError: If they differ in what may not differ, with what each has.
    """
    if not facts:
        raise LockstepError("the cluster has no workers: start some with `dask worker ADDRESS`.")
    silent = {worker: error for worker, error in facts.items() if isinstance(error, BaseException)}
    if silent:
        told = "\n".join(f"  {worker}: {error}" for worker, error in list(silent.items())[:MOST_TOLD])
        raise LockstepError(
            f"{counted(len(silent), 'worker')} of {len(facts)} cannot import lockstep, or not this one:\n{told}\n"
            "Install the same version there as here."
        )
    known = {worker: facts_of_it for worker, facts_of_it in facts.items() if not isinstance(facts_of_it, BaseException)}
    _check_ours(known, here)
    differing = {} if allow_mixed else differences(known)
    if differing:
        told = "\n".join(f"  {worker}: {what}" for worker, what in list(differing.items())[:MOST_TOLD])
        raise LockstepError(
            f"the workers are not alike; {len(known) - len(differing)} of {len(known)} are as most are, the others "
            f"have:\n{told}\nMake them alike, or allow it with --allow-mixed: results are then marked by environment."
        )


def _check_ours(known: Mapping[str, Facts], here: Facts) -> None:
    others = [worker for worker, facts in known.items() if facts[OURS] != here[OURS]]
    if others:
        told = "\n".join(f"  {worker}: {known[worker][OURS]}" for worker in others[:MOST_TOLD])
        raise LockstepError(
            f"lockstep {here[OURS]} is here, and {counted(len(others), 'worker')} of {len(known)} another:\n{told}\n"
            "Units are drawn here and there: install the same on all, from the same sources."
        )


def differences(known: Mapping[str, Facts]) -> dict[str, str]:
    """By worker that is not as most are: what it has, and what most have."""
    names = list(dict.fromkeys(name for facts in known.values() for name in facts))
    common = {name: Counter(facts.get(name, "") for facts in known.values()).most_common(1)[0][0] for name in names}
    differing = {
        worker: [
            f"{name} {facts.get(name, '')} (most: {common[name]})" for name in names if _differs(name, facts, common)
        ]
        for worker, facts in known.items()
    }
    return {worker: _listed(lines) for worker, lines in differing.items() if lines}


def _differs(name: str, facts: Facts, common: Facts) -> bool:
    return facts.get(name, "") != common[name]


def _listed(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - MOST_TOLD} more" if len(lines) > MOST_TOLD else ""
    return ", ".join(lines[:MOST_TOLD]) + more
