"""Curves with what rounding does to them: those that a case may ask for, and those that stand in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.reference.activations import ACTIVATIONS, Activation
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.reference.noise import Noise

WIDTH = 2.0**-17  # of a central difference: its error and that of rounding are both below 1e-10


@dataclass(frozen=True)
class NoisyCurve:
    """A curve by its name in ``harness.reference.curves``."""

    name: str
    value: Callable[[Array], Array]
    activation: Activation | None = None  # the rules of a curve that a case may ask for

    @property
    def cap(self) -> float:
        """(range / 2)²: the variance of a bounded value cannot be larger."""
        return np.inf if self.activation is None else self.activation.cap

    def slope(self, z: Array, a: Array) -> Array:
        """The slope, from the output where the curve is one that a case may ask for."""
        if self.activation is not None:
            return self.activation.slope(a)
        # Of a curve that no case may ask for nobody has written the slope down.
        return (self.value(z + WIDTH) - self.value(z - WIDTH)) / (2 * WIDTH)

    def variance(self, z: Array, z_var: Array, a: Array, noise: Noise) -> Array:
        """Carry the variance of z through."""
        if self.activation is not None:
            return self.activation.variance(z, z_var, a, noise)
        slope = self.slope(z, a)
        return slope * slope * z_var + noise.u2 * np.maximum(1, a * a)

    def slope_variance(self, z: Array, a: Array, a_var: Array, noise: Noise) -> Array:
        """The variance that a rounded output brings to the slope."""
        if self.activation is not None:
            return self.activation.slope_variance(a, a_var, noise)
        # Its second derivative, by differences: it only sizes a noise.
        bend = (self.slope(z + 0.01, a) - self.slope(z - 0.01, a)) / 0.02
        return bend * bend * a_var


@cache
def curve_of(name: str) -> NoisyCurve:
    """The curve of that name."""
    activation = ACTIVATIONS.get(name)
    return NoisyCurve(name, CURVES[name].value if activation is None else activation.value, activation)
