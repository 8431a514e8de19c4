"""How much of what could be tried the suite tries: few examples of a searched property, some of many like cases.

`nox -s slow` runs every such property with the earnest profile; `nox -s proof` and `nox -s search` search longer still.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

IN_THE_SUITE, IN_EARNEST = 25, 100
LEAST = 2


def register_profiles() -> None:
    """Make both profiles known, and load that of the suite; pytest loads the other where it is asked to."""
    for name, examples in (("lockstep", IN_THE_SUITE), ("earnest", IN_EARNEST)):
        settings.register_profile(
            name,
            max_examples=examples,
            derandomize="CI" in os.environ,  # searches go on at people's desks; a landing does not hang on chance
            # Times on shared machines say nothing, and a fixture kept for the session is meant to be shared.
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        )
    settings.load_profile("lockstep")


def share_of_examples(part: int) -> settings:
    """One part in so many of the profile's examples: for what is searched in several settings, or takes longer."""
    return settings(max_examples=max(LEAST, settings.default.max_examples // part))


def mostly_slow(cases: Iterable[Any], *, every: int, names: int = 1) -> list[Any]:
    """Cases to parametrise so many names with: the suite runs one in so many of them, `nox -s slow` the others."""
    return [
        case if n % every == 0 else pytest.param(*(case if names > 1 else (case,)), marks=pytest.mark.slow)
        for n, case in enumerate(cases)
    ]
