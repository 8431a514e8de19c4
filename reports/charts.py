"""Charts as Vega-Lite specifications, and the script that draws them without a network.

Colors are CSS variables of the page, so that a chart follows its color scheme without being drawn again.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any

from harness.messages import number
from harness.results import RunResult
from harness.tensors import TIMED, kind_of

# Sigma on a log scale needs a lowest and a highest value: below and above is drawn at the edge.
LOWEST, HIGHEST = 0.01, 1e6
_LABEL = f"datum.value <= {LOWEST} ? '≤ {LOWEST}' : datum.value >= {HIGHEST:.0f} ? '≥ 1e6' : format(datum.value, '~g')"

# More points a line than a screen has pixels across show nothing more.
MOST_POINTS = 1000

# One color and one dash a backend. No common factor in their counts: 40 pairs before one comes back.
COLORS = [f"var(--series-{n})" for n in range(1, 9)]
DASHES = [[1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [12, 4]]

Style = tuple[str, list[int]]  # color, dash


@cache
def charts_script() -> str:
    """Give the JavaScript that draws the page's charts: ours, with Vega, Vega-Lite and vega-embed."""
    # Loading it takes a fraction of a second and bundling two: only pages with a chart pay for it.
    import vl_convert

    script = vl_convert.javascript_bundle(files("reports").joinpath("templates/charts.js").read_text("utf-8"))
    return script.replace("</script", "<\\/script")


def sigma_chart(runs: list[RunResult], backends: list[str]) -> dict[str, Any] | None:
    """Give the chart of one case: the worst sigma of every backend over time; None without numbers.

    ``backends`` are all of the page: a backend looks the same in each of its charts.
    """
    rows = [row for run in runs for row in _rows(run)]
    if not rows:
        return None
    drawn = {row["backend"] for row in rows}
    styles = {
        backend: (COLORS[index % len(COLORS)], DASHES[index % len(DASHES)])
        for index, backend in enumerate(backends)
        if backend in drawn
    }
    last = max(row["t"] for row in rows)
    limits = {run.limit.sigma for run in runs if run.limit is not None and run.limit.sigma is not None}
    limits = sorted(limit for limit in limits if LOWEST <= limit <= HIGHEST)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": _config(list(styles), as_points=last == 0),
        "width": "container",
        "height": 200,
        # The width is the container's, the height grows with the legend: the chart keeps its own.
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": [_series(rows, styles, last, limits), *(layer for limit in limits for layer in _limit(limit))],
    }


