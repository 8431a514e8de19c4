"""Verdicts: measured differences held against a limit; nothing is run."""

from __future__ import annotations

import msgspec

from lockstep.harness.cases.tensors import TIMED, kind_of, place_of
from lockstep.harness.comparison.results import Difference, First, Limit, PerTimestep, RunResult, TensorResult
from lockstep.harness.errors import ResultsError


def judge(run: RunResult, limit: Limit) -> RunResult:
    """Judge a run's saved differences under a limit; nothing is run.

    A golden value that is missed stays a divergence under every limit, and so does what diverges by what it does, its
    numbers being right: weights that are not shared, calls that do not repeat.
    """
    if run.status not in {"agree", "diverge"}:
        return run
    same = limit == run.limit
    tensors = {name: _judge_tensor(name, tensor, limit, same=same) for name, tensor in run.tensors.items()}
    local = run.local
    if local is not None and limit.sigma is not None:
        walked = [tensors[name] for name in local.sigma if name in tensors]
        walks_back = bool(local.sigma) and all(tensor.reverse for tensor in walked)
        first_step = first_beyond(local.sigma, limit.sigma, reverse=walks_back)
        local = msgspec.structs.replace(local, first_divergence=first_step)
    first = _first_divergence(tensors, run.timesteps)
    by_numbers = any(tensor.verdict == "diverge" for tensor in tensors.values())
    otherwise = run.status == "diverge" and all(tensor.verdict == "agree" for tensor in run.tensors.values())
    return msgspec.structs.replace(
        run, limit=limit, tensors=tensors, local=local, first_divergence=first,
        status="diverge" if by_numbers or otherwise else "agree",
    )  # fmt: skip


def first_beyond(sigma: dict[str, list[float]], limit: float, *, reverse: bool = False) -> int | None:
    """The first timestep at which any of several series is beyond a limit; NaN is beyond.

    ``reverse``: first is what comes last in time.
    """
    beyond = [t for series in sigma.values() for t, value in enumerate(series) if not value <= limit]
    return (max if reverse else min)(beyond, default=None)


def _judge_tensor(name: str, tensor: TensorResult, limit: Limit, *, same: bool) -> TensorResult:
    steps = tensor.per_timestep
    measure = steps.sigma if limit.sigma is not None else steps.excess
    if measure is None:
        raise ResultsError(
            "these results were not measured against rtol and atol: set them in the case and run it again"
        )
    bound = limit.sigma if limit.sigma is not None else 1.0
    # Not `value > bound`: what cannot be compared is beyond every limit.
    rows = [row for row, value in enumerate(measure) if not value <= bound]
    kind, count = kind_of(name), len(measure)
    first = min(rows, key=lambda row: place_of(kind, tensor.lane, row, count), default=None)
    golden_missed = tensor.golden is not None and tensor.golden.verdict == "diverge"
    return msgspec.structs.replace(
        tensor,
        verdict="diverge" if first is not None or golden_missed else "agree",
        first_divergence=None
        if first is None
        else difference_at(name, steps, first, tensor.worst.timestep, tensor.timed),
        # A row keeps its largest number alone: it does not say how many are beyond another limit.
        per_timestep=steps if same else msgspec.structs.replace(steps, beyond=None),
    )


def difference_at(
    name: str,
    steps: PerTimestep,
    row: int,
    final_timestep: int,
    timed: bool | None = None,  # noqa: FBT001
) -> Difference:
    """The difference with the largest sigma at a row; ``final_timestep`` is that of what has no timesteps.

    ``timed``: whether it has some; None where its name says it.
    """
    timed = kind_of(name) in TIMED if timed is None else timed
    return Difference(
        at=(row, *steps.at[row]) if timed else steps.at[row],
        observed=steps.observed[row], expected=steps.expected[row],
        sigma=steps.sigma[row], ulp=steps.ulp[row], abs=steps.abs[row], rel=steps.rel[row],
        timestep=row if timed else final_timestep,
        excess=None if steps.excess is None else steps.excess[row],
    )  # fmt: skip


def _first_divergence(tensors: dict[str, TensorResult], timesteps: int) -> First | None:
    """Find the first divergence in order of computation: forward, layer by layer, step by step; then backward."""
    places = [
        (place_of(kind_of(name), tensor.lane, tensor.first_divergence.timestep, timesteps), name)
        for name, tensor in tensors.items()
        if tensor.first_divergence is not None
    ]
    if not places:
        return None
    # Of one step the first that stands in the results, which keep the order of computation.
    (backward, *_), name = min(places, key=lambda place: place[0])
    first = tensors[name].first_divergence
    assert first is not None
    return First(name, first.timestep, bool(backward))
