"""Measure at which timesteps the given kernel is in use: one made anew at a step does not answer to its change.

Only one timestep has an input, and R and b are 0, so W can show at that step alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.subject import Arrays, Subject, posed

Array = NDArray[Any]

T, I, H = 5, 3, 4
HEARD = 1e-6


def unused_at(subject: Subject) -> list[int]:
    """Give the timesteps at which changing W changes nothing; none where it is in use at every step."""
    W = np.random.default_rng(17).uniform(0.2, 0.9, (4 * H, I))
    R, b, state = np.zeros((4 * H, H)), np.zeros(4 * H), np.full((1, H), 0.5)
    problems = []
    for t in range(T):
        x = np.zeros((T, 1, I))
        x[t] = 0.7
        problems += [posed(scale * W, R, b, x, state, state) for scale in (1.0, 0.5)]
    answers = subject.ask(problems)
    return [t for t in range(T) if not _differ(answers[2 * t : 2 * t + 2], t)]


def _differ(pair: Sequence[Arrays | None], t: int) -> bool:
    one, other = pair
    if one is None or other is None:
        return True
    with np.errstate(all="ignore"):
        # Not `>`: what is not a number tells nothing, and is no reason to call W unused.
        return not bool((np.abs(one["h"][t] - other["h"][t]) <= HEARD).all())
