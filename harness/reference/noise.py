"""How much rounding can explain: the variance that a healthy implementation's rounding may show.

The rules, to first order, with unit roundoff u:

- a rounded value v adds u² v²;
- a product a b carries a² var(b) + b² var(a); a function f(z) carries f'(z)² var(z);
- an activation adds u² outright, not u² f(z)²: healthy implementations compute sigmoid through tanh
  or tanh through sigmoid, and are accurate to u of their range only;
- a dot product z = Σ w_k v_k + b over n terms adds u² (S (log2(n) + 1) + z²) with
  S = Σ (w_k v_k)² + b², and passes on Σ w_k² var(v_k).

A gradient of a weight is a sum over sequences and timesteps. Over timesteps, that of a bias over sequences too, it
may be a running sum, which is rounded at each term: u² times the square of every partial sum; over n sequences the
dot product's log2(n) + 1 grows by n / 16.

Where numbers are stored in fewer bits than the dtype has (``Quantisation``), a kernel's entry and what it is multiplied
by carry the variance of that too: of a step s it is s² / 12.

Two more keep the variances honest at the ends:

- no variance is below the square of the smallest normal number, since results smaller than that may
  be flushed to zero;
- no variance of an activation is above (range / 2)²: two values inside its range cannot be further
  apart. Without it the first-order variances of a chaotic network grow until nothing is a divergence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from lockstep.harness.arrays import Array

COMMON = 0.5  # share of the variance that a copy keeps throughout
SIGMOID_CAP = 0.25  # (range / 2)²
TANH_CAP = 1.0

# Derived limit: the largest single value over 600 random configurations forward and 250 backward was
# 5.8 sigma; faults stand thousands of sigma out.
LIMIT_SIGMA = 10.0


def roundoff(dtype: str) -> float:
    """The unit roundoff u of a dtype: half the distance from 1 to the next number."""
    return float(ml_dtypes.finfo(dtype).eps) / 2


def longdouble_is_wider() -> bool:
    """Whether this machine's longdouble has more bits than float64: it has on x86, and not everywhere else."""
    return bool(np.finfo(np.longdouble).eps < np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Quantisation:
    """In how few bits kernels are stored, and the inputs and hidden states that they are multiplied by."""

    kernel_steps: int = 0  # into which -max|w| to max|w| of a lane's kernel is divided
    input_steps: int = 0  # into which min(v, 0) to max(v, 0) of what comes in is divided at each call
    weight_dtype: str | None = None  # or the dtype in which its entries are kept, and biases too

    def of_products(self, v: Array, kernel: Array, extent: Any) -> Array:
        """The variance that this alone adds to v @ kernel; ``extent``: of all that is divided into steps with v."""
        return (v * v) @ self._of_kernel(kernel) + _of_step(extent, self.input_steps) * np.square(kernel).sum(axis=0)

    def of_bias(self, bias: Array) -> Any:
        """The variance that storing a bias adds to it."""
        return 0 if self.weight_dtype is None else _of_dtype(bias, self.weight_dtype)

    def _of_kernel(self, kernel: Array) -> Array:
        if self.weight_dtype is not None:
            return _of_dtype(kernel, self.weight_dtype)
        return np.full_like(kernel, _of_step(2 * _largest(np.abs(kernel)), self.kernel_steps))


def _of_dtype(array: Array, dtype: str) -> Array:
    """The squares of what numbers may be off by when they are rounded to a dtype, also below its normal numbers."""
    return np.square(np.maximum(roundoff(dtype) * np.abs(array), float(ml_dtypes.finfo(dtype).smallest_subnormal) / 2))


def extent_of(v: Array) -> Any:
    """From min(v, 0) to max(v, 0); what is no number has no place in a range, nor is what comes of it rounding."""
    return _largest(v) + _largest(-v)


def _largest(array: Array) -> Any:
    return np.max(array, initial=0, where=np.isfinite(array))


def _of_step(extent: Any, steps: int) -> Any:
    return np.square(extent / steps) / 12 if steps else 0 * extent


# Documentation of onnxruntime, "Quantize ONNX Models": int8 from -127 to 127, uint8 from 0 to 255; of PyTorch,
# default_dynamic_qconfig: qint8 from -128 to 127, and quint8 with reduce_range, from 0 to 127.
QUANTISATIONS = {
    "int8": Quantisation(kernel_steps=254, input_steps=255),
    "int8, inputs of 7 bits": Quantisation(kernel_steps=255, input_steps=127),
    "weights in float16": Quantisation(weight_dtype="float16"),
}


@dataclass(frozen=True)
class Noise:
    """The numbers of a dtype that the rules need, as scalars of the reference's precision."""

    u2: Any  # squared unit roundoff
    tiny2: Any  # squared rounding of a subnormal number: half of the smallest
    floor: Any  # squared smallest normal number
    dtype: np.dtype[Any]  # in which expected values are kept: the case's, float32 for the half precisions
    precision: type[np.floating[Any]]  # what the reference computes in
    largest: float  # from here on a value of the case's dtype is infinite
    quantisation: Quantisation | None = None

    @classmethod
    def of(cls, dtype: str, quantised: str | None = None) -> Noise:
        """The noise of implementations that compute in ``dtype``, and store numbers as ``QUANTISATIONS`` has it.

        A float64 case is judged in extended precision where this machine has it. Where it has not,
        the reference rounds as much as what it judges, and the variances are doubled for it
        (``harness.reference.exact`` does better for small cases).
        """
        info = ml_dtypes.finfo(dtype)
        precision = np.longdouble if dtype == "float64" and longdouble_is_wider() else np.float64
        u = precision(info.eps) / 2
        alike = precision is np.float64 and dtype == "float64"
        floor = max(precision(info.smallest_normal) ** 2, np.finfo(precision).smallest_normal)
        # What is below the square of the smallest normal number cannot be held anyway.
        tiny2 = (precision(info.smallest_subnormal) / 2) ** 2
        stored = np.dtype(dtype) if dtype in {"float32", "float64"} else np.dtype(np.float32)
        # What lies half a unit in the last place beyond the largest number is rounded to infinity.
        largest = float(info.max) * (1 + float(info.eps) / 4) if dtype == "float16" else math.inf
        return cls(
            u2=u * u * (2 if alike else 1), tiny2=tiny2, floor=floor, dtype=stored, precision=precision,
            largest=largest, quantisation=None if quantised is None else QUANTISATIONS[quantised],
        )  # fmt: skip

    def taken(self, array: Array) -> Array:
        """An array in the reference's precision."""
        return array.astype(self.precision)

    def rounded(self, value: Array) -> Array:
        """What rounding a value adds: u² v², and half of the smallest number squared where v is subnormal."""
        return self.u2 * (value * value) + self.tiny2

    def batch_growth(self, terms: int) -> Any:
        """u² (log2(n) + 1 + n / 16): a sum over sequences, which may be taken one by one in as few as eight lanes."""
        return self.sum_growth(terms) + self.u2 * type(self.u2)(terms / 16)

    def sum_growth(self, terms: int) -> Any:
        """u² (log2(n) + 1): what a sum of n rounded products adds per unit of S."""
        return self.u2 * type(self.u2)(math.log2(max(terms, 1)) + 1)


class Kicks:
    """Puts copies of a problem off by healthy roundings, partly alike throughout a copy; the first stays exact."""

    def __init__(self, copies: int, seed: int = 0) -> None:
        """Begin with so many copies, the exact one among them; always the same of a seed: no verdict is luck."""
        self.copies = copies
        self._rng = np.random.Generator(np.random.Philox(seed))
        self._fixed: dict[Any, Array] = {}

    def __call__(self, name: str, value: Array, variance: Array) -> Array:
        """A value (copies B, n), copies one after the other, put off by about the root of its variance."""
        copies = value.reshape(self.copies, -1, value.shape[-1])
        return self.put_off((name, value.shape[-1]), copies, variance.reshape(copies.shape)).reshape(value.shape)

    def along_axis(self, value: Array, variance: Array) -> Array:
        """The same of a value with an axis of copies in front."""
        return self.put_off(value.shape, value, variance)

    def put_off(self, key: Any, value: Array, variance: Array) -> Array:
        """Put copies off; what is the same throughout a copy is kept by a key."""
        each = (self.copies, *(1,) * (value.ndim - 1))
        if key not in self._fixed:
            self._fixed[key] = self._rng.standard_normal(each)
        kick = np.sqrt(COMMON) * self._fixed[key] + np.sqrt(1 - COMMON) * self._rng.standard_normal(value.shape)
        return value + (np.arange(self.copies) > 0).reshape(each) * kick * np.sqrt(variance)
