"""Measure at which timesteps the given W, R and b are in use: one made anew at a step does not answer to its change.

Each sequence of a batch puts one timestep to the test, so two calls do for an array. Where a step must not show
whatever its weights are, all its gates are shut: its input is far below zero, so its c and h are 0.
"""

from __future__ import annotations

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.diagnosis.anatomy.black_box import HEARD, BlackBox, ask_batches, problem_from_arrays
from lockstep.harness.reference.curves import sigmoid

T, I, H = 5, 3, 4
STEEP = 0.7  # a pre-activation at which all curves are steep
SHUT = -80.0  # one at which no gate lets anything through
Z_TOLERANCE = 1e-5  # of i g at the first timestep, by which the others are read
_ALL_STEPS = np.arange(T)


def unused(black_box: BlackBox, *, batched: bool = True) -> dict[str, list[int]] | None:
    """The timesteps at which each of W, R and b is not in use as it was given; None if it does not answer.

    Args:
        black_box: What is asked, twice for each array.
        batched: Whether its sequences do not depend on each other; else each is asked alone.
    """
    rng = np.random.default_rng(17)
    W, R, b = rng.uniform(0.2, 0.9, (4 * H, I)), rng.uniform(0.2, 0.9, (4 * H, H)), rng.uniform(0.2, 0.9, 4 * H)
    even, none = np.full((4 * H, I), 1 / I), np.zeros((4 * H, H))
    no_bias, steps = np.zeros(4 * H), {}
    for name, arrays, x, h0 in (
        ("W", (W, none, no_bias), _one_input(), np.full((2 * T, H), 0.5)),
        ("R", (even, R, no_bias), _open_around(_ALL_STEPS), _start_of_first()),
        ("b", (even, none, b), np.concatenate([_open_at(0.0), _open_at(STEEP)], axis=1), np.zeros((2 * T, H))),
    ):
        c0 = h0 if name == "W" else np.zeros_like(h0)
        problems = [
            problem_from_arrays(*_halved(arrays, name) if half else arrays, x, h0, c0) for half in (False, True)
        ]
        answers = ask_batches(black_box, problems, batched=batched, names="h")
        if answers is None:
            return None
        first, second = (answer["h"].astype(np.float64) for answer in answers)
        # A step that would show nothing of the array as given cannot tell that it is not in use.
        alive = _fed(first, h0) if name == "R" else [_differ(first[t, t], first[t, T + t]) for t in range(T)]
        steps[name] = [t for t in range(T) if alive[t] and not _differ(first[t, t], second[t, t])]
    return steps


def _halved(arrays: tuple[Array, Array, Array], name: str) -> tuple[Array, Array, Array]:
    W, R, b = (array / 2 if name == array_name else array for array, array_name in zip(arrays, "WRb", strict=True))
    return W, R, b


def _one_input() -> Array:
    """Sequence t has an input at timestep t alone; sequence T + t has none."""
    x = np.zeros((T, 2 * T, I))
    x[_ALL_STEPS, _ALL_STEPS] = STEEP
    return x


def _open_at(z: float) -> Array:
    """Sequence t is shut but at timestep t, where the input makes a pre-activation of z."""
    x = np.full((T, T, I), SHUT)
    x[_ALL_STEPS, _ALL_STEPS] = z
    return x


def _open_around(steps: Array) -> Array:
    """Sequence t makes an h at timestep t - 1, and at timestep t has nothing but that."""
    x = _open_at(0.0)
    x[steps[:-1], steps[1:]] = STEEP
    return x


def _start_of_first() -> Array:
    """An h0 for the sequence that tests the first timestep; the others make theirs."""
    h0 = np.zeros((T, H))
    h0[0] = 0.5
    return h0


def _fed(h: Array, h0: Array) -> list[bool]:
    """Whether each sequence had an h that its timestep under test could be fed."""
    return [bool((np.abs(h0[0] if t == 0 else h[t - 1, t]) > 1e-3).all()) for t in range(T)]  # noqa: PLR2004


def scales(black_box: BlackBox, timesteps: int = T, *, batched: bool = True) -> list[float] | None:
    """How often x counts at each timestep in i * g, beside the first; None where that cannot be told.

    All entries of W are alike, so every gate gets z whatever their order; before the one input c is 0, so that
    c = sigmoid(z) tanh(z) there. What counts, i, g or both, the product does not show.
    """
    W, R, b = np.full((4 * H, I), 1 / I), np.zeros((4 * H, H)), np.zeros(4 * H)
    steps = np.arange(timesteps)
    x, zero = np.zeros((timesteps, timesteps, I)), np.zeros((timesteps, H))
    x[steps, steps] = STEEP
    answers = ask_batches(black_box, [problem_from_arrays(W, R, b, x, zero, zero)], batched=batched, names="c")
    if answers is None:
        return None
    by_step = answers[0]["c"][steps, steps, 0].astype(np.float64)
    z = np.linspace(0, 40 * STEEP, 400_001)
    made = sigmoid(z) * np.tanh(z)  # it grows with z, and is read backwards
    if (
        not np.isfinite(by_step).all()
        or abs(by_step[0] - np.interp(STEEP, z, made)) > Z_TOLERANCE
        or not (by_step < made[-1]).all()
    ):
        return None
    return [float(value) for value in np.interp(by_step, made, z) / STEEP]


def _differ(first: Array, second: Array) -> bool:
    """Whether h differs anywhere; what cannot be compared does."""
    with np.errstate(all="ignore"):
        # Not `>`: what is not a number tells nothing, and is no reason to call W unused.
        return not bool((np.abs(first - second) <= HEARD).all())
