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
from lockstep.harness.reference.activations import ACTIVATIONS
from lockstep.harness.reference.noise import SIGMOID_CAP, Noise

# Puts a value off by a rounding of some variance.
Kick = Callable[[Array, Array], Array]


class Noisy:
    """A value, the variance of its rounding (None where it is exact), and what it was made of."""

    def __init__(self, value: Array, variance: Array | None = None, sources: tuple[NoisyEdge, ...] = ()) -> None:
        """Take a value; ``sources`` tell how its gradient is handed on."""
        self.value, self.variance, self.sources = value, variance, sources

    def each(self, function: Callable[..., Array], *others: Noisy) -> Noisy:
        """Apply a function that only moves numbers, of several values too; what is exact counts as of variance 0."""
        operands = (self, *others)
        value = function(*(operand.value for operand in operands))
        exact = all(operand.variance is None for operand in operands)
        return Noisy(value, None if exact else function(*map(variance_of, operands)))


# What a value was made of: an operand, and its gradient from that of the result.
NoisyEdge = tuple[Noisy, Callable[[Noisy], Noisy]]


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

    def gradients(self, cotangents: list[tuple[Noisy, Noisy]]) -> Callable[[Noisy], Noisy]:
        """Go back from results with their cotangents: a function that gives the gradient of each value."""
        by_id: dict[int, Noisy] = {}  # by identity: two operands may hold equal numbers

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
        # What nothing depends on has a gradient of 0, exactly.
        return lambda operand: by_id.get(id(operand)) or Noisy(np.zeros_like(operand.value))

    # -- sums and products ---------------------------------------------------------------------------------------

    def add(self, left: Noisy, right: Noisy) -> Noisy:
        """Add values of one shape."""
        total = left.value + right.value
        carried = _sum(left.variance, right.variance)
        same = lambda d: d  # noqa: E731 (a gradient handed on as it is)
        return self._made(total, carried, self.noise.rounded(total), (left, same), (right, same))

    def add_row(self, operand: Noisy, row: Noisy) -> Noisy:
        """Add a row (..., n), as of a bias, to all rows (..., rows, n)."""
        spread = row.each(lambda a: a[..., None, :])
        total = operand.value + spread.value
        carried = _sum(operand.variance, spread.variance)
        sources = (operand, lambda d: d), (row, self._sum_of_rows)
        return self._made(total, carried, self.noise.rounded(total), *sources)

    def _sum_of_rows(self, operand: Noisy) -> Noisy:
        total, carried, squares = _sums(operand, axis=-2, keepdims=False)
        growth = self.noise.batch_growth(operand.value.shape[-2])
        return self._made(total, carried, growth * squares + self.noise.rounded(total))

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
        # Going back, a product sums over rows too: implementations may do it one by one, over sequences.
        growth = self.noise.batch_growth(left.value.shape[-2])
        return self._product(
            left, right, (left, lambda d: self._product(d, right.each(transposed))),
            (right, lambda d: self._product(left.each(transposed), d, growth=growth)),
        )  # fmt: skip

    def _product(self, left: Noisy, right: Noisy, *sources: NoisyEdge, growth: Any = None) -> Noisy:
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
        joined = left.each(lambda *arrays: np.concatenate(arrays, axis=-1), right)
        return self._moved(
            joined,
            (left, lambda d: d.each(lambda a: a[..., :width])),
            (right, lambda d: d.each(lambda a: a[..., width:])),
        )

    def part(self, operand: Noisy, columns: slice) -> Noisy:
        """Take some columns."""

        def put(a: Array) -> Array:
            whole = np.zeros((*a.shape[:-1], operand.value.shape[-1]), a.dtype)
            whole[..., columns] = a
            return whole

        return self._moved(operand.each(lambda a: a[..., columns]), (operand, lambda d: d.each(put)))

    def reshape(self, operand: Noisy, there: Callable[[Array], Array], back: Callable[[Array], Array]) -> Noisy:
        """Move numbers to other places; ``back`` undoes it."""
        return self._moved(operand.each(there), (operand, lambda d: d.each(back)))

    def stack(self, rows: list[Noisy]) -> Noisy:
        """Put values (..., rows, n) behind each other: (..., rows, len(rows), n)."""

        def pull(k: int) -> Callable[[Noisy], Noisy]:
            return lambda d: d.each(lambda a: a[..., k, :])

        stacked = rows[0].each(lambda *arrays: np.stack(arrays, axis=-2), *rows[1:])
        return self._moved(stacked, *((row, pull(k)) for k, row in enumerate(rows)))

    def where(self, mask: Array, left: Noisy, right: Noisy) -> Noisy:
        """Choose element by element."""
        zero = self.noise.precision(0)
        return self._moved(
            left.each(lambda a, b: np.where(mask, a, b), right),
            (left, lambda d: d.each(lambda a: np.where(mask, a, zero))),
            (right, lambda d: d.each(lambda a: np.where(mask, zero, a))),
        )

    # -- curves --------------------------------------------------------------------------------------------------

    def curve(self, operand: Noisy, name: str) -> Noisy:
        """Apply a smooth activation of ``harness.reference.activations``."""
        curve = ACTIVATIONS[name]
        a = curve.value(operand.value)
        # Outright, not times a²: healthy implementations are accurate to u of the range only.
        fresh = np.broadcast_to(self.noise.u2, a.shape)
        result = self._made(a, _scaled(curve.slope(a), operand.variance), fresh, cap=curve.cap)

        def pull(d: Noisy) -> Noisy:
            # The slope is computed of the rounded output, and rounded twice itself.
            slope = curve.slope(result.value)
            carried = (
                None if result.variance is None else curve.slope_variance(result.value, result.variance, self.noise)
            )
            return self.multiply(d, self._made(slope, carried, 2 * self.noise.rounded(slope)))

        result.sources = ((operand, pull),)
        return result

    def softmax(self, operand: Noisy, valid: Array | None = None) -> Noisy:
        """exp(z - max) over its sum along the last axis, over what is valid; 0 elsewhere.

        An exponential is as far off as its argument, which the subtraction rounds and a factor of log2(e) before it
        may, and rounded itself. Who takes it of z - log(sum(exp(z))) has rounded that logarithm, which is as large as
        the largest z, and nothing takes this out again.
        """
        z = operand.value if valid is None else np.where(valid, operand.value, -np.inf)
        largest = z.max(axis=-1, keepdims=True)
        shifted = z - largest
        raised = np.exp(shifted)
        a = raised / raised.sum(axis=-1, keepdims=True)
        argument = np.where(raised > 0, self.noise.u2 * (shifted**2 + z**2 + 1), 0)
        growth = self.noise.sum_growth(z.shape[-1])
        variance = _of_exponents(a, argument) + self.noise.u2 * np.square(a * largest)
        variance += growth * np.square(a) + self.noise.rounded(a)
        carried = None if operand.variance is None else _of_exponents(a, operand.variance)
        result = self._made(a, carried, variance, cap=SIGMOID_CAP)

        def pull(d: Noisy) -> Noisy:
            # a (d - sum(a d)), each product and sum with its rounding.
            weighted = self.multiply(result, d)
            total, carried, squares = _sums(weighted, axis=-1, keepdims=True)
            made = self._made(total, carried, growth * squares)
            return self.multiply(result, self.add(d, Noisy(-made.value, made.variance)))

        result.sources = ((operand, pull),)
        return result

    # -- keeping account -----------------------------------------------------------------------------------------

    def _made(
        self, value: Array, carried: Array | None, fresh: Array, *sources: NoisyEdge, cap: float = np.inf
    ) -> Noisy:  # fmt: skip
        """A result of which rounding has its part."""
        if self._kick is not None:
            made = Noisy(self._kick(value, fresh), None, sources)
        else:
            # fmin: where infinities meet the variance is NaN, and the cap holds.
            made = Noisy(value, np.fmin(fresh if carried is None else fresh + carried, cap), sources)
        self._recorded.append(made)
        return made

    def _moved(self, moved: Noisy, *sources: NoisyEdge) -> Noisy:
        """A result that only moved numbers."""
        moved.sources = sources
        self._recorded.append(moved)
        return moved


def _sum(first: Array | None, second: Array | None) -> Array | None:
    return second if first is None else first if second is None else first + second


def _scaled(factor: Array, variance: Array | None) -> Array | None:
    return None if variance is None else np.square(factor) * variance


def _sums(operand: Noisy, **over: Any) -> tuple[Array, Array | None, Array]:
    """The sums along an axis of values, of their variances, and of their squares."""
    carried = None if operand.variance is None else operand.variance.sum(**over)
    return operand.value.sum(**over), carried, np.square(operand.value).sum(**over)


def _of_exponents(a: Array, variance: Array) -> Array:
    """Carry variances through da_s = a_s (dz_s - sum_k a_k dz_k)."""
    # (1 - a_s)² var_s, and a_k² var_k of each other k: written with the sum over all of them.
    a2 = np.square(a)
    return a2 * (variance * (1 - 2 * a) + (a2 * variance).sum(axis=-1, keepdims=True))


def variance_of(operand: Noisy) -> Array:
    """A value's variance, zeros where it is exact."""
    return np.zeros_like(operand.value) if operand.variance is None else operand.variance


def transposed(array: Array) -> Array:
    """Matrices (..., n, m) of (..., m, n)."""
    return array.swapaxes(-1, -2)
