"""A campaign in the middle of its way, as a page shows it: made up, with something of everything."""

from __future__ import annotations

from typing import Any

import msgspec

from lockstep.harness.cases.random_cases import DTYPES
from lockstep.harness.jobs.campaign.journal import Counts
from lockstep.harness.jobs.campaign.summary import BackendRow, FindingCard, KnownRow, Machine, Met, Summary
from lockstep.harness.jobs.campaign.units import FEATURES_OF_MODEL

FEATURES = {model: (*DTYPES, *names) for model, names in FEATURES_OF_MODEL.items()}
HOSTILE = '<img src=x onerror="document.title=1">'


def made_campaign(**changes: Any) -> dict[str, Any]:
    """The summary of a campaign as plain values."""
    rows = [_row(n, "lstm") for n in range(24)] + [_row(n, "attention_decoder") for n in range(4)]
    given: dict[str, Any] = {
        "counts": Counts(units=8123, refused=211, runs=39112, known=408, new=57, findings=4, seconds=2012.0),
        "phase": "running", "seed": 1, "minutes": 60.0, "most_runs": None, "share": 0.5589, "left": 1588.0,
        "toward": "minutes", "first_round": (2310, 2310), "speed": 1204.0,
        "speeds": tuple((n / 2, 900.0 + 400 * (n % 7) / 7) for n in range(67)),
        "features": FEATURES, "backends": tuple(rows), "findings": tuple(map(_card, range(4))),
        "known": (
            KnownRow(finding="keras-masks", title="It does not mask", backend="backend_03", met=31, shown=0),
            KnownRow(finding="torch-exp", title="It shows as it should", backend="backend_01", met=12, shown=12),
        ),
        "machines": (
            Machine(name="north", units=5000, versions={"lockstep": ("0.1.0",), "torch": ("2.13.0", "2.12.1")}),
            Machine(name="south", units=3123, versions={"lockstep": ("0.1.0",)}),
        ),
    }  # fmt: skip
    return msgspec.to_builtins(Summary(**{**given, **changes}))


def _row(n: int, model: str) -> BackendRow:
    names = FEATURES[model]
    met = {
        name: Met(
            networks=(7 * k * (n + 1)) % 230,
            sigma=0.4 + (k * n) % 90 / 10,
            new=int(n == 2 and k == 5),
            known=int(n == 3),
        )
        for k, name in enumerate(names)
        if (k + n) % 5
    }
    return BackendRow(
        name=f"backend_{n:02}" if model == "lstm" else f"decoder_{n}", model=model, pairs=150 + n, pairs_in_all=200,
        networks=340, refused=9, runs=1600 + n, known=3 * n, new=int(n == 2), sigma=3.2 + n / 10,
        framework_seconds=100.0 + n, harness_seconds=30.0, megabytes=None if n == 4 else 512.0 + n,
        features=met, supported=tuple(name for k, name in enumerate(names) if (k + n) % 10),
    )  # fmt: skip


def _card(n: int) -> FindingCard:
    return FindingCard(
        title=HOSTILE if n == 3 else f"backend_02 differs first in c: forget bias {n}", backend="backend_02",
        status=("diverge", "crashed", "failed", "timeout")[n], tensor="c" if n == 0 else "",
        place="" if n else "at the first timestep, in the padding", cause="forget_bias" if n == 0 else None,
        features=((), ("layers", "lengths"))[: n + 1], runs=3 + n,
        shrunk="No smaller case that was tried shows it: 12 smaller cases tried in 41 s.",
        bundle=None if n == 2 else f"findings/backend_02-{n}a7",
        command="lockstep run case.toml --backend backend_02",
    )  # fmt: skip
