# ruff: noqa: E501, ISC004, RUF001 (a rule is a line, as of a table; a page has dashes and minus signs)
"""What the overview of a report may say."""

from __future__ import annotations

import re
from typing import Any

from report_sentences import (
    HEADER,
    MARK,
    MARKS,
    NUMBER,
    WORD,
    Page,
    Rule,
    at_text,
    cause,
    near,
    status,
    timed,
    worst_of,
)

from lockstep.harness.cases.tensors import BACKWARD, kind_of
from lockstep.harness.comparison.results import RunResult


def _group(page: Page, k: str) -> list[RunResult]:
    """The runs of a cause: most come first, known ones are not among them."""
    wrong = [run for run in page.results.runs if cause(run) and not run.known]
    groups: dict[Any, list[RunResult]] = {}
    for run in wrong:
        groups.setdefault((run.status, cause(run)), []).append(run)
    return sorted(groups.values(), key=lambda runs: -len(runs))[int(k)]


def _example(page: Page, k: str) -> RunResult:
    runs = _group(page, k)
    return next((run for run in runs if run.first_divergence), runs[0])


def _amount(runs: list[RunResult], count: str, cases: str) -> bool:
    return int(count) == len(runs) and int(cases) == len({run.case for run in runs})


def _where(page: Page, k: str, kind: str, t: str | None, word: str, tensor: str, count: str, cases: str) -> bool:
    run = _example(page, k)
    first = run.first_divergence
    kinds = {"c": "cell state", "h": "hidden state", "c_n": "final cell state", "h_n": "final hidden state"}
    words = "gradient" if kind_of(tensor) in BACKWARD else kinds[kind_of(tensor)]
    return (
        first is not None and kind == run.status and first.tensor == tensor and words.lower() == word.lower()
        and t == (str(first.timestep) if timed(tensor) else None) and _amount(_group(page, k), count, cases)
    )  # fmt: skip


def _values(run: RunResult, name: str, at: str, observed: str, expected: str, sigma: str, ulp: str, off: str) -> bool:
    """A number of a run against the expected one, at its first divergence or its worst."""
    tensor = run.tensors[name]
    return any(
        at == at_text(told.at) and near(observed, told.observed, 1e-8) and near(expected, told.expected, 1e-8)
        and near(sigma, told.sigma) and near(ulp, told.ulp) and near(off, told.abs)
        for told in (tensor.first_divergence, tensor.worst) if told is not None
    )  # fmt: skip


VALUES = rf"(\S+)\[([\d, ]+)\] = ({NUMBER}|[\de.+-]+), expected ([\de.+-]+|nan|-?inf): (\S+) sigma \((\S+) ULP, (\S+) absolute\)"


def _plot(page: Page, k: str, name: str, at: str, low: str, high: str, t: str, observed: str, expected: str) -> bool:
    run = _example(page, k)
    first = run.tensors[name].first_divergence
    assert first is not None
    return (
        at == at_text(first.at[1:]) and int(t) == first.timestep and 0 <= int(low) <= int(t) <= int(high) < run.timesteps
        and near(observed, first.observed, 1e-5, 1e-6 * abs(first.expected)) and near(expected, first.expected, 1e-5)
    )  # fmt: skip


def _cell(
    page: Page, case: str, backend: str, address: str, mark: str, word: str, first: str | None, sigma: str | None
) -> bool:
    run = page.of(backend, case)
    worst = run.tensors[worst_of(run)[0]].worst.sigma if run.tensors else None
    t = run.first_divergence
    shown = None if t is None else f"t {t.timestep}" if timed(t.tensor) else t.tensor
    return (
        mark == MARKS[status(run)] and word == status(run) and first == shown
        and (sigma is None if worst is None else near(sigma, worst))
        and address == f"#{case}/{backend}" + ("" if t is None else f"/{t.timestep}")
    )  # fmt: skip


def _cell_title(
    page: Page, case: str, backend: str, word: str, tensor: str | None, t: str | None, why: str | None
) -> bool:
    run = page.of(backend, case)
    first = run.first_divergence
    if word != status(run) or (first is None) != (tensor is None):
        return False
    reason = (run.diagnosis[0].fault if run.diagnosis else None) if run.status == "diverge" else run.message
    return reason == why and (
        first is None or (tensor == first.tensor and t == (str(first.timestep) if timed(tensor) else None))
    )


