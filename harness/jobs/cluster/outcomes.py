"""Run cases through backends on a cluster: the same outcomes that processes here would give."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from lockstep.harness.adapters.backend import BackendInfo, by_worker, pairs
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Case
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.cluster.client import Workers
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.run import OutcomeSource


def on_cluster(address: str, *, allow_mixed: bool = False) -> OutcomeSource:
    """Where ``run_cases`` takes outcomes from, of a cluster's workers."""
    return partial(cluster_outcomes, address, allow_mixed=allow_mixed)


def cluster_outcomes(
    address: str, cases: list[Case], backends: list[BackendInfo], problems: Problems, timeout: float, *,
    allow_mixed: bool = False,
) -> Iterator[tuple[Case, BackendInfo, Outcome]]:  # fmt: skip
    """Run every case through every backend of its model; outcomes as they come.

    Raises:
        LockstepError: If nothing answers at the address, the workers are not alike, or the cluster is lost.
    """
    from lockstep.harness.jobs.cluster.there import run_problems

    campaign = Campaign(seed=0, backends=tuple(backend.name for backend in backends), models=(), timeout=timeout)
    with Workers(campaign, address, allow_mixed=allow_mixed) as workers:
        # Backends of one framework run a case one after the other in the same process, which has it then.
        asked: dict[int, tuple[Case, list[BackendInfo]]] = {}
        for case in cases:
            for group in by_worker(backends):
                able = [backend for _, backend in pairs([case], group)]
                if able:
                    number = len(asked)
                    asked[number] = case, able
                    names = [backend.name for backend in able]
                    workers.start(number, run_problems, names, problems.problem(case))
        for number, answer in _all(workers, len(asked)):
            case, able = asked[number]
            yield from (
                (case, backend, outcome) for backend, outcome in zip(able, _outcomes(answer, able), strict=True)
            )


def _all(workers: Workers, count: int) -> Iterator[tuple[int, Any]]:
    """All answers, as they come."""
    while count:
        for number, answer in workers.ended(timeout=1.0):
            count -= 1
            yield number, answer


def _outcomes(answer: list[Outcome] | str, able: list[BackendInfo]) -> list[Outcome]:
    return [Outcome("crashed", message=answer)] * len(able) if isinstance(answer, str) else answer
