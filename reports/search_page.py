"""A campaign of search as one HTML page, written again and again while it runs; it opens from disk, without a network.

It has all it shows in its text: a script only reloads it, where that is wished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lockstep.harness.files import replacing
from lockstep.harness.text import number
from lockstep.reports.html import PAGE
from lockstep.reports.page_files import pages, source, text_of_file

LIMIT = 10.0  # sigma, where colors turn
WITHIN = (0.03, 0.1, 0.2, 0.35, 0.6, 1.0)  # of it: a0 to a5, as in the report of results
STEPS = (1, 3, 10, 30, 100)  # networks: a1 to a5
CHART = (600, 120)  # of runs a minute: width and height, in its own units
MOST_CARDS = 100
MODELS = {"lstm": "LSTMs", "attention_decoder": "Attention decoders"}


def write_search_page(summary: dict[str, Any], folder: Path) -> Path:
    """Write the page of a campaign, of ``harness.jobs.campaign.summary.Summary`` as plain values, into its folder."""
    with replacing(folder / PAGE) as path:
        path.write_bytes(render(summary).encode("utf-8", "backslashreplace"))
    return folder / PAGE


def render(summary: dict[str, Any]) -> str:
    """The page of a campaign as a text."""
    style, script = text_of_file("report.css") + text_of_file("search.css"), text_of_file("search.js")
    return (
        pages()
        .get_template("search.html.j2")
        .render(
            s=summary,
            duration=duration,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            running=summary["phase"] in {"running", "shrinking"},
            progress=progress_text(summary),
            tables=[_table(summary, model) for model in summary["features"]],
            chart=_chart(summary["speeds"]),
            cards=summary["findings"][:MOST_CARDS],
            more=max(0, len(summary["findings"]) - MOST_CARDS),
            missing=[row for row in summary["known"] if not row["shown"]],
            shares=_shares(summary["backends"]),
            ours=[f"{name} {version}" for name, version in _ours(summary["machines"]).items()],
            limit=LIMIT,
            style=Markup(style),  # noqa: S704 - ours
            script=Markup(script),  # noqa: S704 - ours
            style_source=Markup(source(style)),  # noqa: S704 - a digest
            script_source=Markup(source(script)),  # noqa: S704 - a digest
        )
    )


def progress_text(summary: dict[str, Any]) -> str:
    """How far a campaign is, in one line."""
    counts, left = summary["counts"], summary["left"]
    done = {
        "minutes": f"{number(min(counts['seconds'] / 60, summary['minutes'] or 0))} of "
        f"{number(summary['minutes'] or 0)} minutes",
        "runs": f"{counts['runs']:,} of {summary['most_runs'] or 0:,} runs",
        "round": "asking backends what they support" if summary["first_round"] is None else
        "{:,} of {:,} networks that meet every pair of features once".format(*summary["first_round"]),
    }[summary["toward"]]  # fmt: skip
    if summary["phase"] == "through":
        return f"{done}, at its end after {duration(counts['seconds'])}"
    if summary["phase"] == "interrupted":
        return f"{done}, then it was ended; --resume goes on"
    if summary["phase"] == "shrinking":
        return f"{done}; the last findings are made small"
    return f"{done}, " + ("time left not known yet" if left is None else f"{duration(left)} left")


def duration(seconds: float) -> str:
    """A time in words, of two parts at most."""
    minute, hour, day = 60, 3600, 86_400
    if seconds < minute:
        return f"{seconds:.0f} s"
    if seconds < hour:
        return f"{seconds / minute:.0f} min"
    if seconds > 2 * day:
        return f"{seconds / day:.0f} days"
    hours, rest = divmod(round(seconds / minute), 60)
    return f"{hours} h {rest} min"


def _ours(machines: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The versions of lockstep, as they are on all machines together."""
    versions = dict.fromkeys(version for machine in machines for version in machine["versions"].get("lockstep", ()))
    return {"lockstep": " and ".join(versions)} if versions else {}


def _shares(backends: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of each backend the share of its time that is not the framework's, in percent."""
    return {
        row["name"]: 100 * row["harness_seconds"] / max(row["harness_seconds"] + row["framework_seconds"], 1e-9)
        for row in backends
    }


def _table(summary: dict[str, Any], model: str) -> dict[str, Any]:
    """One table of features and backends; backends with something new come first, then in their order."""
    rows = [row for row in summary["backends"] if row["model"] == model]
    return {
        "model": model,
        "title": MODELS[model],
        "features": summary["features"][model],
        "rows": [
            {"name": row["name"], "cells": [_cell(row, name) for name in summary["features"][model]]} for row in rows
        ],
    }


def _cell(row: dict[str, Any], feature: str) -> dict[str, Any]:
    met = row["features"].get(feature)
    if met is None:
        unsupported = row["supported"] is not None and feature not in row["supported"]
        return {"state": "unsupported" if unsupported else "waiting"}
    mark = "new" if met["new"] else "known" if met["known"] else ""
    return {
        "state": "met", "networks": met["networks"], "sigma": met["sigma"], "mark": mark, "new": met["new"],
        "known": met["known"], "count_tone": f"a{sum(met['networks'] >= least for least in STEPS)}",
        "sigma_tone": "" if met["sigma"] is None else sigma_tone(met["sigma"]),
    }  # fmt: skip


def sigma_tone(sigma: float) -> str:
    """The class of the color of an error that agrees: a case of its own limit may agree beyond the usual one."""
    share = sigma / LIMIT
    return f"a{next((n for n, most in enumerate(WITHIN) if share <= most), len(WITHIN) - 1)}"


def _chart(speeds: Sequence[Sequence[float]]) -> dict[str, Any] | None:
    """Runs a minute over time as a path, with where its axes have numbers; none where there is no time to show."""
    if not speeds[1:]:
        return None
    width, height = CHART
    last = speeds[-1][0] + (speeds[1][0] - speeds[0][0])
    top = _round_up(max(speed for _, speed in speeds))
    points = []
    for n, (minute, speed) in enumerate(speeds):
        end = speeds[n + 1][0] if n + 1 < len(speeds) else last
        points += [(minute, speed), (end, speed)]
    path = " ".join(f"{width * minute / last:.1f},{height - height * speed / top:.1f}" for minute, speed in points)
    return {"path": path, "width": width, "height": height, "top": top, "minutes": last}


def _round_up(value: float) -> float:
    """The next number of one digit, which is easy to read at an axis."""
    size = 10 ** math.floor(math.log10(max(value, 1)))
    return math.ceil(value / size) * size
