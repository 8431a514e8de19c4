"""Results as one self-contained HTML page: it opens from disk, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from harness.messages import number, text_of
from harness.results import Results, RunResult
from reports.charts import as_script_json, charts_script, sigma_chart

PAGE = "index.html"


def write_html(results: Results, folder: Path) -> Path:
    """Write the report of ``results`` into ``folder``, and give the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    page.write_text(render(results), encoding="utf-8")
    return page


def render(results: Results) -> str:
    """Give the report of ``results`` as the text of one page."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    by_case: dict[str, list[RunResult]] = {}
    for run in results.runs:
        by_case.setdefault(run.case, []).append(run)
    charts = {case: chart for case, runs in by_case.items() if (chart := sigma_chart(runs)) is not None}
    by_element = {f"chart-{index}": charts[case] for index, case in enumerate(by_case, start=1) if case in charts}
    return environment.get_template("report.html.j2").render(
        results=results,
        by_case=by_case,
        backends=list(dict.fromkeys(run.backend for run in results.runs)),
        charts=charts,
        charts_json=as_script_json(by_element),
        script=charts_script() if charts else "",
        counts=_counts(results.runs),
        worst=_worst,
        number=number,
        text_of=text_of,
    )


def _counts(runs: list[RunResult]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    return counts


def _worst(run: RunResult) -> dict[str, Any]:
    """The largest of each measure over a run's tensors."""
    tensors = run.tensors.values()
    return {key: max(getattr(tensor.worst, key) for tensor in tensors) for key in ("sigma", "ulp", "abs", "rel")}
