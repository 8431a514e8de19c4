"""What a campaign came to so far, as a page shows it: read from its journal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct, field

from lockstep.harness.cases.random_cases import DTYPES
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.failures.bundle import command
from lockstep.harness.jobs.campaign.hands import described
from lockstep.harness.jobs.campaign.journal import Counts, Journal
from lockstep.harness.jobs.campaign.tasks import Choosing, Executor
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.units import FEATURES_OF_MODEL, FeaturePair, pairs_among
from lockstep.harness.jobs.campaign.work import design_of
from lockstep.harness.jobs.findings import findings

MOST_BUCKETS = 120  # of the chart of runs a minute
SHORTEST = 10.0  # seconds of one step of it
RECENT = 300.0  # seconds over which the speed of now is taken


class Met(Struct, frozen=True, kw_only=True):
    """How a backend did on the networks that have a feature."""

    networks: int = 0
    sigma: float | None = None  # the largest error of what agrees
    new: int = 0  # networks with something new
    known: int = 0  # networks with a known finding, and nothing new


class BackendRow(Struct, frozen=True, kw_only=True):
    """One backend's part of a campaign."""

    name: str
    model: str
    pairs: int = 0  # of features that it met
    pairs_in_all: int | None = None  # that it will meet in a round; None while it was not asked what it supports
    networks: int = 0
    refused: int = 0
    runs: int = 0
    known: int = 0
    new: int = 0
    sigma: float | None = None
    framework_seconds: float = 0.0
    harness_seconds: float = 0.0
    megabytes: float | None = None
    features: dict[str, Met] = field(default_factory=dict)
    supported: tuple[str, ...] | None = None  # the features that its networks of a round have


class FindingCard(Struct, frozen=True, kw_only=True):
    """A finding, with the command that shows it."""

    title: str
    backend: str
    status: str
    tensor: str
    place: str
    cause: str | None
    features: tuple[tuple[str, ...], ...]
    runs: int
    shrunk: str
    bundle: str | None
    command: str


class KnownRow(Struct, frozen=True, kw_only=True):
    """A known finding whose features were met: how often, and how often it showed."""

    finding: str
    title: str
    backend: str
    met: int
    shown: int


class Machine(Struct, frozen=True, kw_only=True):
    """Where units ran, with all versions that it had of what they need."""

    name: str
    units: int
    versions: dict[str, tuple[str, ...]]


class Summary(Struct, frozen=True, kw_only=True):
    """All that a page shows of a campaign."""

    counts: Counts
    phase: str  # as of ``State``
    seed: int
    minutes: float | None
    most_runs: int | None
    share: float  # of what was asked for, or of the first round
    left: float | None  # seconds; None where nobody can tell yet
    toward: str  # what the share is of: "minutes", "runs", "round"
    first_round: tuple[int, int] | None  # units through and in all; None while not all backends were asked
    speed: float  # runs a minute, of late
    speeds: tuple[tuple[float, float], ...]  # minutes of running, runs a minute
    features: dict[str, tuple[str, ...]]  # by model
    backends: tuple[BackendRow, ...]
    findings: tuple[FindingCard, ...]
    known: tuple[KnownRow, ...]
    machines: tuple[Machine, ...]


def summary(journal: Journal, *, phase: str, minutes: float | None, runs: int | None, counts: Counts) -> Summary:
    """Sum up a campaign; the bounds are those that it was given."""
    campaign = journal.campaign
    assert campaign is not None
    rows = _backend_rows(journal, campaign)
    first = _first_round(journal, campaign)
    speeds, speed = _speeds(journal, counts)
    share, left, toward = _progress(counts, minutes, runs, first, speed)
    return Summary(
        counts=counts, phase=phase, seed=campaign.seed, minutes=minutes, most_runs=runs,
        share=share, left=left, toward=toward, first_round=first, speed=speed, speeds=speeds,
        features={model: _searched(campaign, model) for model in campaign.models},
        backends=rows, findings=_cards(journal, campaign), known=_known(journal), machines=_machines(journal),
    )  # fmt: skip


