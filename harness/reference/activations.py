"""The activations a case may ask for: value, slope, and what rounding does to both.

Slopes are functions of the output, as implementations compute them in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.reference.noise import SIGMOID_CAP, TANH_CAP, Noise

# Where a curve has a corner within so many standard deviations, healthy implementations may land on either side.
NEAR_SIGMA = 6.0


class Activation(NamedTuple):
    """One activation."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]  # f'(z) from f(z)
    bend: Callable[[Array], Array] | None  # d slope / d output; None where the slope is constant between corners
    cap: float  # (range / 2)²: the variance of a bounded value cannot be larger
    rounds: bool = True  # whether it adds u² outright
    corners: tuple[tuple[float, float], ...] = ()  # z and f(z) where the slope jumps ...
    jump: float = 0.0  # ... between 0 and this

    def variance(self, z: Array, z_var: Array, a: Array, noise: Noise) -> Array:
        """Carry the variance of z through the activation."""
        slope = self.slope(a)
        if self.corners:
            within = NEAR_SIGMA * np.sqrt(z_var)
            near = np.logical_or.reduce([np.abs(z - corner) <= within for corner, _ in self.corners])
            slope = np.where(near, self.jump, slope)
        # What is held at an end is exact there.
        rounding = noise.u2 * self.rounds * (slope != 0 if self.corners else 1)
        # fmin, not minimum: where infinities meet, the variance is NaN and the cap holds.
        through = slope * slope * z_var
        if noise.quantisation is not None:
            through = np.fmax(through, self._far_variance(z, z_var, a))
        variance = np.fmin(through + rounding, self.cap)
        infinite = np.isinf(z)
        if infinite.any() and self.cap < np.inf:
            # Infinity has no rounding: a bounded curve is at its end there.
            variance[infinite] = noise.u2 * self.rounds
        return variance

    def _far_variance(self, z: Array, z_var: Array, a: Array) -> Array:
        """The same where a step is so large that the slope is another one within it: a shut gate may be an open one."""
        reach = NEAR_SIGMA * np.sqrt(z_var)
        farthest = np.fmax(np.abs(self.value(z + reach) - a), np.abs(self.value(z - reach) - a))
        return np.square(farthest / NEAR_SIGMA)

    def slope_variance(self, a: Array, a_var: Array, noise: Noise) -> Array:
        """Variance that a rounded output brings to the slope, without what rounding the slope adds.

        Near a corner the slope may be that of the other side; an output that has a variance was not held there.
        """
        if self.bend is not None:
            bend = self.bend(a)
            return bend * bend * a_var
        if not self.corners:
            return np.zeros_like(a)
        within, hardly = NEAR_SIGMA * np.sqrt(a_var), NEAR_SIGMA * np.sqrt(noise.tiny2)
        distances = [np.abs(a - corner) for _, corner in self.corners]
        near = np.logical_or.reduce([distance <= within for distance in distances])
        # What the dtype's smallest numbers hardly tell from a corner is rounded to it, or beyond it.
        told = np.logical_or.reduce([(distance > 0) & (distance <= hardly) for distance in distances])
        moves = (a_var > 1.001 * noise.floor) | told
        return self.jump**2 * (near & moves)


def _hard(name: str, end: float) -> Activation:
    """A hard sigmoid, held at 0 and 1 from ±end on."""

    def between(a: Array) -> Array:
        # Divided in the gates' own precision: 1/6 as a float has 53 bits.
        return np.where((a > 0) & (a < 1), (0 * a + 0.5) / end, 0)

    corners = ((-end, 0.0), (end, 1.0))
    return Activation(CURVES[name].value, between, None, SIGMOID_CAP, corners=corners, jump=0.5 / end)


def _step(a: Array) -> Array:
    return (a > 0).astype(a.dtype)


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(CURVES["sigmoid"].value, lambda a: a * (1 - a), lambda a: 1 - 2 * a, SIGMOID_CAP),
    "tanh": Activation(np.tanh, lambda a: 1 - a * a, lambda a: -2 * a, TANH_CAP),
    "hard_sigmoid_0.2": _hard("hard_sigmoid_0.2", 2.5),
    "hard_sigmoid_1/6": _hard("hard_sigmoid_1/6", 3.0),
    "relu": Activation(CURVES["relu"].value, _step, None, np.inf, rounds=False, corners=((0.0, 0.0),), jump=1.0),
    "linear": Activation(CURVES["linear"].value, np.ones_like, None, np.inf, rounds=False),
}
