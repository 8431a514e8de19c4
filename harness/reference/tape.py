"""Operations on values that carry the variance of their rounding, recorded so that gradients follow.

Where a network is a chain of unlike steps, as an attention decoder is, each operation carries the noise of its operands
and adds its own by the rules of ``harness.reference.noise``; going back, the gradient of each operation is made of
operations of the same kind, so that gradients have their noise by the same rules. With kicks no variances are carried:
each result is put off by a healthy rounding of its own instead (``harness.reference.spread``).

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
        """Zeros, which are exact."""
        return Noisy(np.zeros_like(like.value))

    def gradients(self, cotangents: list[tuple[Noisy, Noisy]]) -> Callable[[Noisy], Noisy | None]:
        """Go back from results with their cotangents.

        Returns:
            A function that gives the gradient of a value; None where nothing depends on it.
        """
        by_id: dict[int, Noisy] = {}

        def plus(operand: Noisy, gradient: Noisy) -> None:
            by_id[id(operand)] = self.add(by_id[id(operand)], gradient) if id(operand) in by_id else gradient

        # What is computed on the way back is not itself gone back through.
        recorded, self._recorded = self._recorded, []
        for result, cotangent in cotangents:
            plus(result, cotangent)
        for result in reversed(recorded):
            if id(result) in by_id:
                for operand, pull in result.sources:
                    plus(operand, pull(by_id[id(result)]))
        self._recorded = recorded
        return lambda operand: by_id.get(id(operand))

    # -- sums and products ---------------------------------------------------------------------------------------

    def add(self, left: Noisy, right: Noisy) -> Noisy:
        """Add values of one shape."""
        total = left.value + right.value
        carried = _sum(left.variance, right.variance)
        same = lambda d: d  # noqa: E731 (a gradient handed on as it is)
        return self._made(total, carried, self.noise.rounded(total), (left, same), (right, same))

    def add_bias(self, operand: Noisy, bias: Noisy) -> Noisy:
        """Add a bias (n,) to rows."""
        total = operand.value + bias.value
        return self._made(
            total, operand.variance, self.noise.rounded(total), (operand, lambda d: d), (bias, self._sum_of_rows)
        )  # fmt: skip

    def _sum_of_rows(self, operand: Noisy) -> Noisy:
        total = operand.value.sum(axis=-2)
        variance = self.noise.batch_growth(operand.value.shape[-2]) * np.square(operand.value).sum(axis=-2)
        carried = None if operand.variance is None else operand.variance.sum(axis=-2)
        return self._made(total, carried, variance + self.noise.rounded(total))

    def multiply(self, left: Noisy, right: Noisy, cap: float = np.inf) -> Noisy:
        """Multiply values of one shape; ``cap`` bounds the variance of what is bounded itself."""
        product = left.value * right.value
        carried = _sum(_scaled(right.value, left.variance), _scaled(left.value, right.variance))
        return self._made(
            product, carried, self.noise.rounded(product),
            (left, lambda d: self.multiply(d, right)), (right, lambda d: self.multiply(d, left)), cap=cap,
        )  # fmt: skip

    def matmul(self, left: Noisy, right: Noisy) -> Noisy:
        """Multiply matrices (..., m, k) and (..., k, n)."""
        return self._product(
            left, right, (left, lambda d: self._product(d, _turned(right))), (right, lambda d: self._outer(left, d))
        )  # fmt: skip

    def _outer(self, left: Noisy, right: Noisy) -> Noisy:
        """Sum over rows: implementations may do it one by one, over sequences."""
        return self._product(_turned(left), right, growth=self.noise.batch_growth(left.value.shape[-2]))

    def _product(self, left: Noisy, right: Noisy, *sources: Source, growth: Any = None) -> Noisy:
        product = left.value @ right.value
        growth = self.noise.sum_growth(left.value.shape[-1]) if growth is None else growth
        left2, right2 = np.square(left.value), np.square(right.value)
        variance = growth * (left2 @ right2) + self.noise.rounded(product)
        carried = _sum(
            None if left.variance is None else left.variance @ right2,
            None if right.variance is None else left2 @ right.variance,
        )
        return self._made(product, carried, variance, *sources)

    # -- shapes --------------------------------------------------------------------------------------------------

    def join(self, left: Noisy, right: Noisy) -> Noisy:
        """Put values side by side."""
        width = left.value.shape[-1]
        variance = None
        if left.variance is not None or right.variance is not None:
            variance = np.concatenate([variance_of(left), variance_of(right)], axis=-1)
        return self._moved(
            np.concatenate([left.value, right.value], axis=-1),
            variance,
            (left, lambda d: _part(d, slice(None, width))),
            (right, lambda d: _part(d, slice(width, None))),
        )

    def part(self, operand: Noisy, columns: slice) -> Noisy:
        """Take some columns."""
        taken = _part(operand, columns)
        return self._moved(taken.value, taken.variance, (operand, lambda d: _put(d, columns, operand.value.shape[-1])))

    def reshape(self, operand: Noisy, there: Callable[[Array], Array], back: Callable[[Array], Array]) -> Noisy:
        """Move numbers to other places; ``back`` undoes it."""
        return self._moved(*_both(operand, there), (operand, lambda d: Noisy(*_both(d, back))))

    def stack(self, rows: list[Noisy]) -> Noisy:
        """Put values (..., rows, n) behind each other: (..., rows, len(rows), n)."""
        variance = None
        if any(operand.variance is not None for operand in rows):
            variance = np.stack([variance_of(operand) for operand in rows], axis=-2)

        def pull(k: int) -> Callable[[Noisy], Noisy]:
            return lambda d: Noisy(*_both(d, lambda a: a[..., k, :]))

        sources = tuple((row, pull(k)) for k, row in enumerate(rows))
        return self._moved(np.stack([operand.value for operand in rows], axis=-2), variance, *sources)

    def where(self, mask: Array, left: Noisy, right: Noisy) -> Noisy:
        """Choose element by element."""
        variance = None
        if left.variance is not None or right.variance is not None:
            variance = np.where(mask, variance_of(left), variance_of(right))
        zero = self.noise.precision(0)
        return self._moved(
            np.where(mask, left.value, right.value),
            variance,
            (left, lambda d: Noisy(*_both(d, lambda a: np.where(mask, a, zero)))),
            (right, lambda d: Noisy(*_both(d, lambda a: np.where(mask, zero, a)))),
        )

    # -- curves --------------------------------------------------------------------------------------------------

    def sigmoid(self, operand: Noisy) -> Noisy:
        """1 / (1 + exp(-z))."""
        return self._curve(operand, CURVES["sigmoid"].value, lambda a: a * (1 - a), lambda a: 1 - 2 * a, SIGMOID_CAP)

    def tanh(self, operand: Noisy) -> Noisy:
        """The hyperbolic tangent."""
        return self._curve(operand, np.tanh, lambda a: 1 - a * a, lambda a: -2 * a, TANH_CAP)

    def _curve(
        self,
        operand: Noisy,
        value: Callable[[Array], Array],
        slope_of: Callable[[Array], Array],
        bend_of: Callable[[Array], Array],
        cap: float,
    ) -> Noisy:
        """Apply an activation; ``slope_of`` and ``bend_of``, the slope's derivative, are functions of its output."""
        a = value(operand.value)
        slope = slope_of(a)
        result = self._made(a, _scaled(slope, operand.variance), np.broadcast_to(self.noise.u2, a.shape), cap=cap)

        def pull(d: Noisy) -> Noisy:
            # The slope is computed of the rounded output, and rounded twice itself.
            variance = 2 * self.noise.rounded(slope_of(result.value))
            carried = _scaled(bend_of(result.value), result.variance)
            return self.multiply(d, self._made(slope_of(result.value), carried, variance))

        result.sources = ((operand, pull),)
        return result

    def softmax(self, operand: Noisy, axis: int = -1, valid: Array | None = None) -> Noisy:
        """exp(z - max) over its sum along an axis, over what is valid; 0 elsewhere.

        An exponential is as far off as its argument, which the subtraction rounds and a factor of log2(e) before it
        may, and rounded itself. Who takes it of z - log(sum(exp(z))) has rounded that logarithm, which is as large as
        the largest z, and nothing takes this out again.
        """
        z = operand.value if valid is None else np.where(valid, operand.value, -np.inf)
        largest = z.max(axis=axis, keepdims=True)
        shifted = z - largest
        raised = np.exp(shifted)
        a = raised / raised.sum(axis=axis, keepdims=True)
        argument = np.where(raised > 0, self.noise.u2 * (shifted**2 + z**2 + 1), 0)
        variance = self._of_exponents(a, argument, axis) + self.noise.u2 * np.square(a * largest)
        variance += self.noise.sum_growth(z.shape[axis]) * np.square(a) + self.noise.rounded(a)
        carried = None if operand.variance is None else self._of_exponents(a, operand.variance, axis)
        result = self._made(a, carried, variance, cap=SIGMOID_CAP)

        def pull(d: Noisy) -> Noisy:
            weighted = self.multiply(result, d)
            total = self._sum_along(weighted, axis)
            return self.multiply(result, self.add(d, Noisy(-total.value, total.variance)))

        result.sources = ((operand, pull),)
        return result

    @staticmethod
    def _of_exponents(a: Array, variance: Array, axis: int) -> Array:
        """Carry variances through da_s = a_s (dz_s - sum_k a_k dz_k)."""
        a2 = np.square(a)
        each = a2 * variance
        total = each.sum(axis=axis, keepdims=True)
        return a2 * (variance * (1 - 2 * a) + total)

    def _sum_along(self, operand: Noisy, axis: int) -> Noisy:
        total = operand.value.sum(axis=axis, keepdims=True)
        variance = self.noise.sum_growth(operand.value.shape[axis]) * np.square(operand.value).sum(
            axis=axis, keepdims=True
        )
        carried = None if operand.variance is None else operand.variance.sum(axis=axis, keepdims=True)
        made = self._made(total, carried, variance)
        return Noisy(*_both(made, lambda a: np.broadcast_to(a, operand.value.shape)))

    # -- keeping account -----------------------------------------------------------------------------------------

    def _made(
        self, value: Array, carried: Array | None, fresh: Array, *sources: Source, cap: float = np.inf
    ) -> Noisy:  # fmt: skip
        """A result of which rounding has its part."""
        if self._kick is not None:
            made = Noisy(self._kick(value, fresh), None, sources)
        else:
            # fmin: where infinities meet the variance is NaN, and the cap holds.
            made = Noisy(value, np.fmin(fresh if carried is None else fresh + carried, cap), sources)
        self._recorded.append(made)
        return made

    def _moved(self, value: Array, variance: Array | None, *sources: Source) -> Noisy:
        """A result that only moved numbers."""
        made = Noisy(value, variance, sources)
        self._recorded.append(made)
        return made


def _sum(first: Array | None, second: Array | None) -> Array | None:
    return second if first is None else first if second is None else first + second


def _scaled(factor: Array, variance: Array | None) -> Array | None:
    return None if variance is None else np.square(factor) * variance


def variance_of(operand: Noisy) -> Array:
    """A value's variance, zeros where it is exact."""
    return np.zeros_like(operand.value) if operand.variance is None else operand.variance


def _both(operand: Noisy, function: Callable[[Array], Array]) -> tuple[Array, Array | None]:
    return function(operand.value), None if operand.variance is None else function(operand.variance)


def _turned(operand: Noisy) -> Noisy:
    return Noisy(*_both(operand, lambda a: a.swapaxes(-1, -2)))


def _part(operand: Noisy, columns: slice) -> Noisy:
    return Noisy(*_both(operand, lambda a: a[..., columns]))


def _put(operand: Noisy, columns: slice, width: int) -> Noisy:
    def put(a: Array) -> Array:
        whole = np.zeros((*a.shape[:-1], width), a.dtype)
        whole[..., columns] = a
        return whole

    return Noisy(*_both(operand, put))
