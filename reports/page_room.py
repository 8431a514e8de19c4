"""How much of results a page shows: all of it where that is little, else less of it, by a budget of bytes.

A page holds its data compressed. What a number comes to there was measured on the results of ``tests/big_results.py``:
an estimate is within a third of what it comes to.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.harness.comparison.details import code_of
from lockstep.harness.comparison.results import Results, RunResult

Array = NDArray[Any]

BYTES = 1_250_000  # for results of any size
BYTES_A_RUN = 400
MOST_BYTES = 5_000_000


@dataclass(frozen=True)
class Room:
    """What one page has room for."""

    buckets: int  # of timesteps, of a run that is not right
    agreeing_buckets: int  # of one that agrees
    details: str  # whose numbers: "all", "wrong" or "none"
    agreeing_places: int | None = None  # of a tensor whose numbers are there; None: all
    coarse: bool = False  # whether small errors are rounded
    pairs: bool = True
    measures: bool = True  # whether what is not worst or first is told by every measure, and what agrees in words
    all_tensors: bool = True  # of a run that agrees, else the worst alone
    says: str | None = None

    @property
    def reduced(self) -> bool:
        """Whether anything is left out or joined."""
        return self.says is not None


ROUNDED = "errors that rounding explains are shown to 1/32 sigma"
JOINED = "shows the largest of several timesteps"
WHERE = "All numbers are in the results (--json), and in one page for each case if the report is made with --details."
FULL = Room(buckets=400, agreeing_buckets=400, details="all")
LEVELS = (
    FULL,
    Room(400, 400, "all", coarse=True, says=f"To keep this page small, {ROUNDED}. {WHERE}"),
    Room(400, 400, "all", agreeing_places=2, coarse=True,
         says=f"To keep this page small, {ROUNDED}, and runs that agree show few places. {WHERE}"),
    Room(200, 100, "wrong", coarse=True,
         says=f"To keep this page small, it has no single numbers of runs that agree. {WHERE}"),
    Room(100, 25, "none",
         says=f"To keep this page small, it has no single numbers, and {JOINED}. {WHERE}"),
    Room(20, 5, "none", pairs=False, measures=False,
         says=f"To keep this page small, it has no single numbers, and {JOINED}. {WHERE}"),
    Room(10, 4, "none", pairs=False, measures=False, all_tensors=False,
         says=f"To keep this page small, it has no single numbers, {JOINED}, and only the "
         f"worst tensor of a run that agrees. {WHERE}"),
)  # fmt: skip


def room_for(results: Results) -> Room:
    """The first level at which results keep to the budget, or the last."""
    budget = min(BYTES + BYTES_A_RUN * len(results.runs), MOST_BYTES)
    return next((level for level in LEVELS if estimate(results, level) <= budget), LEVELS[-1])


def estimate(results: Results, room: Room) -> float:
    """Estimate the bytes of a page's compressed data."""
    return sum(_bytes_of(run, room) for run in results.runs)


# Bytes of a compressed page: of a run without anything, of a tensor, of a bucket, and of single numbers.
RUN, SHORT_RUN, WRONG_RUN, TENSOR, SHORT_TENSOR, BUCKET, SHORT_BUCKET = 120, 40, 300, 60, 12, 8.0, 2.5
FULL_NUMBER, COARSE_NUMBER, FULL_CELL, COARSE_CELL = 5.6, 3.0, 1.4, 0.6


def _bytes_of(run: RunResult, room: Room) -> float:
    agrees = run.status == "agree"
    most = room.agreeing_buckets if agrees else room.buckets
    tensors = list(run.tensors.values())[: None if room.all_tensors or not agrees else 1]
    buckets = sum(min(len(tensor.per_timestep.sigma), most) for tensor in tensors)
    total = WRONG_RUN if not agrees else RUN if room.measures else SHORT_RUN
    total += buckets * (BUCKET if room.measures else SHORT_BUCKET)
    total += len(tensors) * (TENSOR if room.measures else SHORT_TENSOR)
    if shows_details(run, room):
        a_number, a_cell = (COARSE_NUMBER, COARSE_CELL) if room.coarse else (FULL_NUMBER, FULL_CELL)
        for detail in run.details.values():
            series = 1.3 if detail.counterfactual is None else 2.3  # expected values and noise are shared by runs
            places = len(kept_places(len(detail.at), run, room))
            total += a_number * series * len(detail.t) * places + a_cell * len(detail.heat) * 3 / 4
    return total


def kept_places(count: int, run: RunResult, room: Room) -> list[int]:
    """Choose which of a tensor's places a page shows; the last is among them: mostly that of the worst number."""
    if room.agreeing_places is None or run.status != "agree" or count <= room.agreeing_places + 1:
        return list(range(count))
    few = [k * (count - 1) // room.agreeing_places for k in range(room.agreeing_places)]
    return [*few, count - 1]


def shows_details(run: RunResult, room: Room) -> bool:
    """Whether a page has a run's numbers."""
    return room.details == "all" or (room.details == "wrong" and run.status != "agree")


# -- rounding ----------------------------------------------------------------------------------------------------

HEALTHY = 8.0  # sigma: what is below is rounded to a step, what is above to so many bits
STEP, BITS, NOISE_BITS = 1 / 32, 8, 5
HEAT_STEP = 12  # codes: they are 8 % apart
_HEALTHY_CODE = int(code_of(np.array([HEALTHY]))[0]) // HEAT_STEP * HEAT_STEP


def rounded_errors(error: Array) -> Array:
    """Round errors such that they compress: float32, any shape."""
    with np.errstate(all="ignore"):
        healthy = np.abs(error) < HEALTHY
        return np.where(healthy, np.rint(error / STEP) * STEP, _rounded_bits(error, BITS)).astype(np.float32)


def rounded_noise(noise: Array) -> Array:
    """Round noise such that it compresses, by 3 % at most: float32, any shape."""
    return _rounded_bits(noise, NOISE_BITS)


def _rounded_bits(array: Array, kept: int) -> Array:
    """Round float32 to so many bits after the first; what is not finite stays."""
    cut = 23 - kept
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(1 << (cut - 1))) >> cut << cut).view(np.float32)
    return np.where(np.isfinite(array) & np.isfinite(rounded), rounded, array).astype(np.float32)


def rounded_heat(text: str) -> str:
    """Round the codes of a heat map below what is healthy, base64 as they are kept; the others stay."""
    codes = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    coarse = np.where(codes < _HEALTHY_CODE, codes // HEAT_STEP * HEAT_STEP, codes).astype(np.uint8)
    return base64.b64encode(coarse.tobytes()).decode()
