"""Causes for the page: of each what comes first in the report, with the runs that it explains, most runs first.

    {"kind": status or "known", "name", "runs": n, "cases": n, "headline", "where": "timestep 1, cell state c",
     "case": index of the first case, "b": of its backend, "values": one sentence of numbers,
     "plot": {"name", "t", "observed", "expected", "first", and where these are too near "difference"},
     "source": index into the page's "sources", "also": ["file:line" of other ports ..]}

What a cause has not is left out; why, what to do and how to run it again stands in the run of its case and backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.harness.cases.tensors import BACKWARD, TIMED, kind_of
from lockstep.harness.comparison.details import unpacked
from lockstep.harness.comparison.results import Detail, Results, RunResult, Source, TensorResult
from lockstep.harness.output.messages import headline, place_text
from lockstep.harness.text import grouped, printable
from lockstep.reports.page_details import DAMAGED
from lockstep.reports.page_tensors import there, value_of

Array = NDArray[Any]
Json = dict[str, Any]
KNOWN = "known"

BEFORE, AFTER = 12, 5  # timesteps of a plot around the first divergence, in order of computation
APART = 0.03  # of a plot's height: curves that are nearer cannot be told apart by eye
MOST_BANNERS = 60  # with numbers
MOST_PLACES = 6  # of other ports with the same cause
WORDS = {
    "enc": "encoder output", "i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate",
    "c": "cell state", "h": "hidden state", "c_n": "final cell state", "h_n": "final hidden state", "y": "output",
}  # fmt: skip


class Causes(NamedTuple):
    """What the page says of causes."""

    entries: list[Json]
    sources: list[Json]
    numbers: dict[tuple[str, str] | None, int]  # the index of each, by ``cause_of``


def cause_of(run: RunResult) -> tuple[str, str] | None:
    """What a run belongs with: a status or "known", and what tells those of one apart; None if nothing is wrong."""
    if run.known is not None:
        return KNOWN, run.known
    if run.status in {"agree", "unsupported"}:
        return None
    if run.status != "diverge":
        return run.status, run.message or "no reason given"
    return "diverge", run.diagnosis[0].fault if run.diagnosis else "not diagnosed"


def causes_of(results: Results, cases: Mapping[str, int], backends: Mapping[str, int]) -> Causes:
    """The causes of all that is wrong, most runs first and known findings last."""
    groups = [(cause, runs) for cause, runs in grouped(results.runs, cause_of).items() if cause is not None]
    groups.sort(key=lambda group: (group[0][0] == KNOWN, -len(group[1])))
    sources: dict[Source, int] = {}
    entries = []
    for (kind, name), runs in groups:
        run = next((run for run in runs if run.first_divergence is not None), runs[0])
        placed = list(dict.fromkeys(results.sources[run.backend] for run in runs if run.backend in results.sources))
        source = results.sources.get(run.backend)
        entries.append(there({
            "kind": kind, "name": printable(name), "runs": len(runs), "cases": len({run.case for run in runs}),
            "case": cases[run.case], "b": backends[run.backend],
            "headline": printable(headline(run)), "where": where_text(run),
            **(_numbers(run) if len(entries) < MOST_BANNERS else {}),
            "source": None if source is None else sources.setdefault(source, len(sources)),
            "also": [place_of(other) for other in placed if other != source][:MOST_PLACES],
        }))  # fmt: skip
    return Causes(entries, [_lines(source) for source in sources], {cause: k for k, (cause, _) in enumerate(groups)})


def where_text(run: RunResult) -> str | None:
    """Where a run first leaves the reference: "timestep 1, cell state c"."""
    first = run.first_divergence
    if first is None:
        return None
    kind = kind_of(first.tensor)
    word = "gradient" if kind in BACKWARD else WORDS.get(kind, "")
    when = f"timestep {first.timestep}, " if kind in TIMED else ""
    return printable(f"{when}{word} {first.tensor}".replace("  ", " ").strip())


def _numbers(run: RunResult) -> Json:
    """What was observed and expected where a run first diverges, and a plot of that."""
    tensor = run.first_divergence and run.tensors.get(run.first_divergence.tensor)
    if run.first_divergence is None or tensor is None or tensor.first_divergence is None:
        return {}
    name, first = run.first_divergence.tensor, tensor.first_divergence
    detail = run.details.get(name)
    values = printable(f"{place_text(name, first)}, limit {run.limit}.")
    return {"values": values, "plot": None if detail is None else plot_of(name, tensor, detail)}


def plot_of(name: str, tensor: TensorResult, detail: Detail) -> Json | None:
    """Observed and expected values up to the first divergence and a little beyond; None where that was not kept."""
    first = tensor.first_divergence
    if first is None or tuple(first.at[1:]) not in (place := [tuple(at) for at in detail.at]):
        return None
    row = place.index(tuple(first.at[1:]))
    try:
        expected, noise, error = (
            unpacked(text, len(detail.at))[row].astype(np.float64)
            for text in (detail.expected, detail.noise, detail.error)
        )
        at = detail.t.index(first.timestep)
    except DAMAGED:
        return None
    # Computation may go from the last timestep to the first.
    before, after = (AFTER, BEFORE) if tensor.reverse != (kind_of(name) in BACKWARD) else (BEFORE, AFTER)
    window = slice(max(0, at - before), at + after + 1)
    with np.errstate(all="ignore"):
        difference = np.where(error == 0, 0, error * noise)[window]
        observed = expected[window] + difference
        height = np.ptp(np.concatenate([observed, expected[window]]))
        near = bool((np.abs(difference) < APART * height).all())
    return {
        "name": printable(f"{name} at [{', '.join(map(str, first.at[1:]))}]"),
        "t": detail.t[window],
        "observed": _values(observed),
        "expected": _values(expected[window]),
        "first": first.timestep,
        **({"difference": _values(difference)} if near else {}),
    }


def _values(array: Array) -> list[float | str]:
    return [value_of(float(value)) for value in array]


def place_of(source: Source) -> str:
    """The file and line of a port."""
    return printable(f"{source.file}:{source.line}")


def _lines(source: Source) -> Json:
    return {"file": printable(source.file), "line": source.line, "text": printable(source.text)}


def numbered(names: Iterable[str]) -> dict[str, int]:
    """The index of each name."""
    return {name: index for index, name in enumerate(names)}
