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
        """Give the place of each row of numbers among all."""
        return [self._index_of(packed(row)) for row in rows]

    def _index_of(self, text: str) -> int:
        if text not in self._index:
            self._index[text] = len(self.texts)
            self.texts.append(text)
        return self._index[text]


def details_of_run(run: RunResult, room: Room, shared: Shared) -> dict[str, Json] | None:
    """Give a run's details by tensor; None where the page has no room for them, or results have none."""
    if not run.details or not shows_details(run, room):
        return None
    found = {}
    for name, detail in run.details.items():
        try:
            found[name] = _detail(detail, kept_places(len(detail.at), run, room), shared, coarse=room.coarse)
        except DAMAGED:
            continue
    return found or None


def _detail(detail: Detail, kept: list[int], shared: Shared, *, coarse: bool) -> Json:
    def read(text: str) -> Array:
        found = unpacked(text, len(detail.at))
        if found.shape[1] != len(detail.t):
            raise ValueError("not a number for each timestep")
        return found[kept]

    error, noise = read(detail.error), read(detail.noise)
    other = None if detail.counterfactual is None else read(detail.counterfactual)
    if coarse:
        error, noise = rounded_errors(error), rounded_noise(noise)
        other = None if other is None else rounded_errors(other)
    return {
        "t": detail.t,
        "at": [list(detail.at[k]) for k in kept],
        "expected": shared.indices_of(read(detail.expected)),
        "noise": shared.indices_of(noise),
        "error": packed(error),
        "counterfactual": None if other is None else packed(other),
        "units": detail.units,
        "heat": rounded_heat(detail.heat) if coarse else detail.heat,
        "heat_t": detail.heat_t,
    }


def pairs_of(runs: Sequence[RunResult], indices: Sequence[int]) -> Json | None:
    """Give the largest distance of every two backends over the numbers that all of them have details of, in sigma.

    Args:
        runs: Of one case.
        indices: Of their backends.
    """
    own = [(run, index) for run, index in zip(runs, indices, strict=True) if run.details]
    if len(own) < 2:  # noqa: PLR2004
        return None
    count = len(own)
    sigma = np.full((count, count), -1.0)
    held = total = 0
    for name in dict.fromkeys(name for run, _ in own for name in run.details):
        given = [k for k, (run, _) in enumerate(own) if name in run.details]
        try:
            found = _distances([own[k][0].details[name] for k in given])
        except DAMAGED:
            continue
        if found is None:
            continue
        distances, numbers = found
        block = np.ix_(given, given)
        sigma[block] = np.fmax(sigma[block], distances)
        held += numbers
        total += own[given[0]][0].tensors[name].size if name in own[given[0]][0].tensors else numbers
    if not held:
        return None
    return {
        "backends": [index for _, index in own],
        "sigma": [[None if value < 0 else number_of(float(value)) for value in row] for row in sigma],
        "of": "all numbers" if held >= total else f"{held} of {total} numbers",
    }


def _distances(details: Sequence[Detail]) -> tuple[Array, int] | None:
    """Give the largest distances of every two, (runs, runs), and over how many numbers; None where they share none."""
    places = [place for place in details[0].at if all(place in one.at for one in details[1:])]
    t = details[0].t
    for one in details[1:]:
        t = t if one.t == t else sorted(set(t).intersection(one.t))
    if not places or not t:
        return None
    errors, noises = [], []
    for one in details:
        rows = [one.at.index(place) for place in places]
        columns = slice(None) if one.t == t else np.searchsorted(one.t, t)
        errors.append(unpacked(one.error, len(one.at))[rows][:, columns])
        noises.append(unpacked(one.noise, len(one.at))[rows][:, columns])
    error, noise = np.stack(errors).astype(np.float64), np.stack(noises).astype(np.float64)
    # By the widest noise of the case: one run may have been judged by more than another.
    widest = noise.max(axis=0)
    with np.errstate(all="ignore"):
        error = error * np.where(noise == widest, 1, noise / widest)
        distance = np.abs(error[:, None] - error[None])
    same = (error[:, None] == error[None]) | (np.isnan(error)[:, None] & np.isnan(error)[None])
    distance = np.where(same, 0, np.where(np.isnan(distance), np.inf, distance))
    return distance.max(axis=(2, 3)), len(places) * len(t)
