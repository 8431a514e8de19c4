"""What a worker does with a task, wherever it runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from lockstep.harness.jobs.campaign.failures.shrink import shrink
from lockstep.harness.jobs.campaign.hands import Hands, described
from lockstep.harness.jobs.campaign.run_unit import DiskFullError, run_unit
from lockstep.harness.jobs.campaign.tasks import Answer, Batch, Choosing, Task
from lockstep.harness.jobs.campaign.unit import Campaign, Unit
from lockstep.harness.jobs.campaign.units import Choice, Design


def design_of(campaign: Campaign) -> Design:
    """The design of a campaign: what its configurations are drawn by."""
    return Design(campaign.seed, campaign.features, campaign.models, campaign.problems)


def unit_of(campaign: Campaign, k: int, backend: str) -> Unit:
    """The unit of a configuration and a backend."""
    configuration = design_of(campaign).configuration(k)
    return Unit(k=k, backend=backend, features=tuple(sorted(configuration.features)), problems=configuration.problems)


def perform(task: Task, hands: Hands, tell: Callable[[Answer], None]) -> None:
    """Carry out a task, and tell what comes of it, each unit as soon as it is through; nothing is raised."""
    try:
        if isinstance(task, Batch):
            for k in task.ks:
                tell(Answer(number=task.number, units=(run_unit(unit_of(hands.campaign, k, task.backend), hands),)))
            tell(Answer(number=task.number, done=True))
        elif isinstance(task, Choosing):
            tell(Answer(number=task.number, chosen=_chosen(task, hands), done=True))
        else:
            tell(Answer(number=task.number, shrunk=shrink(task, hands), done=True))
    except DiskFullError as error:
        tell(Answer(number=task.number, fatal=str(error)))
    except Exception:  # noqa: BLE001 (a fault of ours: whoever waits for the task must hear of it)
        tell(Answer(number=task.number, fatal=traceback.format_exc()))


def _chosen(task: Choosing, hands: Hands) -> tuple[int, ...]:
    """The configurations of a round that a backend runs."""
    with hands.runner(task.backend) as runner:
        backend = described(hands.campaign, task.backend)
        chosen = Choice(design_of(hands.campaign), [backend], runner.reasons).round(task.round)
    return tuple(configuration.k for configuration, _ in chosen)