AMOUNT = r"([\d,]+) runs? in ([\d,]+) cases?"
SENTENCES = "|".join(map(re.escape, (
    "Lockstep report", "Overview", "Colors: auto", "in the given order", "by name", "by worst sigma", "Backends",
    "Features", "Cases and backends", "status", "first wrong timestep", "worst error", "error over time", "case", "largest error of all tensors, in sigma", "not comparable (NaN)",
    "t 4, or 4 alone in a narrow column: the first wrong timestep. Other numbers: the largest error, in units of "
    "expected rounding (sigma): about 1 is healthy, above the limit is wrong. A frame: a known finding. Arrow keys move "
    "from cell to cell.",
    "Not supported, and why", "Environment and versions", "Versions", "backend", "versions", "Filters", "Sort by",
    "Search cases, causes, messages", "–", "not run",
)))  # fmt: skip

OVERVIEW: list[Rule] = [
    *HEADER,
    ("(?:aria-label of |title of )?(?:main|header|section .*)", SENTENCES, None),
    ("section causes", r"What is wrong, by cause (\d+)", lambda page, n: len({(run.status, cause(run)) for run in page.runs if cause(run) and not run.known}) == int(n)),
    (r"banner (\d+)", rf"{WORD} (?:Timestep (\d+), )?([A-Z]?[a-z ]+?)\s(\S+) {AMOUNT}", _where),
    (r"banner (\d+)", rf"{WORD} (.+?) {AMOUNT}", lambda page, k, kind, text, *amount: kind == _example(page, k).status and text == cause(_example(page, k)) and _amount(_group(page, k), *amount)),
    (r"banner (\d+)", r"(?:First wrong there in|In) case (\S+), (\S+)\.", lambda page, k, case, backend: (_example(page, k).case, _example(page, k).backend) == (case, backend)),
    (r"banner (\d+)", r"Fix (.+)", lambda page, k, text: text == _example(page, k).diagnosis[0].fix),
    (r"banner (\d+)", rf"{VALUES}, limit (.+)\.", lambda page, k, *told: _values(_example(page, k), *told[:-1]) and told[-1] == str(_example(page, k).limit)),
    (r"banner (\d+)", r"(\d+) other explanations? fits? these numbers equally well: see the case\.", lambda page, k, n: len(_example(page, k).diagnosis[0].indistinguishable_from) == int(n)),
    (r"banner (\d+)", r"Copy command|Copy as Markdown|expected|observed|Printed by the backend", lambda page, k: True),
    (r"(?:aria-label of )?banner (\d+)", MARK + "|Printed by the backend", lambda page, k: True),
    (r"banner (\d+)", r"All ([\d,]+) runs", lambda page, k, n: len(_group(page, k)) == int(n)),
    (r"banner (\d+)", r"(\S+) · (\S+)", lambda page, k, case, backend: page.of(backend, case) in _group(page, k)),
    (r"banner (\d+)", r"(\S+) at \[([\d, ]+)\](?:: observed − expected)?", lambda page, k, name, at: at == at_text(_example(page, k).tensors[name].first_divergence.at[1:])),
    (r"banner (\d+)", r"t = (\d+)", lambda page, k, t: _example(page, k).first_divergence.timestep == int(t)),
    (r"banner (\d+)", NUMBER, lambda page, k: True),  # of an axis
    (r"banner (\d+)", r"(.+)", lambda page, k, text: text in _words(_example(page, k))),
    (r"aria-label of banner (\d+)", rf"(\S+) at \[([\d, ]+)\](?:: observed − expected)?, timesteps (\d+) to (\d+)\. At timestep (\d+): observed ({NUMBER}), expected ({NUMBER})\.", _plot),
    ("section known", r"Known findings, as expected (\d+)", lambda page, n: len({run.known for run in page.runs if run.known}) == int(n)),
    (r"group \| ◆ known (\S+) .*", AMOUNT, lambda page, name, *amount: _amount([run for run in page.runs if run.known == name], *amount)),
    (r"group \| ◆ known (\S+) .*", r"Details: lockstep findings (\S+)", lambda page, name, told: name == told),
    (r"group \| ◆ known (\S+) .*", MARK, lambda page, name: True),
    (r"group \| ◆ known (\S+) .*", r"known (.+)", lambda page, name, text: any(run.known == name and text == f"{name} {run.diagnosis[0].message}" for run in page.runs)),
    (r"group \| ◆ known (\S+) .*", r"(\S+) · (\S+)", lambda page, name, case, backend: page.of(backend, case).known == name),
    (r"group \| (.+) \(.*\)", r"(\d+) runs?", lambda page, why, n: sum(run.status == "unsupported" and run.message == why for run in page.runs) == int(n)),
    (r"group \| (.+) \(.*\)", r"(\S+) · (\S+)", lambda page, why, case, backend: page.of(backend, case).message == why),
    (r"group \| (.+) \(.*\)", r"(.+) \((.+)\)", lambda page, why, told, names: why == told and {run.backend for run in page.runs if run.message == why} >= set(names.replace(", …", "").split(", "))),
    ("main", rf"([\d,]+) {WORD}", lambda page, n, name: sum(status(run) == name for run in page.runs) == int(n)),
    ("main", MARK, None),
    ("main", r"([\d,]+) of ([\d,]+) cases?, ([\d,]+) runs?", lambda page, shown, cases, runs: int(shown) == int(cases) == len({run.case for run in page.runs}) and int(runs) == len(page.runs)),
    ("main", r"(0.3|1e5|0.03 limits|10000 limits) or (?:less|more)", lambda page, text: ("limits" in text) == (len({run.limit.sigma for run in page.runs if run.limit}) > 1)),
    ("main", r"from blue to orange: the limit(?:, (\S+) sigma| of each run, or 10 sigma if it is none of sigma)", lambda page, told: {told and float(told)} == {run.limit.sigma for run in page.runs if run.limit} or told is None),
    ("aria-label of main", r"Colors: six steps of blue up to the limit, six of orange beyond it", None),
    ("(?:main|(?:title of )?section .*|aria-label of main)", r"(.+)", lambda page, name: name in page.backends or name in page.results.cases or any(name in info.features for info in page.results.cases.values())),
    ("(?:aria-label of )?section .*", r"Layers: (\S+)", lambda page, name: page.backends == [name]),
    ("title of section .*", r"(\S+): (.+)", lambda page, case, text: page.results.cases[case].description == text),
    ("section .*", r"Versions of (\d+) backends?", lambda page, n: int(n) == len(page.backends)),
    ("section surroundings", r"(.+)", lambda page, name: name in page.results.environment),
    (r"term (\S+)", r"(.+)", lambda page, name, text: text in {str(page.results.environment[name]), ", ".join(f"{key} {value}" for key, value in page.results.environment[name].items()) if isinstance(page.results.environment[name], dict) else ""}),
    (r"Versions \| (\S+) \| backend", r"(\S+)", lambda page, row, name: row == name),
    (r"Versions \| (\S+) \| versions", r"(.+)", lambda page, name, text: any(text == ", ".join(f"{key} {value}" for key, value in run.versions.items()) for run in page.runs if run.backend == name)),
    (r"cell \| (\S+) \| (\w+_\d+) \| (\S+)", rf"({MARK}) {WORD}(?: (t \d+|[A-Za-z]\w*))?(?: ({NUMBER}))?", _cell),
    (r"cell \| (\S+) \| status \| .*", rf"({MARK}) {WORD}", lambda page, case, mark, word: word == status(page.case(case)) and mark == MARKS[word]),
    (r"cell \| (\S+) \| first wrong timestep \| .*", r"t (\d+), (\w+)", lambda page, case, t, name: (first := page.case(case).first_divergence) is not None and timed(name) and (first.timestep, first.tensor) == (int(t), name)),
    (r"cell \| (\S+) \| first wrong timestep \| .*", r"(–|[a-zA-Z]\w*)", lambda page, case, name: page.case(case).first_divergence is None if name == "–" else not timed(name) and page.case(case).first_divergence.tensor == name),
    (r"cell \| (\S+) \| worst error \| .*", rf"({NUMBER})(?: sigma in (\w+))?", lambda page, case, sigma, name: not page.case(case).tensors if name is None else name in worst_of(page.case(case)) and near(sigma, page.case(case).tensors[name].worst.sigma)),
    (r"aria-label of cell \| (\S+) \| error over time \| .*", rf"error over time: ({NUMBER}) sigma at most", lambda page, case, sigma: near(sigma, page.case(case).tensors[worst_of(page.case(case))[0]].worst.sigma)),
    (r"(?:title of )?cell \| (\S+) \| error over time \| .*", r"(.+)", lambda page, case, text: text == page.case(case).message),
    (r"title of cell \| (\S+) \| status \| .*", r"(?:first wrong in (\w+)(?: at timestep (\d+))?)?(?:: )?(.*)", lambda page, case, *told: _cell_title(page, case, page.backends[0], status(page.case(case)), told[0], told[1], told[2] or None)),
    (r"title of cell \| (\S+) \| (\w+_\d+) \| \S+", rf"\S+, \S+: {WORD}(?:, first wrong in (\w+)(?: at timestep (\d+))?)?(?:[,:] (.+))?", _cell_title),
]  # fmt: skip


def _words(run: RunResult) -> list[str]:
    """What a run says in words of its own."""
    whys = [part for why in run.diagnosis[:1] for part in (f"{why.message} {why.fault}", why.evidence, *why.facts)]
    return [*whys, run.rerun or "", " ".join((run.stderr or "").split())]
