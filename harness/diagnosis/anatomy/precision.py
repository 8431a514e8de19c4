"""Measure how many bits each part of a black box keeps.

Two products that cancel but for one small part: with w = (1 + 2^-k, 1) and x = (1, -1), z is 2^-k where w keeps k
bits after the point, and 0 where it does not. So the answer is either there or gone, and no tolerance decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.anatomy.black_box import BlackBox, problem_from_arrays
from lockstep.harness.faults.wording.families import FAMILIES

# Depths of the small part, up to the last bit of each format; bits count the hidden one.
DEPTHS = {
    "float32": (6, 7, 8, 9, 10, 11, 14, 18, 20, 22, 23),
    "float64": (7, 10, 11, 20, 23, 24, 30, 40, 50, 52),
}
_FORMATS = {53: "float64", 24: "float32", 11: "float16 or tf32", 8: "bfloat16"}
H, I = 4, 2


class KeptBits(NamedTuple):
    """How many bits one part keeps; None where that could not be seen."""

    part: str
    bits: int | None
    intended: int
    evidence: str

    @property
    def format(self) -> str:
        """The format that has so many bits."""
        return _FORMATS.get(self.bits or 0, "no format that has a name")


def _arrays(**arrays: Array) -> dict[str, Array]:
    zeros = {
        "W": np.zeros((4 * H, I)), "R": np.zeros((4 * H, H)), "b": np.zeros(4 * H), "x": np.zeros((1, 1, I)),
        "h0": np.zeros((1, H)), "c0": np.zeros((1, H)),
    }  # fmt: skip
    return {**zeros, **arrays}


def _pair(first: float, second: float, width: int) -> Array:
    return np.array([first, second, *(0.0,) * (width - 2)])


def _of_input_kernel(small: float) -> dict[str, Array]:
    return _arrays(W=np.tile(_pair(1 + small, 1, I), (4 * H, 1)), x=_pair(1, -1, I)[None, None])


def _of_x(small: float) -> dict[str, Array]:
    return _arrays(W=np.tile(_pair(1, -1, I), (4 * H, 1)), x=_pair(1 + small, 1, I)[None, None])


def _of_recurrent_kernel(small: float) -> dict[str, Array]:
    return _arrays(R=np.tile(_pair(1 + small, 1, H), (4 * H, 1)), h0=_pair(1, -1, H)[None])


def _of_h(small: float) -> dict[str, Array]:
    return _arrays(R=np.tile(_pair(1, -1, H), (4 * H, 1)), h0=_pair(1 + small, 1, H)[None])


def _of_b(small: float) -> dict[str, Array]:
    return _arrays(W=np.tile(_pair(-1, 0, I), (4 * H, 1)), b=np.full(4 * H, 1 + small), x=_pair(1, 0, I)[None, None])


# By part, the arrays of a step in which nothing but a small number in that part is to be seen.
PROBES: dict[str, Callable[[float], dict[str, Array]]] = {
    "W": _of_input_kernel,
    "R": _of_recurrent_kernel,
    "b": _of_b,
    "x": _of_x,
    "h as operand": _of_h,
}
_OF_INPUT = frozenset({"W", "b", "x"})  # whose probes need an x of one's own choice


def measure_precision(black_box: BlackBox, dtype: str = "float32") -> list[KeptBits]:
    """Measure the bits that W, R, b, x, h and the carried c keep of what they are given in a dtype."""
    depths = DEPTHS[dtype]
    # An input that a layer below makes holds no bits of anyone's choice.
    parts = {part: probe for part, probe in PROBES.items() if part not in _OF_INPUT or not black_box.reach.sources}
    probes = [*parts.values(), _of_c]
    deepest = [-1] * len(probes)  # by part, the index of the deepest k that was seen
    # What is seen at one depth is seen at all before it: the deepest is found by halving.
    bounds = [(0, len(depths) - 1) for _ in probes]
    while True:
        asked = [n for n, (low, high) in enumerate(bounds) if low <= high]
        if not asked:
            break
        tried = {n: 0 if deepest[n] < 0 and bounds[n][0] == 0 else sum(bounds[n]) // 2 for n in asked}
        problems = [problem_from_arrays(**probes[n](2.0 ** -depths[k]), dtype=dtype) for n, k in tried.items()]
        for (n, k), answer in zip(tried.items(), black_box.ask(problems), strict=True):
            if _noticed(answer, at_rest=0.5 if probes[n] is _of_c else 0.0):
                deepest[n], bounds[n] = k, (k + 1, bounds[n][1])
            else:
                bounds[n] = (bounds[n][0], k - 1) if k else (1, 0)
    return [
        _kept_bits(part, depths[k] if k >= 0 else None, how, depths)
        for part, k, how in zip((*parts, "c"), deepest, [*[_SUM] * len(parts), _HALF], strict=True)
    ]


_SUM, _HALF = "2^-k beside 1 in a sum that cancels", "c0 = 1 + 2^-k through f = 1/2"


def _of_c(small: float) -> dict[str, Array]:
    # c goes through f = sigmoid(0) = 1/2 exactly: what is lost of it is lost in storing.
    return _arrays(c0=np.full((1, H), 1 + small))


def _noticed(answer: Arrays | None, *, at_rest: float) -> bool:
    return answer is not None and "c" in answer and bool(np.any(answer["c"][0, 0] != at_rest))


def narrow(kept: Sequence[KeptBits]) -> Diagnosis | None:
    """The cause that some parts keep fewer bits than they are given; None if all keep theirs."""
    fewer = [part for part in kept if part.bits is not None and part.bits < part.intended]
    if not fewer:
        return None
    coarsest = min(fewer, key=lambda part: part.bits or 0)
    parts = ", ".join(f"{part.part} ({part.bits} bits)" for part in fewer)
    family = FAMILIES["precision"]
    return Diagnosis(
        fault=f"computed-in-{coarsest.format.partition(' ')[0]}",
        message=f"It computes in {coarsest.format}: of {coarsest.intended} bits fewer are kept in {parts}.",
        fix=family.fix,
        evidence="Measured: a part of 2^-k beside 1 is gone where it must be seen. Every difference is as small as "
        "rounding to that format could make it.",
        family="precision",
        met=family.met,
    )


def _kept_bits(part: str, deepest: int | None, how: str, depths: Sequence[int]) -> KeptBits:
    intended = depths[-1] + 1
    if deepest is None:
        return KeptBits(part, None, intended, f"{how}: no answer to any k")
    return KeptBits(part, deepest + 1, intended, f"{how}: seen down to k = {deepest}")
