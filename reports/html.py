"""Results as one self-contained HTML page: it opens from disk, without a network."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from msgspec.structs import replace

from harness.messages import number, printable, text_of
from harness.results import Results, RunResult
from reports.charts import as_script_json, charts_script, sigma_chart

PAGE = "index.html"


def write_html(results: Results, folder: Path) -> Path:
    """Write the report of ``results`` into ``folder``, and give the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    # Half of a surrogate pair, from a backend's output, has no UTF-8.
    page.write_text(render(results), encoding="utf-8", errors="backslashreplace")
    return page


def render(results: Results) -> str:
    """Give the report of ``results`` as the text of one page."""
    by_case: dict[str, list[RunResult]] = {}
    for run in results.runs:
        by_case.setdefault(run.case, []).append(run)
    backends = list(dict.fromkeys(run.backend for run in results.runs))
    charts = {case: chart for case, runs in by_case.items() if (chart := sigma_chart(runs, backends)) is not None}
    by_element = {f"chart-{index}": charts[case] for index, case in enumerate(by_case, start=1) if case in charts}
    script = charts_script() if charts else ""
    return _environment().get_template("report.html.j2").render(
        results=results,
        by_case=by_case,
        backends=backends,
        charts=charts,
        charts_json=as_script_json(by_element),
        script=script,
        script_source=_source(script) if script else "'none'",
        counts=_counts(results.runs),
        worst_sigma=_worst_sigma,
        number=number,
        text_of=text_of,
        bare=_bare,
    )  # fmt: skip


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _printable(value: Any) -> Any:
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if plain else value


def _source(script: str) -> str:
    """Name a script in a content security policy: no other one runs."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _bare(run: RunResult) -> RunResult:
    """Give a run without what the page shows in words of its own."""
    return replace(run, diagnosis=[], notes=[])


def _counts(runs: list[RunResult]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    return counts


def _worst_sigma(run: RunResult) -> float:
    """The largest sigma over a run's tensors; what cannot be compared is largest."""
    sigmas = [tensor.worst.sigma for tensor in run.tensors.values()]
    return math.nan if any(math.isnan(sigma) for sigma in sigmas) else max(sigmas)
