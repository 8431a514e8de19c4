# ruff: noqa: E501, ISC004, RUF001 (a rule is a line, as of a table; a page has dashes and minus signs)
"""What the page of a case may say."""

from __future__ import annotations

import math
import re

from report_sentences import (
    HEADER,
    MARK,
    MARKS,
    NUMBER,
    WORD,
    Page,
    Rule,
    at_text,
    bound,
    limit,
    near,
    size,
    status,
    timed,
    worst_of,
)

from lockstep.harness.cases.tensors import BACKWARD, kind_of
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.output.messages import text_of


def _told(
    page: Page, tensor: str | None, t: str | None, back: str | None, sigma: str, worst: str, at: str | None
) -> bool:
    run = page.run
    assert run is not None
    first = run.first_divergence
    if (first is None) != (tensor is None) or worst not in worst_of(run):
        return False
    if first is not None and (tensor != first.tensor or bool(back) != first.backward):
        return False
    if tensor is not None and first is not None and t != (str(first.timestep) if timed(tensor) else None):
        return False
    told = run.tensors[worst].worst
    return near(sigma, told.sigma) and at == (str(told.timestep) if timed(worst) else None)


def _readout(
    page: Page,
    name: str,
    at: str,
    observed: str,
    expected: str,
    noise: str,
    sigma: str,
    bar: str,
    t: str,
    most: str,
    place: str,
) -> bool:
    run = page.run
    assert run is not None
    step, *where = map(int, at.split(", "))
    tensor = run.tensors[name]
    return (
        page.shown_near(observed, step, "observed", tuple(where)) and page.shown_near(expected, step, "expected", tuple(where))
        and near(noise, page.track(step, "noise", tuple(where))) and near(sigma, abs(page.track(step, "error", tuple(where))))
        and bar == str(run.limit) and (name, step, int(t)) == (page.selected[0], page.t, page.t)
        and near(most, tensor.per_timestep.sigma[step]) and place == at_text(tensor.per_timestep.at[step])
    )  # fmt: skip


def _tensor_cell(page: Page, name: str, head: str, text: str) -> bool:
    assert page.run is not None
    tensor = page.run.tensors[name]
    worst, first = tensor.worst, tensor.first_divergence
    if head == "first divergence":
        if first is None:
            return text == "–"
        told = re.fullmatch(r"(?:t = (\d+), )?\[([\d, ]*)\]: (\S+) sigma", text)
        return (
            told is not None
            and told[1] == (str(first.timestep) if timed(name) else None)
            and told[2] == at_text(first.at)
            and near(told[3], first.sigma)
        )
    words = {"tensor": name, "verdict": f"{MARKS[tensor.verdict]} {tensor.verdict}", "at": f"[{at_text(worst.at)}]"}
    if head in words:
        return text == words[head]
    exact = {"observed": worst.observed, "expected": worst.expected}
    if head in exact:
        return near(text, exact[head], 1e-8)
    return near(text, {"sigma": worst.sigma, "ulp": worst.ulp, "absolute": worst.abs, "relative": worst.rel}[head])


def _step_cell(page: Page, name: str, at: str, row: str, head: str, text: str) -> bool:
    t, place = int(row), tuple(map(int, re.findall(r"\d+", at)))
    if head == "timestep":
        return text == row
    if head in {"noise", "sigma"}:
        return near(text, page.track(t, {"noise": "noise", "sigma": "error"}[head], place, name))
    if head == "diagnosis" and text == "–":
        return page.run is not None and page.run.details[name].counterfactual is None
    return page.shown_near(
        text, t, {"observed": "observed", "expected": "expected", "diagnosis": "counterfactual"}[head], place
    )


def _largest_cell(page: Page, name: str, row: str, head: str, text: str) -> bool:
    assert page.run is not None
    steps, t = page.run.tensors[name].per_timestep, int(row)
    local = page.run.local.sigma.get(name) if page.run.local else None
    if head == "single timestep":
        return near(text, local[t] if local else None)
    if head in {"sigma", "ulp"}:
        return near(text, getattr(steps, head)[t])
    return text == (row if head == "timestep" else f"[{at_text(steps.at[t])}]")


def _beyond_cell(page: Page, name: str, row: str, count: str, units: str) -> bool:
    """As far as the results tell: of colors some stand for several numbers, so a unit near the limit may be either."""
    assert page.run is not None
    steps = page.run.tensors[name].per_timestep
    wrong = steps.sigma[int(row)]
    clear = not 0.9 * limit(page.run) < wrong < 1.1 * limit(page.run)
    return int(units) == page.run.details[name].units and (
        not clear or (int(count) > 0) == (not wrong <= limit(page.run))
    )


