"""What an implementation returned for a problem, and how far an execution is from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import KINDS, kind_of
from lockstep.harness.causes.formats import FORMATS
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import LIMIT_SIGMA, roundoff

# A format of few bits may round the other way where a sum lies between two of its values.
FLIPS = 0.05
HUGE = 1e18  # beyond this, products of float32 overflow in one order of summation and not in the other
FLIP_SIZE = 32.0  # in unit roundoffs of the format


@dataclass(frozen=True, eq=False)
class Observation:
    """What an implementation returned for one problem."""

    problem: Any  # harness.cases.decoder_problem.AnyProblem; what looks into a plain layer asks for a Problem
    tensors: Arrays

    @cached_property
    def expected(self) -> Expected:
        """What it should have returned; where it did not, with the noise that the network itself amplifies."""
        expected = expect(self.problem)
        if self.distance(expected, None) <= LIMIT_SIGMA:
            return expected
        from lockstep.harness.reference.spread import widened

        return widened(self.problem, expected)

    @cached_property
    def values(self) -> Arrays:
        """The tensors in the reference's precision."""
        return {name: array.astype(_precision(self.problem)) for name, array in self.tensors.items()}

    @cached_property
    def near(self) -> Arrays:
        """How far a candidate may be from each tensor to be looked at more closely."""
        u = 2 * roundoff(self.problem.case.run.dtype)
        return {
            name: 100 * self.expected[name].noise.astype(np.float64) + 200 * u * np.maximum(np.abs(array), 1)
            for name, array in self.values.items()
        }

    @property
    def sigma(self) -> float:
        """How far it is from what it should be, in sigma."""
        return self.distance(self.expected, None)

    @property
    def shows_states(self) -> bool:
        """Whether the h and c that were returned are the states that each step started from, were it right."""
        return {"h", "c"} <= self.tensors.keys() and self.problem.lengths is None

    @property
    def breaks_off(self) -> bool:
        """Whether it is right until it is not finite: then nothing that was computed tells why."""
        finite = self.finite
        return finite is not self and (not finite.tensors or finite.sigma <= LIMIT_SIGMA)

    @cached_property
    def finite(self) -> Observation:
        """What was returned before anything overflowed; nothing if it did at once, itself if nothing did."""
        if not self.problem.case.plain:
            return self
        sizes = [np.nan_to_num(np.abs(array), nan=np.inf) for name, array in self.tensors.items() if name in {"h", "c"}]
        if not sizes:
            return self
        beyond = np.logical_or.reduce([(size > HUGE).any(axis=(1, 2)) for size in sizes])
        if not beyond.any():
            return self
        return prefix(self, int(beyond.argmax()))

    def distance(self, computed: Expected, form: str | None, names: tuple[str, ...] = KINDS) -> float:
        """The largest distance from computed values, in sigma; a format's flips are let pass."""
        distances = (
            _distance(array, computed[name], form) for name, array in self.tensors.items() if kind_of(name) in names
        )
        return max(distances, default=math.inf)


def _precision(problem: Problem) -> Any:
    return np.longdouble if problem.case.run.dtype == "float64" else np.float64


def _distance(actual: Array, computed: ExpectedTensor, form: str | None) -> float:
    with np.errstate(all="ignore"):
        distance = np.abs((actual - computed.value) - computed.rest)
        sigma = distance / computed.noise
        same = (actual == computed.value) | (np.isnan(actual) & np.isnan(computed.value))
        sigma = np.where(same, 0, np.where(np.isnan(sigma), np.inf, sigma))
        if form is None or not sigma.size:
            return float(sigma.max(initial=0))
        flip = FLIP_SIZE * 2.0 ** -FORMATS[form] * np.maximum(np.abs(actual), 1)
        if (distance > flip).any():
            return math.inf
        return float(np.quantile(sigma, 1 - FLIPS))


def prefix(observation: Observation, timesteps: int) -> Observation:
    """The first timesteps of an observation as one of its own; without tensors if there are none."""
    p = observation.problem
    if not timesteps:
        return Observation(p, {})
    lengths = None if p.lengths is None else np.minimum(p.lengths, timesteps)
    ends = None if lengths is None else tuple(int(n) for n in lengths)
    case = replace(p.case, run=replace(p.case.run, timesteps=timesteps, lengths=ends), expect=None)
    problem = Problem.plain(case, p.W, p.R, p.b, p.x[:timesteps], p.h0, p.c0, lengths)
    return Observation(
        problem, {name: observation.tensors[name][:timesteps] for name in "hc" if name in observation.tensors}
    )


def close(actual: Array, computed: Array, near: Array, slack: float) -> bool:
    """Whether all values lie within ``slack`` times ``near`` of each other, or are the same."""
    within = np.abs(actual - computed) <= slack * near
    if within.all():
        return True
    same = (actual == computed) | (np.isnan(actual) & np.isnan(computed))
    return bool((within | same).all())
