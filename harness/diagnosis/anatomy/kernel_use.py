"""Measure at which timesteps the given kernel is in use: one made anew at a step does not answer to its change.

Only one timestep has an input, and R and b are 0, so W can show at that step alone.
"""

from __future__ import annotations

import numpy as np

from lockstep.harness.arrays import Arrays
from lockstep.harness.diagnosis.anatomy.black_box import HEARD, BlackBox, problem_from_arrays
from lockstep.harness.reference.curves import sigmoid

T, I, H = 5, 3, 4
STEEP = 0.7  # a pre-activation at which all curves are steep
Z_TOLERANCE = 1e-5


def unused_at(black_box: BlackBox) -> list[int]:
    """The timesteps whose input is heard, but not through W; none where W is in use at every step."""
    W = np.random.default_rng(17).uniform(0.2, 0.9, (4 * H, I))
    R, b, state = np.zeros((4 * H, H)), np.zeros(4 * H), np.full((1, H), 0.5)
    problems = [problem_from_arrays(W, R, b, np.zeros((T, 1, I)), state, state)]
    for t in range(T):
        x = np.zeros((T, 1, I))
        x[t] = STEEP
        problems += [problem_from_arrays(scale * W, R, b, x, state, state) for scale in (1.0, 0.5)]
    at_rest, *answers = black_box.ask(problems)
    pairs = [answers[2 * t : 2 * t + 2] for t in range(T)]
    return [t for t, (first, second) in enumerate(pairs) if _differ(at_rest, first) and not _differ(first, second)]


def scales(black_box: BlackBox) -> list[float] | None:
    """How often W counts at each timestep, beside the first; None where that cannot be told.

    All entries of W are alike, so every gate gets z whatever their order; before the one input c is 0, so that
    c = sigmoid(z) tanh(z) there.
    """
    W, R, b, zero = np.full((4 * H, I), 1 / I), np.zeros((4 * H, H)), np.zeros(4 * H), np.zeros((1, H))
    problems = []
    for t in range(T):
        x = np.zeros((T, 1, I))
        x[t] = STEEP
        problems.append(problem_from_arrays(W, R, b, x, zero, zero))
    answers = black_box.ask(problems)
    if any(answer is None or "c" not in answer for answer in answers):
        return None
    by_step = np.array([float(answer["c"][t, 0, 0]) for t, answer in enumerate(answers) if answer is not None])
    z = np.linspace(0, 40 * STEEP, 400_001)
    made = sigmoid(z) * np.tanh(z)
    if (
        not np.isfinite(by_step).all()
        or abs(by_step[0] - np.interp(STEEP, z, made)) > Z_TOLERANCE
        or not (by_step < made[-1]).all()
    ):
        return None
    return [float(value) for value in np.interp(by_step, made, z) / STEEP]


def _differ(first: Arrays | None, second: Arrays | None) -> bool:
    """Whether h differs anywhere; what cannot be compared does."""
    if first is None or second is None:
        return True
    with np.errstate(all="ignore"):
        # Not `>`: what is not a number tells nothing, and is no reason to call W unused.
        return not bool((np.abs(first["h"] - second["h"]) <= HEARD).all())
