"""Tensors of a run for the page: the largest differences, and sigma over time, timesteps joined where they must be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lockstep.harness.cases.tensors import BACKWARD, TIMED, kind_of
from lockstep.harness.comparison.results import Difference, RunResult, TensorResult
from lockstep.reports.page_room import Room

Json = dict[str, Any]


def number_of(value: float | None) -> float | str | None:
    """A measure with three digits; what is not finite as a string."""
    if value is None or (math.isfinite(value) and value == int(value) and abs(value) < 1000):  # noqa: PLR2004
        return None if value is None else int(value)
    return float(f"{value:.3g}") if math.isfinite(value) else _nonfinite(value)


def value_of(value: float) -> float | str:
    """A tensor's number with nine digits, which tell every float32; what is not finite as a string."""
    return float(f"{value:.9g}") if math.isfinite(value) else _nonfinite(value)


def size_of(sigma: float) -> float:
    """Order sigma: what cannot be compared is farthest away."""
    return math.inf if math.isnan(sigma) else sigma


def worst_tensor(run: RunResult) -> str | None:
    """Name the tensor with the largest sigma of a run; None if it gave none."""
    return max(run.tensors, key=lambda name: size_of(run.tensors[name].worst.sigma), default=None)


def tensors_of_run(run: RunResult, room: Room) -> list[Json]:
    """The tensors of a run, in order of computation.

    Where there is little room the worst tensor, and that which diverges first, are told by every measure, others by
    their largest sigma and where that is.
    """
    agrees, worst = run.status == "agree", worst_tensor(run)
    first = run.first_divergence.tensor if run.first_divergence else worst
    buckets = room.agreeing_buckets if agrees else room.buckets
    return [
        _tensor(name, tensor, buckets, measures=room.measures or (not agrees and name in {worst, first}))
        for name, tensor in run.tensors.items()
        if room.all_tensors or not agrees or name == worst
    ]


def _tensor(name: str, tensor: TensorResult, buckets: int, *, measures: bool) -> Json:
    kind, steps, first = kind_of(name), tensor.per_timestep, tensor.first_divergence
    every = bucket_width(len(steps.sigma), buckets)
    best = worst_of_buckets(steps.sigma, every)
    shown = difference if measures else _short
    entry: Json = {
        "name": name,
        "verdict": tensor.verdict,
        "timed": kind in TIMED,
        "reverse": tensor.reverse,
        "gradient": kind in BACKWARD,
        "size": tensor.size,
        "worst": shown(tensor.worst),
        "first": None if first is None else shown(first),
        "every": every,
        "sigma": [number_of(steps.sigma[t]) for t in best],
        "at": [list(steps.at[t]) for t in best] if measures else [],
        "ulp": [number_of(max(steps.ulp[t : t + every])) for t in range(0, len(steps.ulp), every)] if measures else [],
    }
    if every > 1:
        entry["tbest"] = best
    if tensor.golden is not None:
        golden = tensor.golden
        entry["golden"] = {
            "verdict": golden.verdict, "abs": number_of(golden.abs), "atol": golden.atol, "source": golden.source
        }  # fmt: skip
    return there(entry)


def there(entry: Json) -> Json:
    """What is there: neither null, nor false, nor empty."""
    return {key: value for key, value in entry.items() if value or (value == 0 and value is not False)}


def difference(value: Difference) -> Json:
    """A difference by every measure."""
    return {
        "sigma": number_of(value.sigma), "ulp": number_of(value.ulp), "abs": number_of(value.abs),
        "rel": number_of(value.rel), "at": list(value.at), "observed": value_of(value.observed),
        "expected": value_of(value.expected), "t": value.timestep,
    }  # fmt: skip


def _short(value: Difference) -> Json:
    return {"sigma": number_of(value.sigma), "at": list(value.at), "t": value.timestep}


def bucket_width(timesteps: int, most: int) -> int:
    """How many timesteps go together, so that there are at most so many buckets."""
    return max(1, math.ceil(timesteps / most))


def worst_of_buckets(sigma: Sequence[float], every: int) -> list[int]:
    """The timestep of each bucket's largest sigma, the first of several."""
    if every == 1:
        return list(range(len(sigma)))
    sizes = [size_of(value) for value in sigma]
    return [
        max(range(start, min(start + every, len(sizes))), key=sizes.__getitem__)
        for start in range(0, len(sizes), every)
    ]


def local_of_run(run: RunResult, buckets: int) -> dict[str, list[Any]] | None:
    """The largest sigma of each step alone, by bucket."""
    if run.local is None:
        return None
    return {
        name: [number_of(series[t]) for t in worst_of_buckets(series, bucket_width(len(series), buckets))]
        for name, series in run.local.sigma.items()
    }


def _nonfinite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