class PlannedRow(Struct, frozen=True, kw_only=True):
    """What the first round of a campaign takes of one backend."""

    backend: str
    units: int
    pairs: int  # of features that these meet


def planned(campaign: Campaign, executor: Executor) -> list[PlannedRow]:
    """What the first round takes, as the backends say that they support it.

    Raises:
        LockstepError: If they cannot be asked.
    """
    names, chosen = dict(enumerate(campaign.backends)), dict[int, tuple[int, ...]]()
    left = [Choosing(number, name, 0) for number, name in names.items()]
    while len(chosen) < len(names):
        while left and len(names) - len(left) - len(chosen) < executor.capacity:
            executor.submit(left.pop(0))
        for answer in executor.answers(1.0):
            if answer.fatal is not None:
                raise LockstepError(answer.fatal.strip())
            if answer.chosen is not None or answer.lost is not None:  # who takes its worker with it runs nothing here
                chosen[answer.number] = answer.chosen or ()
    design = design_of(campaign)
    return [
        PlannedRow(
            backend=name, units=len(chosen[number]),
            pairs=len(_pairs(map(design.features_of, chosen[number]))),
        )
        for number, name in names.items()
    ]  # fmt: skip


def _searched(campaign: Campaign, model: Any) -> tuple[str, ...]:
    names = (*DTYPES, *FEATURES_OF_MODEL[model])
    return tuple(name for name in names if not campaign.features or name in campaign.features)


def _progress(
    counts: Counts, minutes: float | None, runs: int | None, first: tuple[int, int] | None, speed: float
) -> tuple[float, float | None, str]:
    """The share that is done, the seconds left, and of what; of two bounds that which comes first."""
    asked: list[tuple[float, float | None, str]] = []
    if minutes is not None:
        asked.append((counts.seconds / 60 / minutes, max(0.0, 60 * minutes - counts.seconds), "minutes"))
    if runs is not None:
        asked.append((counts.runs / runs, 60 * max(0, runs - counts.runs) / speed if speed else None, "runs"))
    if not asked and first is not None:
        through, in_all = first
        each = counts.seconds / through if through else None
        asked.append((through / max(in_all, 1), None if each is None else each * (in_all - through), "round"))
    share, left, toward = max(asked, default=(0.0, None, "round"))
    return min(share, 1.0), left, toward


def _first_round(journal: Journal, campaign: Campaign) -> tuple[int, int] | None:
    chosen = journal.chosen()
    if any((backend, 0) not in chosen for backend in campaign.backends):
        return None
    size = design_of(campaign).round_size
    ((through,),) = journal.rows("SELECT count(*) FROM units WHERE k < ?", size)
    return through, sum(len(chosen[backend, 0]) for backend in campaign.backends)


def _speeds(journal: Journal, counts: Counts) -> tuple[tuple[tuple[float, float], ...], float]:
    """Runs a minute over the time of running, and of late."""
    width = max(SHORTEST, counts.seconds / MOST_BUCKETS)
    rows = journal.rows(
        "SELECT CAST(time / ? AS INTEGER), sum((SELECT count(*) FROM runs WHERE runs.k = units.k AND "
        "runs.backend = units.backend)) FROM units GROUP BY 1 ORDER BY 1", width,
    )  # fmt: skip
    # The last one is not full yet.
    widths = {bucket: min(width, max(counts.seconds - bucket * width, 1.0)) for bucket, _ in rows}
    speeds = tuple((bucket * width / 60, count / widths[bucket] * 60) for bucket, count in rows)
    since = max(0.0, counts.seconds - RECENT)
    ((recent,),) = journal.rows("SELECT count(*) FROM units JOIN runs USING (k, backend) WHERE time > ?", since)
    return speeds, recent / max(counts.seconds - since, 1.0) * 60


