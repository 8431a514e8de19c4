"""Expected values of float64 cases on machines whose longdouble is no wider than float64: by ball arithmetic.

The reference must be better than what it judges. Where ``numpy.longdouble`` has more than 53 bits it is used. Elsewhere
small cases are computed by FLINT's ``arb`` with 128 bits (the package python-flint), through the same equations on
arrays of such numbers; large ones, or all where it is not installed, in float64 itself with doubled variances.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.tensors import weight_count
from lockstep.harness.reference.noise import Noise, longdouble_is_wider

BITS = 128  # so many that their rounding is nothing beside float64's 53
# Some 10 million products of such numbers take a second.
MOST_PRODUCTS = 2e7


class Balls(Noise):
    """Noise whose precision is FLINT's numbers."""

    def taken(self, array: Array) -> Array:
        """An array of balls."""
        return array if array.dtype == object else _balls(array)

    @classmethod
    def of(cls, dtype: str, quantised: str | None = None) -> Balls:
        """The noise of a dtype; the reference's arrays hold objects."""
        fields: dict[str, Any] = {**vars(Noise.of(dtype, quantised)), "precision": object}
        return cls(**fields)


def wanted(case: Case) -> bool:
    """Whether a case's values are to be computed that way."""
    return case.run.dtype == "float64" and not longdouble_is_wider() and fits(case) and find_spec("flint") is not None


def fits(case: Case) -> bool:
    """Whether a case is small enough."""
    # The way back makes some three times the products of the way there.
    passes = 4 if case.run.gradients else 1
    return case.run.timesteps * case.run.batch * weight_count(case) * passes <= MOST_PRODUCTS


def refined(expected: dict[str, Any], values: dict[str, Array]) -> dict[str, Any]:
    """Put exact values in the place of those that float64 gave, and take their own rounding out of the noise."""
    better = dict(expected)
    for name, array in values.items():
        tensor = expected[name]
        value = array.astype(np.float64)
        remainder = (array - _balls(value)).astype(np.float64)
        # What is not finite stays as it was: balls have no signed infinities.
        sound = np.isfinite(value) & np.isfinite(remainder)
        better[name] = replace(
            tensor,
            value=np.where(sound, value, tensor.value),
            rest=np.where(sound, remainder, tensor.rest),
            # Variances were doubled for the rounding of a float64 reference, which is gone.
            noise=tensor.noise / np.sqrt(2),
        )
    return better


def _balls(array: Array) -> Array:
    import flint

    # A setting of the whole process: whoever else uses FLINT may have changed it.
    flint.ctx.prec = BITS
    make: Any = np.frompyfunc(flint.arb, 1, 1)
    return make(array.astype(np.float64).astype(object))


def description(dtype: str) -> str:
    """The arithmetic in which the reference computes the expected values of a dtype."""
    if dtype != "float64":
        return "float64"
    if longdouble_is_wider():
        return f"numpy.longdouble, {np.finfo(np.longdouble).nmant + 1} bits"
    if find_spec("flint") is not None:
        return f"FLINT, {BITS} bits, for small cases; float64 with doubled variances for others"
    return "float64 with doubled variances: install python-flint for small cases"
