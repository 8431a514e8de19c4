"""The bounds of a command: its limit and its time-out, as options and as a project's settings give them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import tell

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Limit


def check_positive(**options: float | None) -> None:
    """Make sure that the numbers that options give are above 0.

    Raises:
        LockstepError: If one is not.
    """
    for name, value in options.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise LockstepError(f"--{name} {value:g}: must be a number above 0.")


def bounds(limit: float | None, timeout: float | None = None, *, quiet: bool) -> tuple[Limit | None, float]:
    """Give limit and time-out: an option's, else those of the nearest pyproject.toml that sets any, which is told."""
    from lockstep.harness.jobs.settings import find_settings

    settings = find_settings(Path.cwd())
    text = settings.without(limit=limit, timeout=timeout).text()
    if text is not None and not quiet:
        tell(f"Settings: {text}")
    return settings.limit_or(limit), settings.timeout_or(timeout)