def _backend_rows(journal: Journal, campaign: Campaign) -> tuple[BackendRow, ...]:
    units = journal.rows(
        "SELECT backend, total(verdict != 'refused'), total(verdict = 'refused'), max(sigma), sum(framework_seconds), "
        "sum(harness_seconds), max(megabytes) FROM units GROUP BY backend"
    )
    runs = journal.rows("SELECT backend, count(*), total(verdict = 'known'), count(failure) FROM runs GROUP BY backend")
    of_units, of_runs = {row[0]: row[1:] for row in units}, {row[0]: row[1:] for row in runs}
    features, met = _features(journal), _pairs_met(journal)
    planned = _planned(journal, campaign)
    rows = []
    for name in campaign.backends:
        networks, refused, sigma, framework, harness, megabytes = of_units.get(name, (0, 0, None, 0.0, 0.0, None))
        count, known, new = of_runs.get(name, (0, 0, 0))
        plan = planned.get(name)
        rows.append(BackendRow(
            name=name, model=described(campaign, name).model, pairs=len(met[name]),
            pairs_in_all=None if plan is None else len(_pairs(plan)),
            networks=int(networks), refused=int(refused), runs=count, known=int(known), new=new, sigma=sigma,
            framework_seconds=framework, harness_seconds=harness, megabytes=megabytes, features=features[name],
            supported=None if plan is None else tuple(sorted(set().union(*plan))),
        ))  # fmt: skip
    return tuple(rows)


def _features(journal: Journal) -> defaultdict[str, dict[str, Met]]:
    rows = journal.rows(
        "SELECT backend, value, count(*), max(sigma), total(verdict NOT IN ('agree', 'known')), "
        "total(verdict = 'known') FROM units, json_each(units.features) WHERE verdict != 'refused' GROUP BY 1, 2"
    )
    met: defaultdict[str, dict[str, Met]] = defaultdict(dict)
    for backend, feature, networks, sigma, new, known in rows:
        met[backend][feature] = Met(networks=networks, sigma=sigma, new=int(new), known=int(known))
    return met


def _pairs_met(journal: Journal) -> defaultdict[str, set[FeaturePair]]:
    rows = journal.rows("SELECT DISTINCT backend, features FROM units WHERE verdict != 'refused'")
    met: defaultdict[str, set[FeaturePair]] = defaultdict(set)
    for backend, features in rows:
        met[backend] |= pairs_among(frozenset(msgspec.json.decode(features)))
    return met


def _planned(journal: Journal, campaign: Campaign) -> dict[str, list[frozenset[str]]]:
    """By backend that was asked: the features of each network that it runs in the first round."""
    design = design_of(campaign)
    return {
        backend: [design.features_of(k) for k in ks]
        for (backend, number), ks in journal.chosen().items()
        if number == 0
    }


def _pairs(networks: Iterable[frozenset[str]]) -> set[FeaturePair]:
    return set().union(*map(pairs_among, networks))


def _cards(journal: Journal, campaign: Campaign) -> tuple[FindingCard, ...]:
    return tuple(
        FindingCard(
            title=finding.title, backend=finding.backend, status=finding.status, tensor=finding.tensor,
            place=finding.place, cause=finding.cause, features=finding.features, runs=finding.runs,
            shrunk=finding.shrunk.get("text", ""), bundle=finding.bundle, command=command(campaign, finding.backend),
        )
        for finding in journal.findings()
    )  # fmt: skip


def _known(journal: Journal) -> tuple[KnownRow, ...]:
    titles = {finding.name: finding.title for finding in findings()}
    rows = [
        KnownRow(finding=name, title=titles.get(name, name), backend=backend, met=met, shown=shown)
        for (name, backend), (met, shown) in journal.met().items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.shown > 0, row.finding, row.backend)))


def _machines(journal: Journal) -> tuple[Machine, ...]:
    rows = journal.rows(
        "SELECT machine, versions, count(*) FROM units JOIN environments ON environments.id = environment "
        "GROUP BY environments.id ORDER BY environments.id"
    )
    units: Counter[str] = Counter()
    versions: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for machine, text, count in rows:
        units[machine] += count
        for name, version in msgspec.json.decode(text).items():
            versions[machine][name] = tuple(dict.fromkeys((*versions[machine].get(name, ()), version)))
    return tuple(Machine(name=name, units=count, versions=versions[name]) for name, count in units.most_common())