def as_script_json(value: Any) -> str:
    """Write a value as JSON that may stand inside a script element, whatever strings it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _config(names: list[str], *, as_points: bool) -> dict[str, Any]:
    soft, line = "var(--soft)", "var(--line)"
    text = {"labelColor": soft, "titleColor": soft, "labelFontSize": 12, "titleFontSize": 12}
    # Before a font is measured: about 7 pixels a character, and 40 for the symbol and the gap.
    widest = min(7 * max(len(name) for name in names), 210)
    # By the container, less the axis: `width` is fitted only after the legend was laid out. It is named,
    # all the same, for this to be computed again when the window changes.
    columns = f"max(1, floor((containerSize()[0] - 80 + 0 * width) / {widest + 40}))"
    symbol = {"symbolType": "circle"} if as_points else {"symbolType": "stroke", "symbolSize": 500}
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {**text, "titleFontWeight": "normal", "gridColor": line, "domainColor": line, "tickColor": line},
        "legend": {
            **text, **symbol, "symbolStrokeWidth": 2, "symbolOpacity": 1, "orient": "bottom",
            "columns": {"expr": columns}, "labelLimit": widest + 10,
        },
    }  # fmt: skip


def _series(rows: list[dict[str, Any]], styles: dict[str, Style], last: int, limits: list[float]) -> dict[str, Any]:
    """A line a backend; of one timestep, which makes no line, a point a backend, side by side."""
    names = list(styles)
    colors, dashes = [style[0] for style in styles.values()], [style[1] for style in styles.values()]
    by_backend = {"field": "backend", "type": "nominal", "title": None}
    encoding: dict[str, Any] = {
        "x": {"field": "t", "title": "timestep"},
        "y": {
            "field": "sigma", "type": "quantitative", "title": "worst sigma",
            "scale": {"type": "log", "domain": [LOWEST, _highest(rows, limits)], "nice": False},
            "axis": {"values": [10.0**power for power in range(-2, 7)], "labelExpr": _LABEL},
        },
        "color": {**by_backend, "scale": {"domain": names, "range": colors}},
    }  # fmt: skip
    tooltip = [
        {"field": "backend", "type": "nominal"}, {"field": "t", "title": "timestep", "type": "quantitative"},
        {"field": "text", "title": "sigma", "type": "nominal"}, {"field": "tensor", "type": "nominal"},
    ]  # fmt: skip
    # Of a line a tooltip would tell the first point, wherever one asks: points to ask lie on it, unseen.
    points: dict[str, Any] = {
        "mark": {"type": "circle", "size": 60, "opacity": int(last == 0)},
        "encoding": {"tooltip": tooltip},
    }
    if last == 0:
        encoding["x"] |= {"type": "ordinal", "axis": {"labelAngle": 0}}
        encoding["xOffset"] = {**by_backend, "scale": {"domain": names}}
        layers = [points]
    else:
        # Whole timesteps only: no more ticks than there are steps.
        ticks = {"tickCount": {"expr": f"min({last}, ceil(width / 60))"}, "format": "d"}
        encoding["x"] |= {"type": "quantitative", "scale": {"nice": False}, "axis": ticks}
        dash = {**by_backend, "scale": {"domain": names, "range": dashes}}
        layers = [{"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"strokeDash": dash}}, points]
    return {"data": {"values": rows}, "encoding": encoding, "layer": layers}


def _limit(limit: float) -> list[dict[str, Any]]:
    """A line across the chart at the limit, and its name."""
    data, y = {"values": [{"limit": limit}]}, {"field": "limit", "type": "quantitative"}
    text = {"value": f"limit {limit:g}"}
    label = {"type": "text", "align": "right", "baseline": "bottom", "dy": -3, "color": "var(--diverge)"}
    return [
        {"data": data, "mark": {"type": "rule", "color": "var(--diverge)"}, "encoding": {"y": y}},
        {"data": data, "mark": label, "encoding": {"y": y, "x": {"value": "width"}, "text": text}},
    ]


def _highest(rows: list[dict[str, Any]], limits: list[float]) -> float:
    """The power of ten that leaves room above the limit, up to the edge."""
    highest = max([row["sigma"] for row in rows] + [10 * limit for limit in limits])
    return min(max(10.0 ** math.ceil(math.log10(highest)), 100.0), HIGHEST)


def _rows(run: RunResult) -> list[dict[str, Any]]:
    """One row a timestep: the largest sigma of the tensors that a backend gives at each."""
    series = {name: tensor.per_timestep.sigma for name, tensor in run.tensors.items() if kind_of(name) in TIMED}
    if not series:
        return []
    rows = []
    for t in range(min(len(values) for values in series.values())):
        name = max(series, key=lambda name: _size(series[name][t]))
        sigma = series[name][t]
        shown = min(max(_size(sigma), LOWEST), HIGHEST)
        text = number(sigma)
        rows.append({"backend": run.backend, "t": t, "sigma": float(f"{shown:.3g}"), "tensor": name, "text": text})
    return _thin(rows)


def _size(sigma: float) -> float:
    """Order sigma: what cannot be compared is farthest away."""
    return math.inf if math.isnan(sigma) else sigma


def _thin(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the worst of every few neighbours where there are too many to be seen."""
    together = math.ceil(len(rows) / MOST_POINTS)
    parts = (rows[start : start + together] for start in range(0, len(rows), together or 1))
    return [max(part, key=lambda row: row["sigma"]) for part in parts]
