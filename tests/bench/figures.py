"""A figure: what was measured within one run, a ratio mostly, and what the contract allows it to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

Pair = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """What was measured, as a median with the smallest and largest repetition."""

    name: str
    measured: float
    bound: float | None = None  # the most that is allowed; None: told, not judged
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def beyond(self) -> bool:
        """Whether it is more than its bound allows."""
        return self.bound is not None and not self.measured <= self.bound

    @property
    def verdict(self) -> str:
        """Say how it stands to its bound."""
        if self.bound is None:
            return ""
        return "BEYOND" if self.beyond else "within"

    def as_json(self) -> dict[str, Any]:
        """Give the figure as plain values."""
        return {**asdict(self), "verdict": self.verdict or None}


def figure_of(
    name: str, pairs: Iterable[Pair], bound: float | None = None, note: Callable[[float, float], str] | None = None
) -> Figure:
    """Make a figure of pairs (what is measured, what it is measured by); ``note`` gets the median of each."""
    pairs = list(pairs)
    ratios = [one / other for one, other in pairs]
    ones, others = (median(side) for side in zip(*pairs, strict=True))
    return Figure(name, median(ratios), bound, min(ratios), max(ratios), note(ones, others) if note else "")


def duration(seconds: float) -> str:
    """Write a duration with three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def against(ours: float, bare: float) -> str:
    """Write what a ratio is made of."""
    return f"{duration(ours)} against {duration(bare)}"
