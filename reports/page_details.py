"""Details of the runs of one case for the page: numbers at some places, and how far backends are from each other."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.harness.comparison.details import packed, unpacked
from lockstep.harness.comparison.results import Detail, RunResult
from lockstep.reports.page_room import Room, kept_places, rounded_errors, rounded_heat, rounded_noise, shows_details
from lockstep.reports.page_tensors import number_of

Array = NDArray[Any]
Json = dict[str, Any]
DAMAGED = (binascii.Error, ValueError)  # arrays of a file that something else wrote


class Shared:
    """Expected values and noise of a case at one place over time, each once: runs have most of them in common."""

    def __init__(self) -> None:
        """Start with none."""
        self.texts: list[str] = []
        self._index: dict[str, int] = {}

    def indices_of(self, rows: Array) -> list[int]:
        """The place of each row of numbers among all."""
        return [self._index_of(packed(row)) for row in rows]

    def _index_of(self, text: str) -> int:
        if text not in self._index:
            self._index[text] = len(self.texts)
            self.texts.append(text)
        return self._index[text]


def details_of_run(run: RunResult, room: Room, shared: Shared) -> dict[str, Json] | None:
    """A run's details by tensor; None where the page has no room for them, or results have none."""
    if not run.details or not shows_details(run, room):
        return None
    by_tensor = {}
    for name, detail in run.details.items():
        try:
            by_tensor[name] = _detail(detail, kept_places(len(detail.at), run, room), shared, coarse=room.coarse)
        except DAMAGED:
            continue
    return by_tensor or None


def _detail(detail: Detail, kept: list[int], shared: Shared, *, coarse: bool) -> Json:
    def read(text: str) -> Array:
        numbers = unpacked(text, len(detail.at))
        if numbers.shape[1] != len(detail.t):
            raise ValueError("not a number for each timestep")
        return numbers[kept]

    error, noise = read(detail.error), read(detail.noise)
    counterfactual = None if detail.counterfactual is None else read(detail.counterfactual)
    if coarse:
        error, noise = rounded_errors(error), rounded_noise(noise)
        counterfactual = None if counterfactual is None else rounded_errors(counterfactual)
    return {
        "t": detail.t,
        "at": [list(detail.at[k]) for k in kept],
        "expected": shared.indices_of(read(detail.expected)),
        "noise": shared.indices_of(noise),
        "error": packed(error),
        "counterfactual": None if counterfactual is None else packed(counterfactual),
        "units": detail.units,
        "heat": rounded_heat(detail.heat) if coarse else detail.heat,
        "heat_t": detail.heat_t,
    }


def pairs_of(runs: Sequence[RunResult], indices: Sequence[int]) -> Json | None:
    """The largest distance of every two backends over the numbers that all of them have details of, in sigma.

    Args:
        runs: Of one case.
        indices: Of their backends.
    """
    detailed = [(run, index) for run, index in zip(runs, indices, strict=True) if run.details]
    if len(detailed) < 2:  # noqa: PLR2004
        return None
    count = len(detailed)
    sigma = np.full((count, count), -1.0)
    held = total = 0
    for name in dict.fromkeys(name for run, _ in detailed for name in run.details):
        present = [k for k, (run, _) in enumerate(detailed) if name in run.details]
        try:
            found = _distances([detailed[k][0].details[name] for k in present])
        except DAMAGED:
            continue
        if found is None:
            continue
        distances, numbers = found
        block = np.ix_(present, present)
        sigma[block] = np.fmax(sigma[block], distances)
        held += numbers
        total += detailed[present[0]][0].tensors[name].size if name in detailed[present[0]][0].tensors else numbers
    if not held:
        return None
    return {
        "backends": [index for _, index in detailed],
        "sigma": [[None if value < 0 else number_of(float(value)) for value in row] for row in sigma],
        "of": "all numbers" if held >= total else f"{held} of {total} numbers",
    }


def _distances(details: Sequence[Detail]) -> tuple[Array, int] | None:
    """The largest distances of every two, (runs, runs), and over how many numbers; None where they share none."""
    places = [place for place in details[0].at if all(place in detail.at for detail in details[1:])]
    t = details[0].t
    for detail in details[1:]:
        t = t if detail.t == t else sorted(set(t).intersection(detail.t))
    if not places or not t:
        return None
    errors, noises = [], []
    for detail in details:
        rows = [detail.at.index(place) for place in places]
        columns = slice(None) if detail.t == t else np.searchsorted(detail.t, t)
        errors.append(unpacked(detail.error, len(detail.at))[rows][:, columns])
        noises.append(unpacked(detail.noise, len(detail.at))[rows][:, columns])
    error, noise = np.stack(errors).astype(np.float64), np.stack(noises).astype(np.float64)
    # By the widest noise of the case: one run may have been judged by more than another.
    widest = noise.max(axis=0)
    with np.errstate(all="ignore"):
        error = error * np.where(noise == widest, 1, noise / widest)
        distance = np.abs(error[:, None] - error[None])
    same = (error[:, None] == error[None]) | (np.isnan(error)[:, None] & np.isnan(error)[None])
    distance = np.where(same, 0, np.where(np.isnan(distance), np.inf, distance))
    return distance.max(axis=(2, 3)), len(places) * len(t)
