"""Operations on values that carry the variance of their rounding, recorded so that gradients follow.

Where a network is a chain of unlike steps, as an attention decoder is, each operation carries the noise of its operands
and adds its own by the rules of ``harness.reference.noise``; going back, the gradient of each operation is made of
operations of
the same kind, so that gradients have their noise by the same rules. With kicks no variances are carried: each result
is put off by a healthy rounding of its own instead (``harness.reference.spread``).

Arrays are (..., rows, n): a leading axis, of timesteps or of copies, may be there or not; with kicks it is there for
everything but the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.reference.noise import SIGMOID_CAP, TANH_CAP, Noise

# Puts a value off by a rounding of some variance.
Kick = Callable[[Array, Array], Array]


class Noisy:
    """A value, the variance of its rounding (None where it is exact), and what it was made of."""

    def __init__(self, value: Array, variance: Array | None = None, sources: tuple[Source, ...] = ()) -> None:
        """Take a value; ``sources`` tell how its gradient is handed on."""
        self.value, self.variance, self.sources = value, variance, sources


# What a value was made of: an operand, and its gradient from that of the result.
Source = tuple[Noisy, Callable[[Noisy], Noisy]]


class Tape:
    """The operations, in order."""

    def __init__(self, noise: Noise, copies: int = 0, kick: Kick | None = None) -> None:
        """Take the rules' numbers; with ``kick`` each of so many copies is put off instead of carrying variances."""
        self.noise, self._copies, self._kick = noise, copies, kick
        self._recorded: list[Noisy] = []

    def weight(self, array: Array) -> Noisy:
        """Take a weight, which all copies share."""
        return Noisy(self.noise.taken(array))

    def exact(self, array: Array) -> Noisy:
        """Take an array as it is, once for each copy where there are copies."""
        taken = self.noise.taken(array)
        return Noisy(np.broadcast_to(taken, (self._copies, *array.shape)) if self._copies else taken)

    def zeros(self, like: Noisy) -> Noisy:
        """Give zeros, which are exact."""
        return Noisy(np.zeros_like(like.value))

    def gradients(self, cotangents: list[tuple[Noisy, Noisy]]) -> Callable[[Noisy], Noisy | None]:
        """Go back from results with their cotangents.

        Returns:
            A function that gives the gradient of a value; None where nothing depends on it.
        """
        found: dict[int, Noisy] = {}

        def plus(one: Noisy, gradient: Noisy) -> None:
            found[id(one)] = self.add(found[id(one)], gradient) if id(one) in found else gradient

        # What is computed on the way back is not itself gone back through.
        recorded, self._recorded = self._recorded, []
        for result, cotangent in cotangents:
            plus(result, cotangent)
        for result in reversed(recorded):
            if id(result) in found:
                for operand, pull in result.sources:
                    plus(operand, pull(found[id(result)]))
        self._recorded = recorded
        return lambda one: found.get(id(one))

    # -- sums and products ---------------------------------------------------------------------------------------

    def add(self, one: Noisy, other: Noisy) -> Noisy:
        """Add values of one shape."""
        total = one.value + other.value
        carried = _sum(one.variance, other.variance)
        same = lambda d: d  # noqa: E731 (a gradient handed on as it is)
        return self._made(total, carried, self.noise.rounded(total), (one, same), (other, same))

    def add_bias(self, one: Noisy, bias: Noisy) -> Noisy:
        """Add a bias (n,) to rows."""
        total = one.value + bias.value
        return self._made(
            total, one.variance, self.noise.rounded(total), (one, lambda d: d), (bias, self._sum_of_rows)
        )  # fmt: skip

    def _sum_of_rows(self, one: Noisy) -> Noisy:
        total = one.value.sum(axis=-2)
        own = self.noise.batch_growth(one.value.shape[-2]) * np.square(one.value).sum(axis=-2)
        carried = None if one.variance is None else one.variance.sum(axis=-2)
        return self._made(total, carried, own + self.noise.rounded(total))

    def multiply(self, one: Noisy, other: Noisy, cap: float = np.inf) -> Noisy:
        """Multiply values of one shape; ``cap`` bounds the variance of what is bounded itself."""
        product = one.value * other.value
        carried = _sum(_scaled(other.value, one.variance), _scaled(one.value, other.variance))
        return self._made(
            product, carried, self.noise.rounded(product),
            (one, lambda d: self.multiply(d, other)), (other, lambda d: self.multiply(d, one)), cap=cap,
        )  # fmt: skip

    def scale(self, one: Noisy, factor: float) -> Noisy:
        """Multiply by a constant."""
        scaled = one.value * self.noise.precision(factor)
        carried = None if one.variance is None else one.variance * self.noise.precision(factor) ** 2
        return self._made(scaled, carried, self.noise.rounded(scaled), (one, lambda d: self.scale(d, factor)))

    def matmul(self, one: Noisy, other: Noisy) -> Noisy:
        """Multiply matrices (..., m, k) and (..., k, n)."""
        return self._product(
            one, other, (one, lambda d: self._product(d, _turned(other))), (other, lambda d: self._outer(one, d))
        )  # fmt: skip

    def _outer(self, one: Noisy, other: Noisy) -> Noisy:
        """Sum over rows: implementations may do it one by one, over sequences."""
        return self._product(_turned(one), other, growth=self.noise.batch_growth(one.value.shape[-2]))

    def _product(self, one: Noisy, other: Noisy, *sources: Source, growth: Any = None) -> Noisy:
        product = one.value @ other.value
        growth = self.noise.sum_growth(one.value.shape[-1]) if growth is None else growth
        one2, other2 = np.square(one.value), np.square(other.value)
        own = growth * (one2 @ other2) + self.noise.rounded(product)
        carried = _sum(
            None if one.variance is None else one.variance @ other2,
            None if other.variance is None else one2 @ other.variance,
        )
        return self._made(product, carried, own, *sources)

    # -- shapes --------------------------------------------------------------------------------------------------

    def join(self, one: Noisy, other: Noisy) -> Noisy:
        """Put values side by side."""
        width = one.value.shape[-1]
        variance = None
        if one.variance is not None or other.variance is not None:
            variance = np.concatenate([variance_of(one), variance_of(other)], axis=-1)
        return self._moved(
            np.concatenate([one.value, other.value], axis=-1),
            variance,
            (one, lambda d: _part(d, slice(None, width))),
            (other, lambda d: _part(d, slice(width, None))),
        )

    def part(self, one: Noisy, columns: slice) -> Noisy:
        """Take some columns."""
        return self._moved(
            *_both(one, lambda a: a[..., columns]), (one, lambda d: _put(d, columns, one.value.shape[-1]))
        )

    def reshape(self, one: Noisy, there: Callable[[Array], Array], back: Callable[[Array], Array]) -> Noisy:
        """Move numbers to other places; ``back`` undoes it."""
        return self._moved(*_both(one, there), (one, lambda d: Noisy(*_both(d, back))))

    def stack(self, rows: list[Noisy]) -> Noisy:
        """Put values (..., rows, n) behind each other: (..., rows, len(rows), n)."""
        variance = None
        if any(one.variance is not None for one in rows):
            variance = np.stack([variance_of(one) for one in rows], axis=-2)

        def pull(k: int) -> Callable[[Noisy], Noisy]:
            return lambda d: Noisy(*_both(d, lambda a: a[..., k, :]))

        sources = tuple((one, pull(k)) for k, one in enumerate(rows))
        return self._moved(np.stack([one.value for one in rows], axis=-2), variance, *sources)

    def where(self, mask: Array, one: Noisy, other: Noisy) -> Noisy:
        """Choose element by element."""
        variance = None
        if one.variance is not None or other.variance is not None:
            variance = np.where(mask, variance_of(one), variance_of(other))
        zero = self.noise.precision(0)
        return self._moved(
            np.where(mask, one.value, other.value),
            variance,
            (one, lambda d: Noisy(*_both(d, lambda a: np.where(mask, a, zero)))),
            (other, lambda d: Noisy(*_both(d, lambda a: np.where(mask, zero, a)))),
        )

    # -- curves --------------------------------------------------------------------------------------------------

    def sigmoid(self, one: Noisy) -> Noisy:
        """1 / (1 + exp(-z))."""
        return self._curve(one, CURVES["sigmoid"].value, lambda a: a * (1 - a), lambda a: 1 - 2 * a, SIGMOID_CAP)

    def tanh(self, one: Noisy) -> Noisy:
        """The hyperbolic tangent."""
        return self._curve(one, np.tanh, lambda a: 1 - a * a, lambda a: -2 * a, TANH_CAP)

    def _curve(
        self,
        one: Noisy,
        value: Callable[[Array], Array],
        slope_of: Callable[[Array], Array],
        bend_of: Callable[[Array], Array],
        cap: float,
    ) -> Noisy:
        """Apply an activation; ``slope_of`` and ``bend_of``, the slope's derivative, are functions of its output."""
        a = value(one.value)
        slope = slope_of(a)
        result = self._made(a, _scaled(slope, one.variance), np.broadcast_to(self.noise.u2, a.shape), cap=cap)

        def pull(d: Noisy) -> Noisy:
            # The slope is computed of the rounded output, and rounded twice itself.
            own = 2 * self.noise.rounded(slope_of(result.value))
            carried = _scaled(bend_of(result.value), result.variance)
            return self.multiply(d, self._made(slope_of(result.value), carried, own))

        result.sources = ((one, pull),)
        return result

    def softmax(self, one: Noisy, axis: int = -1, valid: Array | None = None) -> Noisy:
        """exp(z - max) over its sum along an axis, over what is valid; 0 elsewhere.

        An exponential is as far off as its argument, which the subtraction rounds, and rounded itself.
        """
        z = one.value if valid is None else np.where(valid, one.value, -np.inf)
        shifted = z - z.max(axis=axis, keepdims=True)
        raised = np.exp(shifted)
        a = raised / raised.sum(axis=axis, keepdims=True)
        argument = np.where(raised > 0, self.noise.u2 * (np.where(raised > 0, shifted, 0) ** 2 + 1), 0)
        own = self._of_exponents(a, argument, axis)
        own += self.noise.sum_growth(z.shape[axis]) * np.square(a) + self.noise.rounded(a)
        carried = None if one.variance is None else self._of_exponents(a, one.variance, axis)
        result = self._made(a, carried, own, cap=SIGMOID_CAP)

        def pull(d: Noisy) -> Noisy:
            weighted = self.multiply(result, d)
            total = self._sum_along(weighted, axis)
            return self.multiply(result, self.add(d, Noisy(-total.value, total.variance)))

        result.sources = ((one, pull),)
        return result

    @staticmethod
    def _of_exponents(a: Array, variance: Array, axis: int) -> Array:
        """Carry variances through da_s = a_s (dz_s - sum_k a_k dz_k)."""
        a2 = np.square(a)
        each = a2 * variance
        total = each.sum(axis=axis, keepdims=True)
        return a2 * (variance * (1 - 2 * a) + total)

    def _sum_along(self, one: Noisy, axis: int) -> Noisy:
        total = one.value.sum(axis=axis, keepdims=True)
        own = self.noise.sum_growth(one.value.shape[axis]) * np.square(one.value).sum(axis=axis, keepdims=True)
        carried = None if one.variance is None else one.variance.sum(axis=axis, keepdims=True)
        made = self._made(total, carried, own)
        return Noisy(*_both(made, lambda a: np.broadcast_to(a, one.value.shape)))

    # -- keeping account -----------------------------------------------------------------------------------------

    def _made(
        self, value: Array, carried: Array | None, own: Array, *sources: Source, cap: float = np.inf
    ) -> Noisy:  # fmt: skip
        """Give a result of which rounding has its part."""
        if self._kick is not None:
            made = Noisy(self._kick(value, own), None, sources)
        else:
            # fmin: where infinities meet the variance is NaN, and the cap holds.
            made = Noisy(value, np.fmin(own if carried is None else own + carried, cap), sources)
        self._recorded.append(made)
        return made

    def _moved(self, value: Array, variance: Array | None, *sources: Source) -> Noisy:
        """Give a result that only moved numbers."""
        made = Noisy(value, variance, sources)
        self._recorded.append(made)
        return made


def _sum(one: Array | None, other: Array | None) -> Array | None:
    return other if one is None else one if other is None else one + other


def _scaled(factor: Array, variance: Array | None) -> Array | None:
    return None if variance is None else np.square(factor) * variance


def variance_of(one: Noisy) -> Array:
    """Give a value's variance, zeros where it is exact."""
    return np.zeros_like(one.value) if one.variance is None else one.variance


def _both(one: Noisy, function: Callable[[Array], Array]) -> tuple[Array, Array | None]:
    return function(one.value), None if one.variance is None else function(one.variance)


def _turned(one: Noisy) -> Noisy:
    return Noisy(*_both(one, lambda a: a.swapaxes(-1, -2)))


def _part(one: Noisy, columns: slice) -> Noisy:
    return Noisy(*_both(one, lambda a: a[..., columns]))


def _put(one: Noisy, columns: slice, width: int) -> Noisy:
    def put(a: Array) -> Array:
        whole = np.zeros((*a.shape[:-1], width), a.dtype)
        whole[..., columns] = a
        return whole

    return Noisy(*_both(one, put))