def _pair(page: Page, row: str, column: str, mark: str | None, text: str) -> bool:
    """Both are compared with the reference, so they are no further apart than both from it."""
    runs = page.of(row), page.of(column)
    if text == "":
        return row == column
    most = sum(size(run.tensors[worst_of(run)[0]].worst.sigma) for run in runs)
    beyond = not float(text) <= limit(runs[0])
    return bool(mark) == beyond and (not math.isfinite(most) or float(text) <= 1.06 * most)


def _chart_number(page: Page, title: str, name: str, text: str) -> bool:
    """A number of a legend: that of the selected timestep and place."""
    assert page.run is not None
    selected, tensor = page.selected
    t = page.t
    if title.startswith("Values of"):
        return page.shown_near(text, t, {"counterfactual": "counterfactual"}.get(name, name))
    noise, error = page.track(t, "noise"), page.track(t, "error")
    counter = page.track(t, "counterfactual") - page.track(t, "expected") if "counter" in name else 0.0
    if title.startswith("Observed"):
        least = 1e-6 * abs(page.track(t, "expected"))
        return near(text, error * noise if name == "observed" else counter, least=least)
    if name == "single timesteps":
        return page.run.local is not None and near(text, page.run.local.sigma[selected][t])
    if name in {"largest of all units", "whole run"}:
        return near(text, tensor.per_timestep.sigma[t])
    if name.startswith("counterfactual"):
        return math.isnan(float(text)) or float(text) >= 0
    return near(text, abs(error))


def _lane_value(page: Page, k: str, name: str, t: str, sigma: str, side: str, words: str, first: str | None) -> bool:
    run = page.of(page.backends[int(k)])
    tensor = run.tensors[name]
    step = tensor.per_timestep.sigma[int(t)]
    marked = tensor.first_divergence is not None and tensor.first_divergence.timestep == int(t)
    return (
        near(sigma, step) and (side == "within") == (step <= limit(run)) and words == bound(run)
        and bool(first) == marked and int(t) == page.t
    )  # fmt: skip


def _back(run: RunResult, name: str) -> bool:
    return run.tensors[name].reverse != (kind_of(name) in BACKWARD)


def _local_note(page: Page, text: str) -> bool:
    assert page.run is not None
    assert page.run.local is not None
    first = page.run.local.first_divergence
    if text.startswith("Single timesteps: each"):
        return page.run.status == "agree"
    if text.startswith("Replayed from your own previous state, every"):
        return first is None
    return text == f"Replayed from your own previous state, timestep {first} is still wrong."


CONSTANT = "|".join(map(re.escape, (
    "Colors: auto", "← All cases", "Next case", "Previous case", "Cases", "Lanes", "timestep", "Why", "Known", "Proof", "Fix",
    "Seen before in", "Or", "Finding", "Notes", "The run", "Limit", "Repeatable", "Device", "Versions", "Time",
    "Copy as Markdown", "Copy command", "The same as text", "Printed by the backend", "First divergence", "Worst",
    "Numbers", "All tensors of this run", "All tensors of this run: the largest difference in each", "tensor", "verdict",
    "sigma", "ulp", "absolute", "relative", "at", "observed", "expected", "first divergence", "noise", "diagnosis",
    "single timestep", "The selected place over time", "The largest of all units over time", "The heat map as a table",
    "from timestep", "Parameters", "Variables created by the framework", "name", "shape", "Pairwise agreement", "backend",
    "Tensor", "Sequence and unit", "Timestep", "In words",
    "The results do not say which timestep reads which variable. For a model of your own, see: lockstep variables "
    "FILE.py:BUILD",
    "One tick for each timestep: low and blue within the limit, high and orange beyond it. ▼ marks the first divergence "
    "in order of computation; lanes marked ◀ are computed backward in time.",
    "Lanes: left and right move in time, up and down from lane to lane", "This run returned nothing to compare.",
)))  # fmt: skip
PLACE = r"sequence (\d+), unit (\d+)"

