"""Charts as Vega-Lite specifications, and the script that draws them without a network."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.results import RunResult
from harness.trace import FINAL

# Sigma on a log scale needs a lowest and a highest value: below and above is drawn at the edge.
LOWEST, HIGHEST = 0.01, 1e6


def charts_script() -> str:
    """Give the JavaScript that draws the charts: Vega, Vega-Lite and vega-embed, bundled."""
    # Loading it takes a fraction of a second and bundling two: only pages with a chart pay for it.
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def sigma_chart(runs: list[RunResult]) -> dict[str, Any] | None:
    """Give the chart of one case: the worst sigma of every backend over time; None without numbers."""
    rows = [row for run in runs for row in _rows(run)]
    if not rows:
        return None
    limit = next((run.limit.sigma for run in runs if run.limit is not None and run.limit.sigma is not None), None)
    one_step = len({row["t"] for row in rows}) == 1
    lines: dict[str, Any] = {
        "data": {"values": rows},
        "mark": {"type": "line", "point": one_step, "clip": True},
        "encoding": {
            "x": {"field": "t", "type": "quantitative", "title": "timestep", "axis": {"tickMinStep": 1, "format": "d"}},
            "y": {
                "field": "sigma", "type": "quantitative", "title": "worst sigma",
                "scale": {"type": "log", "domain": [LOWEST, _highest(rows, limit)], "clamp": True},
            },
            "color": {"field": "backend", "type": "nominal", "title": None},
            "strokeDash": {"field": "backend", "type": "nominal", "title": None},
            "tooltip": [{"field": "backend"}, {"field": "t", "title": "timestep"},
                        {"field": "sigma", "format": ".3g"}, {"field": "tensor"}],
        },
    }  # fmt: skip
    layers = [lines]
    if limit is not None:
        layers.append({
            "data": {"values": [{"limit": limit}]},
            "mark": {"type": "rule", "strokeDash": [2, 2], "color": "#d1242f"},
            "encoding": {"y": {"field": "limit", "type": "quantitative"}},
        })  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": 180,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": layers,
    }


def as_script_json(value: Any) -> str:
    """Write a value as JSON that may stand inside a script element, whatever strings it holds."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _highest(rows: list[dict[str, Any]], limit: float | None) -> float:
    return max([row["sigma"] for row in rows] + [10 * (limit or 10)])


def _rows(run: RunResult) -> list[dict[str, Any]]:
    """One row a timestep: the largest sigma of the tensors that a backend gives at each."""
    series = {name: tensor.per_timestep.sigma for name, tensor in run.tensors.items() if name not in FINAL}
    if not series:
        return []
    rows = []
    for t in range(min(len(values) for values in series.values())):
        name = max(series, key=lambda name: series[name][t])
        sigma = series[name][t]
        shown = HIGHEST if not math.isfinite(sigma) else min(max(sigma, LOWEST), HIGHEST)
        rows.append({"backend": run.backend, "t": t, "sigma": float(f"{shown:.3g}"), "tensor": name})
    return rows
