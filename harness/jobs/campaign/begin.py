"""The campaign that a request asks for: a new one in its folder, or the one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lockstep.harness.adapters.backend import BackendInfo, find_backends, main_ways
from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.journal import FILE, Journal
from lockstep.harness.jobs.campaign.search import CampaignBounds
from lockstep.harness.jobs.campaign.target import named, open_port
from lockstep.harness.jobs.campaign.unit import Campaign, TargetWords
from lockstep.harness.jobs.campaign.units import PROBLEMS, check_features
from lockstep.harness.ports.port import is_decoder_port

LEAST_NETWORKS = 8  # of each backend, where so many runs are asked for that they may have one problem each


@dataclass(frozen=True)
class Wanted:
    """What a request says of a campaign; None, or nothing, of what it leaves open."""

    backends: Sequence[str] | None = None
    port: TargetWords | None = None
    features: Sequence[str] = ()
    seed: int | None = None
    timeout: float | None = None
    limit: float | None = None
    problems: int | None = None
    runs: int | None = None

    def problems_for(self, backends: int) -> int:
        """The problems of a network: fewer than usual where few runs would all go to the first networks."""
        if self.problems is not None or self.runs is None:
            return self.problems or PROBLEMS
        return max(1, min(PROBLEMS, self.runs // (LEAST_NETWORKS * backends)))


def campaign_of(wanted: Wanted, timeout: float) -> Campaign:
    """A new campaign.

    Raises:
        LockstepError: If a backend, a feature or a port is unknown, or nothing of what is named is installed.
    """
    features = check_features(wanted.features)
    if wanted.port is not None:
        if wanted.backends is not None:
            raise LockstepError("--backend and --port: a campaign searches backends or a port. Leave one of them out.")
        return _of_port(named(wanted.port, Path.cwd()), wanted, features, timeout)
    infos = searchable(wanted.backends)
    models = tuple(dict.fromkeys(info.model for info in infos))
    return Campaign(
        seed=wanted.seed or 0, backends=tuple(info.name for info in infos), models=models,  # type: ignore[arg-type]
        features=features, timeout=timeout, limit=wanted.limit,
        problems=wanted.problems_for(len(infos)),
    )  # fmt: skip


def searchable(names: Sequence[str] | None) -> list[BackendInfo]:
    """The backends of a campaign: of those that are named or, of each framework, the main ones, what is installed."""
    infos = find_backends(names)
    installed = [info for info in infos if not info.absent]
    missing = next((info for info in infos if info.absent and info.name in (names or ())), None)
    if missing is not None:
        raise LockstepError(f"{missing.name}: {missing.missing()}")
    if not installed:
        raise LockstepError("no backend of those is installed. How to install them: lockstep backends")
    return main_ways(installed) if names is None else installed


def _of_port(words: TargetWords, wanted: Wanted, features: tuple[str, ...], timeout: float) -> Campaign:
    with open_port(words, timeout) as port:
        port.taken()  # an object that cannot be made or taken is told of before anything else
        decoder = words.target is not None and is_decoder_port(parse_target(words.target))
        return Campaign(
            seed=wanted.seed or 0, backends=(port.name,), models=("attention_decoder" if decoder else "lstm",),
            features=features, timeout=timeout, limit=wanted.limit, port=words,
            problems=wanted.problems_for(1),
        )  # fmt: skip


def opened(folder: Path, wanted: Wanted, timeout: float, *, resume: bool) -> tuple[Journal, Campaign]:
    """The journal of a folder, held, and its campaign: a new one, or the one to resume.

    Raises:
        LockstepError: If the folder has a campaign and is to have none, or the other way, or the request is wrong.
    """
    new = None if resume else campaign_of(wanted, timeout)
    if resume and not (folder / FILE).exists():
        raise LockstepError(f"{folder}: no campaign to resume. Begin one: leave --resume out.")
    journal = Journal(folder)
    try:
        if new is None:
            return journal, resumed(journal, wanted)
        _begin(journal, new)
    except BaseException:
        journal.close()
        raise
    return journal, new


def _begin(journal: Journal, campaign: Campaign) -> None:
    if journal.campaign is not None:
        raise LockstepError(
            f"{journal.folder}: a campaign is in this folder. Add --resume to go on, or give another --out."
        )
    journal.begin(campaign)


def bounds_of(journal: Journal, minutes: float | None, runs: int | None, shrinking: float) -> CampaignBounds:
    """When a campaign ends: as it is asked for, else as it was when it began."""
    if minutes is None and runs is None:
        kept = {key: journal.value(key) for key in ("minutes", "runs")}
        minutes = None if kept["minutes"] is None else float(kept["minutes"])
        runs = None if kept["runs"] is None else int(kept["runs"])
    else:
        journal.forget("minutes", "runs")
        journal.keep(**{key: value for key, value in (("minutes", minutes), ("runs", runs)) if value is not None})
    return CampaignBounds(minutes, runs, shrinking)


def resumed(journal: Journal, wanted: Wanted) -> Campaign:
    """The campaign of a folder, as it was begun.

    Raises:
        LockstepError: If there is none, or the request asks for another one.
    """
    campaign, folder = journal.campaign, journal.folder
    if campaign is None:
        raise LockstepError(f"{folder}: no campaign to resume. Begin one: leave --resume out.")
    asked = {"--seed": wanted.seed, "--timeout": wanted.timeout, "--limit": wanted.limit, "--problems": wanted.problems}
    there = {name: getattr(campaign, name.removeprefix("--")) for name in asked}
    differing = [name for name, value in asked.items() if value is not None and value != there[name]]
    if wanted.features and tuple(wanted.features) != campaign.features:
        differing.append("--features")
    if wanted.port is not None and named(wanted.port, Path.cwd()) != campaign.port:
        differing.append("--port")
    if wanted.backends is not None and not (
        campaign.port is None and {info.name for info in searchable(wanted.backends)} == set(campaign.backends)
    ):
        differing.append("--backend")
    if differing:
        raise LockstepError(
            f"{folder}: its campaign was begun otherwise than {' and '.join(differing)} says: leave that out to resume "
            "it, or begin another one with another --out."
        )
    if campaign.port is None:
        searchable(campaign.backends)
    return campaign