CASE: list[Rule] = [
    *HEADER,
    ("(?:aria-label of |title of )?(?:header|nav|main|section .*)", CONSTANT, None),
    ("(?:header|title of nav)", r"(.+)", lambda page, text: text in {page.run.case, page.results.cases[page.run.case].description, *page.results.cases[page.run.case].features} or text in page.results.cases),
    ("header", r"T (\d+), B (\d+), I (\d+), H (\d+)(?:, [\w.]+)*", lambda page, *told: (info := page.results.cases[page.run.case]) is not None and [info.timesteps, info.batch, info.input_size, info.hidden_size] == [*map(int, told)]),
    ("(?:section lanes|main)", r"\d+", None),  # of the axis of time
    ("(?:section lanes|main)", r"t = (\d+)", lambda page, t: int(t) == page.t),
    (r"(?:title of |aria-label of )?head \| (\S+)", r"[▾▸]|Tensors without timesteps", lambda page, name: True),
    (r"(?:title of )?head \| (\S+)", rf"({MARK}|{WORD[1:-1]}|\w+_\d+)", lambda page, name, text: text in {name, status(page.of(name)), MARKS[status(page.of(name))]}),
    (r"aria-label of head \| (\S+)", r"Lanes of (\S+)", lambda page, name, told: name == told),
    (r"head \| (\S+)", r"(\S+) sigma", lambda page, name, sigma: near(sigma, page.of(name).tensors[worst_of(page.of(name))[0]].worst.sigma)),
    (r"head \| (\S+)", r"(\d+) lanes? folded", lambda page, name, n: sum(map(timed, page.of(name).tensors)) == int(n)),
    (r"head \| (\S+)", rf"(✕ )?(\w+) ({NUMBER})", lambda page, name, mark, tensor, sigma: near(sigma, page.of(name).tensors[tensor].worst.sigma) and bool(mark) == (page.of(name).tensors[tensor].verdict == "diverge")),
    (r"(?:title of )?lane (\d+) (\S+)", r"([a-z]\w*)", lambda page, k, name, told: name == told),
    (r"lane (\d+) (\S+)", "▶|◀(?: backward)?", lambda page, k, name: True),
    (r"title of lane (\d+) (\S+)", r"computed (forward|backward)(?:: from the last timestep to the first)?", lambda page, k, name, way: _back(page.of(page.backends[int(k)]), name) == (way == "backward")),
    (r"title of lane (\d+) (\S+)", r"first divergence: timestep (\d+)", lambda page, k, name, t: page.of(page.backends[int(k)]).tensors[name].first_divergence.timestep == int(t)),
    (r"lane (\d+) (\S+)", rf"({NUMBER})", lambda page, k, name, sigma: near(sigma, page.of(page.backends[int(k)]).tensors[name].worst.sigma)),
    (r"aria-label of lane (\d+) (\S+)", r"(\S+), (\w+)(, computed backward in time)?", lambda page, k, name, backend, told, back: (page.backends[int(k)], name) == (backend, told) and bool(back) == _back(page.of(backend), name)),
    (r"aria-valuetext of lane (\d+) (\S+)", r"timestep (\d+): (\S+) sigma, (within|beyond) (the limit|10 sigma)(, first divergence)?", _lane_value),
    ("section told", MARK, None),
    ("section told", rf"(\w+_\d+) {WORD}", lambda page, name, word: (page.run.backend, status(page.run)) == (name, word)),
    ("section told", rf"(?:first divergence: (\w+)(?: at timestep (\d+))?(, in the backward pass)?; )?worst: ({NUMBER}) sigma in (\w+)(?: at timestep (\d+))?", _told),
    ("section told", r"To run exactly this again: (.+)", lambda page, text: text == page.run.rerun),
    ("section told", r"(.+)", lambda page, text: text in {page.run.message, " ".join(text_of(page.run).split()), " ".join((page.run.stderr or "").split())}),
    ("term Why", r"(.+)", lambda page, text: text == f"{page.run.diagnosis[0].message} {page.run.diagnosis[0].fault}"),
    ("term Proof", r"(.+)", lambda page, text: text == page.run.diagnosis[0].evidence),
    ("term Fix", r"(.+)", lambda page, text: text == page.run.diagnosis[0].fix),
    ("term Seen before in", r"(.+)", lambda page, text: text == page.run.diagnosis[0].met),
    ("term Known", r"(.+)", lambda page, text: text in page.run.diagnosis[0].facts),
    ("term Notes", r"(.+)", lambda page, text: text in page.run.notes),
    ("term Or", r"Fits these numbers equally well (.+)\. Case “(\S+)” tells some of them apart\.", lambda page, names, case: page.run.diagnosis[0].indistinguishable_from == names.split(", ") and page.run.diagnosis[0].told_apart_by == case),
    ("term Finding", r"A known finding, as expected\. Details: lockstep findings (\S+)", lambda page, name: page.run.known == name),
    ("term Limit", r"(.+), (the default|set by the case|set by an option|set in pyproject\.toml)", lambda page, text, origin: text == str(page.run.limit) and {"derived": "the default", "case": "set by the case", "option": "set by an option", "pyproject": "set in pyproject.toml"}[page.run.limit.origin] == origin),
    ("term Repeatable", r"(yes|no): a second call gave (the same|different) bits", lambda page, word, bits: ((word, bits) == ("yes", "the same")) == page.run.repeatable),
    ("term Device", r"(.+)", lambda page, text: text == page.run.device),
    ("term Versions", r"(.+)", lambda page, text: text in {", ".join(f"{key} {value}" for key, value in run.versions.items()) for run in page.results.runs if run.backend == page.run.backend}),
    ("term Time", r"(.+)", lambda page, text: all(near(part.split()[1], page.run.seconds[part.split()[0]]) for part in text.split(", "))),
    ("section selected", r"Selected: (\w+)", lambda page, name: name == page.selected[0]),
    ("section selected", r"(\w+)", lambda page, name: name in page.run.tensors),
    ("section selected", PLACE, lambda page, *at: tuple(map(int, at)) in page.run.details[page.selected[0]].at),
    ("section selected", rf"(\w+)\[([\d, ]+)\]: observed ({NUMBER}), expected ({NUMBER}) ± ({NUMBER}): ({NUMBER}) sigma; limit (.+?)\. largest of all units at timestep (\d+): (\S+) sigma at \[([\d, ]+)\]\.", _readout),
    (r"chart \| .*", rf"Values of (\w+), {PLACE}", lambda page, name, *at: (name, tuple(map(int, at))) == (page.selected[0], page.place)),
    (r"chart \| .*", rf"(?:Gradient|Value) beside it: (\w+), {PLACE}", lambda page, name, *at: tuple(map(int, at)) in page.run.details[name].at),
    (r"chart \| .*", r"Observed - expected|Error in sigma|Single timesteps against the whole run|All units of \w+|expected|observed|counterfactual(?: − observed)?|largest of all units|single timesteps|whole run|unit \d+|" + PLACE.replace("(", "(?:"), None),
    (r"chart \| .*", r"limit (\S+)", lambda page, told: near(told, page.run.limit.sigma)),
    (r"chart \| .*", rf"(Allowed band|Band): (?:expected )?± (\S+) sigma(?:, {NUMBER} at most(?:: too thin to see here)?)?\.", lambda page, word, told: near(told, limit(page.run)) and (word == "Band") == (page.run.limit.sigma is None)),
    (r"chart \| .*", r"Logarithmic scale\. 0\.01 and less is drawn at the bottom\.", None),
    (r"chart \| Single timesteps.*", r"((?:Replayed|Single timesteps:) .+)", _local_note),
    (r"chart \| All units of (\w+)", r"Timestep (\d+): (\S+) sigma at \[([\d, ]+)\]", lambda page, name, t, sigma, at: int(t) == page.t and near(sigma, page.run.tensors[name].per_timestep.sigma[int(t)]) and at == at_text(page.run.tensors[name].per_timestep.at[int(t)])),
    (r"(?:aria-label of )?chart \| All units of (\w+)", r"(?:Heat map of \w+: time across, \d+ units? down\. )?Worst: (\S+) sigma at \[([\d, ]+)\]\.", lambda page, name, sigma, at: near(sigma, page.run.tensors[name].worst.sigma) and at == at_text(page.run.tensors[name].worst.at)),
    (r"aria-label of chart \| .*", r"Line chart of .+; the numbers are in the table below\.", None),
    (r"legend \| (.+?) \| (.+)", rf"({NUMBER})", lambda page, title, name, text: "beside it" in title or _chart_number(page, title, name, text)),
    (r"chart \| .*", NUMBER, None),  # of an axis
    (r"All tensors of this run: the largest difference in each \| (\w+) \| ([\w ]+)", r"(.+)", _tensor_cell),
    (rf"(\w+), ({PLACE.replace('(', '(?:')}), over time \| (\d+) \| (\w+)", r"(.+)", _step_cell),
    (r"(\w+): the largest of all units over time \| (\d+) \| ([\w ]+)", r"(.+)", _largest_cell),
    (r"Units of \w+ beyond .+ over time \| (\d+) \| from timestep", r"(\d+)", lambda page, row, told: row == told),
    (r"Units of (\w+) beyond .+ over time \| (\d+) \| units beyond .+", r"(\d+) of (\d+)", _beyond_cell),
    ("(?:aria-label of )?section numbers", rf"\w+, {PLACE}, over time|\w+: the largest of all units over time", None),
    ("(?:aria-label of )?section numbers", r"Units of \w+ beyond (.+) over time|units beyond (.+)", lambda page, one, other: (one or other) == bound(page.run)),
    (r"Variables created by the framework \| (\S+) \| (name|shape)", r"(.+)", lambda page, name, head, text: any(part.name == name and text in {name, str(tuple(part.shape))} for part in page.run.parameters)),
    ("main", r"Single timesteps of (this run|\w+) were not replayed\.", lambda page, what: page.run.local is None if what == "this run" else what not in page.run.local.sigma),
    ("(?:aria-label of )?section pairs", r"Largest difference between each two backends, in sigma, over (?:all|\d+ of \d+) numbers", None),
    ("section pairs", r"(\S+)", lambda page, name: name in page.backends),
    (r"Largest difference .+ \| (\S+) \| backend", r"(\S+)", lambda page, row, name: row == name),
    (r"Largest difference .+ \| (\S+) \| (\S+)", rf"(✕ )?({NUMBER}|)", _pair),
]  # fmt: skip
