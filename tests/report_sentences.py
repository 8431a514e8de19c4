# ruff: noqa: E501, RUF001 (a rule is a line, as of a table; a page has dashes and minus signs)
"""What the report may say: for each text on a page the rule that compares it with the results it is about.

A text that no rule knows is an error: a new sentence needs a new rule.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockstep.harness.cases.tensors import TIMED, kind_of
from lockstep.harness.comparison.details import unpacked
from lockstep.harness.comparison.results import Results, RunResult, TensorResult

MARKS = {
    "diverge": "✕", "failed": "▲", "crashed": "■", "timeout": "◔", "known": "◆", "agree": "✓", "unsupported": "○",
}  # fmt: skip
NUMBER = r"(?:–|nan|-?inf|-?[\d.]+(?:e-?\d+)?)"
USUAL = 10.0


def near(text: str, value: float | None, rel: float = 0.06, least: float = 0.0) -> bool:
    """Whether a number as it is written is a value, but for rounding."""
    if value is None:
        return text == "–"
    shown = float(text)
    if not math.isfinite(value) or not math.isfinite(shown):
        return str(shown) == str(float(value))
    return abs(shown - value) <= max(rel * abs(value), least)


def size(sigma: float) -> float:
    """The order of sigma: what cannot be compared is farthest away."""
    return math.inf if math.isnan(sigma) else sigma


def status(run: RunResult) -> str:
    """What a run came to, as the page names it."""
    return "known" if run.known else run.status


def limit(run: RunResult) -> float:
    """Where colors turn."""
    return USUAL if run.limit is None or run.limit.sigma is None else run.limit.sigma


def bound(run: RunResult) -> str:
    """That in words."""
    return "the limit" if run.limit and run.limit.sigma is not None else "10 sigma"


def at_text(at: tuple[int, ...]) -> str:
    """A place."""
    return ", ".join(map(str, at))


def timed(name: str) -> bool:
    """Whether a tensor has timesteps."""
    return kind_of(name) in TIMED


def worst_of(run: RunResult) -> list[str]:
    """The tensors that are farthest off: one, but for what cannot be compared."""
    most = max(size(tensor.worst.sigma) for tensor in run.tensors.values())
    return [name for name, tensor in run.tensors.items() if size(tensor.worst.sigma) == most]


def cause(run: RunResult) -> str | None:
    """The name of what is wrong with a run."""
    if status(run) in {"agree", "unsupported"}:
        return None
    fault = run.diagnosis[0].fault if run.diagnosis else "not diagnosed"
    return run.known or (fault if run.status == "diverge" else run.message)


@dataclass
class Page:
    """A page: the overview, or a run on the page of its case."""

    results: Results
    run: RunResult | None = None

    @property
    def runs(self) -> list[RunResult]:
        """Those of the page."""
        return [run for run in self.results.runs if self.run is None or run.case == self.run.case]

    def of(self, backend: str, case: str | None = None) -> RunResult:
        """One of them."""
        return next(run for run in self.runs if run.backend == backend and case in {None, run.case})

    def case(self, case: str) -> RunResult:
        """The run of a case, where there is one backend."""
        return next(run for run in self.runs if run.case == case)

    @property
    def backends(self) -> list[str]:
        """Their names."""
        return list(dict.fromkeys(run.backend for run in self.results.runs))

    @property
    def selected(self) -> tuple[str, TensorResult]:
        """The tensor that a case opens at: where it first diverges or is worst, if that has timesteps."""
        assert self.run is not None
        run = self.run
        wanted = [run.first_divergence.tensor] if run.first_divergence else worst_of(run)[:1]
        names = [*filter(timed, wanted), *filter(timed, run.tensors), *run.tensors]
        return names[0], run.tensors[names[0]]

    @property
    def t(self) -> int:
        """The timestep that a case opens at."""
        assert self.run is not None
        if self.run.first_divergence:
            return self.run.first_divergence.timestep
        return self.run.tensors[worst_of(self.run)[0]].worst.timestep if self.run.tensors else 0

    @property
    def place(self) -> tuple[int, ...]:
        """The sequence and unit that a case opens at."""
        tensor = self.selected[1]
        return tuple((tensor.first_divergence or tensor.worst).at[1:])

    def track(self, t: int, what: str, place: tuple[int, ...] | None = None, name: str | None = None) -> float:
        """A number of the details: "expected", "noise", "error" or "counterfactual" (both by noise), or "observed"."""
        assert self.run is not None
        detail = self.run.details[name or self.selected[0]]
        row, column = detail.at.index(place or self.place), detail.t.index(t)

        def read(text: str) -> float:
            return float(unpacked(text, len(detail.at))[row, column])

        if what in {"expected", "noise", "error"}:
            return read(getattr(detail, what))
        sigma = read(detail.error if what == "observed" else detail.counterfactual or "")
        return read(detail.expected) + (sigma * read(detail.noise) if sigma else 0)

    def shown_near(self, text: str, t: int, what: str, place: tuple[int, ...] | None = None) -> bool:
        """Whether a value is that of the details: it was put together from numbers of single precision."""
        largest = abs(self.track(t, "expected", place))
        return near(text, self.track(t, what, place), 1e-5, 1e-6 * largest)


Rule = tuple[str, str, Callable[..., Any] | None]


def check(page: Page, about: str, text: str, rules: list[Rule]) -> str | None:
    """What is wrong with a text; None if nothing is."""
    known = False
    for where, pattern, holds in rules:
        place = re.fullmatch(where, about)
        said = place and re.fullmatch(pattern, text)
        if place and said:
            known = True
            if holds is None or holds(page, *place.groups(), *said.groups()):
                return None
    return f"{about}: {text!r} {'is not so' if known else 'is known to no rule'}"


def counts_are_right(page: Page, text: str) -> bool:
    counts = Counter(run.status for run in page.results.runs)
    known = sum(run.known is not None for run in page.results.runs)
    listed = ", ".join(f"{counts[name]} {name}" for name in MARKS if counts[name])
    return text == listed + (f", {known} of them known" if known else "")


MARK = "[✓✕◆○▲■◔]"
WORD = "(agree|diverge|known|unsupported|failed|crashed|timeout)"


HEADER: list[Rule] = [
    ("header", r"Lockstep report · (.+)", counts_are_right),
    ("header", r"(\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC", lambda page, day, hour: page.results.environment["time"].startswith(f"{day}T{hour}")),
    ("header", r"(lockstep \D.*)", lambda page, text: text == page.results.environment["command"]),
    ("header", r"(lockstep \d.*?)(?: and \d+ more)?", lambda page, text: all(
        part.partition(" ")[2].split(" and ")[0] in {str(page.results.environment.get(part.split()[0]))}.union(
            run.versions.get(part.split()[0], "") for run in page.results.runs
        ) for part in text.split(", ")
    )),
]  # fmt: skip
