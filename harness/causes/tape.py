# ruff: noqa: PLR2004 (numbers of axes)
"""Operations on values, with the variance of their rounding and their gradients where these are asked for.

The rules for variances stand in ``harness.reference.noise``. Arrays are (..., B, n): an axis in front, of candidates or
of copies, may be there or not; sequences are (T, ..., B, n). Going back, the gradient of each operation is made of
operations of the same kind, so that gradients have their noise by the same rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.causes.formats import rounded
from lockstep.harness.causes.noisy_curves import NoisyCurve
from lockstep.harness.causes.stored import Leaf
from lockstep.harness.reference.activations import NEAR_SIGMA
from lockstep.harness.reference.noise import SIGMOID_CAP, Noise
from lockstep.harness.reference.tape import Kick

Pullback = Callable[["Node"], "Node"]  # the gradient of an operand from that of the result
Slot = tuple[str, int, int]  # "columns" or "rows", which part of a value, of how many
GradientEdge = tuple["Node", Pullback, Slot | None]
Axes = int | tuple[int, ...]


class Node:
    """A value, the variance of its rounding (None where it is exact or not asked for), and what it was made of."""

    __slots__ = ("complement", "saved", "sources", "uses", "value", "variance")

    def __init__(self, value: Array, variance: Array | None = None, sources: tuple[GradientEdge, ...] = ()) -> None:
        """Take a value; ``sources`` tell how its gradient is handed on."""
        self.value, self.variance, self.sources = value, variance, sources
        self.uses: tuple[tuple[Leaf, int, Callable[[Node], tuple[Node, Node | None]]], ...] = ()
        self.saved: Callable[[], Node] | None = None  # what stands in its place on the way back
        self.complement: Node | None = None  # 1 - this is the value

    @property
    def kept(self) -> Node:
        """The value as it was saved for the way back."""
        return self if self.saved is None else self.saved()


class NodeTape:
    """The operations, in order."""

    def __init__(self, noise: Noise, *, noisy: bool, records: bool, kick: Kick | None = None) -> None:
        """Take the numbers of the rules.

        Args:
            noise: Of the case's dtype.
            noisy: Whether values carry variances.
            records: Whether gradients will be asked for.
            kick: Puts every result off by a rounding of its own, in the place of variances.
        """
        self.noise, self.noisy, self.records, self.kick = noise, noisy, records, kick
        self.recorded: list[Node] = []
        self.step = 0  # of the lane that is run, in its own order: where weights are used

    def exact(self, array: Array) -> Node:
        """An array as it is."""
        return Node(self.noise.taken(array))

    def zeros(self, like: Node) -> Node:
        """Zeros of a value's shape."""
        return Node(np.zeros_like(like.value))

    def _made(
        self,
        value: Array,
        carried: Array | None,
        rounding: Array | Any,
        sources: tuple[GradientEdge, ...],
        cap: float = np.inf,
    ) -> Node:
        """A result of which rounding has its part."""
        if self.kick is not None:
            node = Node(self.kick(value, rounding), None, sources)
        else:
            variance = rounding if carried is None else rounding + carried
            # fmin: where infinities meet the variance is NaN, and the cap holds.
            node = Node(value, np.fmin(variance, cap) if cap < np.inf else variance, sources)
        if self.records:
            self.recorded.append(node)
        return node

    def _moved(self, value: Array, variance: Array | None, *sources: GradientEdge) -> Node:
        """A result that only moved numbers, or one of which no variance is asked for."""
        node = Node(value, variance, sources if self.records else ())
        if self.records:
            self.recorded.append(node)
        return node

    # -- products with weights -----------------------------------------------------------------------------------

    def dense(self, x: Node, leaf: Leaf, growth: Any = None) -> Node:
        """Multiply rows (..., B, n) by a weight (m, n); with ``growth`` as a term of a sum, not rounded."""
        value = x.value @ leaf.turned
        sources = ((x, lambda d: self.back_through(d, leaf), None),)
        if not self.noisy:
            node = self._moved(value, None, *sources)
        else:
            rounding = self.noise.sum_growth(x.value.shape[-1]) if growth is None else growth
            rounding = (rounding * np.square(x.value)) @ leaf.turned_square
            if growth is None:
                rounding = rounding + self.noise.rounded(value)
            carried = None if x.variance is None else x.variance @ leaf.turned_square
            # A term of a sum is put off together with the sum, not by itself.
            if growth is None or self.kick is None:
                node = self._made(value, carried, rounding, sources)
            else:
                node = self._moved(value, rounding, *sources)
        # The weight's gradient is made at the end, of all uses at once: a sum over time has noise of its own.
        node.uses = ((leaf, self.step, lambda d: (d, x.kept)),)
        return node

    def back_through(self, d: Node, leaf: Leaf) -> Node:
        """The gradient of what a weight was multiplied with, from that of the product."""
        value = d.value @ leaf.back
        if not self.noisy:
            return Node(value)
        rounding = (self.noise.sum_growth(d.value.shape[-1]) * np.square(d.value)) @ leaf.back_square
        rounding = rounding + self.noise.rounded(value)
        return self._made(value, None if d.variance is None else d.variance @ leaf.back_square, rounding, ())

    def peephole(self, c: Node, leaf: Leaf, row: int, growth: Any) -> Node:
        """Multiply by a row of (3, H), as a term of a sum that goes on."""
        # With candidates the row keeps an axis for sequences, (candidates, 1, H).
        p, back = (a[..., row : row + 1, :] if a.ndim > 2 else a[row] for a in (leaf.value, leaf.back))
        variance = None
        if self.noisy:
            variance = np.square(p) * (growth * np.square(c.value) + (0 if c.variance is None else c.variance))
        weight = Node(back)
        node = self._moved(p * c.value, variance, (c, lambda d: self.multiply(d, weight), None))
        node.uses = ((leaf, self.step, lambda d: (self._in_row(self.product(d, c.kept), row), None)),)
        return node

    def _in_row(self, operand: Node, row: int) -> Node:
        """One row of three."""

        def put(a: Array) -> Array:
            whole = np.zeros((*a.shape[:-1], 3, a.shape[-1]), a.dtype)
            whole[..., row, :] = a
            return whole

        return Node(*both(operand, put))

    def product(self, left: Node, right: Node) -> Node:
        """A product that is summed at once: without its rounding, and not gone back through."""
        carried = None
        if self.noisy and self.kick is None:
            carried = _sum(_scaled(right.value, left.variance), _scaled(left.value, right.variance))
        return Node(left.value * right.value, carried)

    def total(self, terms: list[Node], bias: Leaf | None, growth: Any) -> Node:
        """Sum terms and a bias, rounded once."""
        value = terms[0].value
        for term in terms[1:]:
            value = value + term.value
        if bias is not None:
            value = value + bias.rows
        sources = tuple((term, _same, None) for term in terms)
        if not self.noisy:
            node = self._moved(value, None, *sources)
        else:
            rounding = self.noise.rounded(value) + (0 if bias is None else growth * np.square(bias.rows))
            carried = None
            for term in terms:
                carried = _sum(carried, term.variance)
            # The terms were not put off: what rounding did to them is put on their sum.
            if self.kick is not None:
                rounding, carried = rounding + (0 if carried is None else carried), None
            node = self._made(value, carried, rounding, sources)
        if bias is not None:
            node.uses = ((bias, self.step, lambda d: (d, None)),)
        return node

    def add_row(self, rows: Node, row: Node) -> Node:
        """Add one row (..., n) to each of rows (..., rows, n)."""
        spread = Node(*both(row, lambda a: a[..., None, :]))
        sources = ((rows, _same, None), (row, self._sum_of_rows, None))
        value = rows.value + spread.value
        if not self.noisy:
            return self._moved(value, None, *sources)
        return self._made(value, _sum(rows.variance, spread.variance), self.noise.rounded(value), sources)

    def _sum_of_rows(self, d: Node) -> Node:
        total = self._sum_along(d, -2, self.noise.batch_growth(d.value.shape[-2]))
        return Node(*both(total, lambda a: a[..., 0, :]))

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def add(self, left: Node, right: Node) -> Node:
        """Add values."""
        return self.total([left, right], None, 0)

    def multiply(self, left: Node, right: Node, cap: float = np.inf) -> Node:
        """Multiply values; ``cap`` bounds the variance of what is bounded itself."""
        value = left.value * right.value
        sources: tuple[GradientEdge, ...] = ()
        if self.records:
            sources = (
                (left, lambda d: self.multiply(d, right.kept), None),
                (right, lambda d: self.multiply(d, left.kept), None),
            )
        if not self.noisy:
            return self._moved(value, None, *sources)
        carried = _sum(_scaled(right.value, left.variance), _scaled(left.value, right.variance))
        return self._made(value, carried, self.noise.rounded(value), sources, cap)

    def scale(self, operand: Node, factor: float, shift: float = 0.0) -> Node:
        """Multiply by a constant and add another."""
        number = self.noise.precision(factor)
        value = operand.value * number + self.noise.precision(shift)
        sources: tuple[GradientEdge, ...] = ((operand, lambda d: self.scale(d, factor), None),) if self.records else ()
        if not self.noisy:
            return self._moved(value, None, *sources)
        carried = None if operand.variance is None else operand.variance * number**2
        if not shift and math.frexp(abs(factor))[0] == 0.5:
            return self._moved(value, carried, *sources)
        return self._made(value, carried, self.noise.rounded(value), sources)

    def complement(self, operand: Node) -> Node:
        """1 - a value within [0, 1]: within u of its range, not of itself."""
        value = 1 - operand.value
        pull = lambda d: Node(-d.value, d.variance)  # noqa: E731
        sources: tuple[GradientEdge, ...] = ((operand, pull, None),) if self.records else ()
        if not self.noisy:
            node = self._moved(value, None, *sources)
        else:
            rounding = self.noise.u2 * (np.square(value) + np.square(operand.value))
            node = self._made(value, operand.variance, rounding, sources)
        # Remembered, so that one error of i is not counted as two that are independent.
        node.complement = operand
        return node

    def memory(self, f: Node, c: Node, i: Node, g: Node) -> Node:
        """F c + i g."""
        kept, added = f.value * c.value, i.value * g.value
        value = kept + added
        sources: tuple[GradientEdge, ...] = ()
        if self.records:
            sources = (
                (c, lambda d: self.multiply(d, f.kept), None),
                (g, lambda d: self.multiply(d, i.kept), None),
                *self._to_gates(f, c, i, g),
            )
        if not self.noisy:
            return self._moved(value, None, *sources)
        carried = _sum(_scaled(f.value, c.variance), _scaled(i.value, g.variance))
        rounding = self.noise.u2 * (np.square(kept) + np.square(added) + np.square(value))
        if f.complement is i and i.variance is not None:
            # One rounding of i moves both terms.
            carried = _sum(carried, _scaled(g.value - c.value, i.variance))
            rounding = rounding + self.noise.u2 * np.square(kept)
        else:
            carried = _sum(carried, _sum(_scaled(c.value, f.variance), _scaled(g.value, i.variance)))
        return self._made(value, carried, rounding, sources)

    def _to_gates(self, f: Node, c: Node, i: Node, g: Node) -> tuple[GradientEdge, ...]:
        """What goes back to f and i, or to i alone where f is 1 - i: an error of the gradient then counts once."""
        if f.complement is i:
            return ((i, lambda d: self.multiply(d, self._apart(g.kept, c.kept)), None),)
        return ((f, lambda d: self.multiply(d, c.kept), None), (i, lambda d: self.multiply(d, g.kept), None))

    def _apart(self, left: Node, right: Node) -> Node:
        return self.add(left, Node(-right.value, right.variance))

    def hold(self, operand: Node, bound: float, sides: str = "both", *, passes: bool = False) -> Node:
        """Clip to [-bound, bound]; with ``passes`` gradients pass as if it were not clipped.

        ``sides`` are those that are held: "both", "above" (at bound) or "below" (at -bound); "neither" holds all at
        -bound, as a clip does whose bounds are exchanged.
        """
        limit = self.noise.precision(bound)
        if sides == "neither":
            return Node(np.full_like(operand.value, -limit))
        value = operand.value
        value = value if sides == "above" else np.maximum(value, -limit)
        value = value if sides == "below" else np.minimum(value, limit)
        open_ = value == operand.value if sides != "both" else np.abs(operand.value) < limit
        pull = _same if passes else lambda d: self._unheld(d, operand, open_, limit)
        sources: tuple[GradientEdge, ...] = ((operand, pull, None),)
        if self.kick is not None or operand.variance is None:
            return self._moved(value, operand.variance, *sources)
        # Where it is held it is the bound itself, rounded to the dtype.
        held = ~open_ & (np.abs(operand.value) > limit + NEAR_SIGMA * np.sqrt(operand.variance))
        return self._moved(value, np.where(held, self.noise.u2 * (limit * limit), operand.variance), *sources)

    def _unheld(self, d: Node, operand: Node, open_: Array, limit: Any) -> Node:
        value = d.value * open_
        if d.variance is None or operand.variance is None:
            return Node(value, d.variance)
        # Where rounding decides whether it is held, all of it may come through or nothing.
        near = np.abs(np.abs(operand.value) - limit) <= NEAR_SIGMA * np.sqrt(operand.variance)
        return Node(value, np.where(near, d.variance + np.square(d.value), d.variance * open_))

    def curve(
        self, operand: Node, curve: NoisyCurve, slope: NoisyCurve | None = None, edge: Pullback | None = None
    ) -> Node:
        """Apply an activation.

        Args:
            operand: What it is applied to.
            curve: The activation.
            slope: The curve whose slope is taken on the way back, where it is another.
            edge: What the result goes through on its way to the slope, where that is edited.
        """
        value = curve.value(operand.value)
        if not self.noisy:
            result = self._moved(value, None)
        # What comes in was put off by kicks already; what the curve adds is all that is left.
        elif self.kick is not None:
            result = self._made(value, None, curve.variance(operand.value, np.zeros_like(value), value, self.noise), ())
        else:
            variance = np.zeros_like(value) if operand.variance is None else operand.variance
            result = self._made(value, None, curve.variance(operand.value, variance, value, self.noise), ())
        if self.records:
            taken = result if edge is None else edge(result)
            pull = lambda d: self.multiply(d, self._slope(operand, taken.kept, slope or curve))  # noqa: E731
            result.sources = ((operand, pull, None),)
        return result

    def _slope(self, z: Node, a: Node, curve: NoisyCurve) -> Node:
        """The slope is computed of the rounded output, and rounded twice itself."""
        value = curve.slope(z.value, a.value)
        if not self.noisy:
            return Node(value)
        variance = np.zeros_like(value) if a.variance is None else a.variance
        return self._made(
            value, curve.slope_variance(z.value, a.value, variance, self.noise), 2 * self.noise.rounded(value), ()
        )

    # -- moving --------------------------------------------------------------------------------------------------

    def split(self, operand: Node, count: int) -> list[Node]:
        """Take columns apart into equal parts."""
        width = operand.value.shape[-1] // count
        columns = [slice(k * width, (k + 1) * width) for k in range(count)]
        return [
            self._moved(*both(operand, lambda a, part=part: a[..., part]), (operand, _same, ("columns", k, count)))
            for k, part in enumerate(columns)
        ]

    def join(self, parts: list[Node]) -> Node:
        """Put values side by side."""
        if len(parts) == 1:
            return parts[0]
        parts = with_candidates(parts)
        lead = np.broadcast_shapes(*(part.value.shape[:-1] for part in parts))
        ends = np.cumsum([0, *(part.value.shape[-1] for part in parts)])
        joined = self._moved(
            _side_by_side([part.value for part in parts], lead),
            self._joined_variance(parts, lambda arrays: _side_by_side(arrays, lead)),
            *(
                (part, lambda d, a=a, b=b: Node(*both(d, lambda x: x[..., a:b])), None)
                for part, a, b in zip(parts, ends[:-1], ends[1:], strict=True)
            ),
        )
        # What was saved otherwise of a part is saved so of the whole.
        if any(part.saved for part in parts):
            joined.saved = lambda: self.join([part.kept for part in parts])
        return joined

    def stack(self, steps: list[Node]) -> Node:
        """Put values of timesteps behind each other, time first."""
        shape = np.broadcast_shapes(*(step.value.shape for step in steps))
        return self._moved(
            np.stack([np.broadcast_to(step.value, shape) for step in steps]),
            self._joined_variance(steps, lambda arrays: np.stack([np.broadcast_to(a, shape) for a in arrays])),
            *((step, lambda d, t=t: Node(*both(d, lambda x: x[t])), None) for t, step in enumerate(steps)),
        )

    @staticmethod
    def _joined_variance(parts: list[Node], join: Callable[[list[Array]], Array]) -> Array | None:
        if all(part.variance is None for part in parts):
            return None
        return join([np.broadcast_to(variance_of(part), part.value.shape) for part in parts])

    def steps(self, sequence: Node) -> list[Node]:
        """Take a sequence apart into its timesteps."""
        T = len(sequence.value)
        return [self._moved(*both(sequence, lambda a, t=t: a[t]), (sequence, _same, ("rows", t, T))) for t in range(T)]

    def moved(self, operand: Node, there: Callable[[Array], Array], back: Callable[[Array], Array]) -> Node:
        """Move numbers to other places; ``back`` brings a gradient to where they came from."""
        node = self._moved(*both(operand, there), (operand, lambda d: Node(*both(d, back)), None))
        if operand.saved is not None:
            node.saved = lambda: Node(*both(operand.kept, there))
        return node

    def taken(self, node: Node, places: Array) -> Node:
        """Take every number from a place of the value written out, counted from 1; 0 where there is none."""
        kept, size = places > 0, node.value.size

        def there(array: Array) -> Array:
            return np.where(kept, array.ravel()[places - 1], array.dtype.type(0))

        def back(d: Array) -> Array:
            spread = np.zeros(size, d.dtype)
            # Not by assignment: a place that was taken twice gets both gradients.
            np.add.at(spread, places[kept] - 1, d[kept])
            return spread.reshape(node.value.shape)

        return self.moved(node, there, back)

    def mixed(self, node: Node, matrix: Array, axis: int) -> Node:
        """Weighted sums along an axis: ``matrix`` (n, n) times the values on it."""

        def along(array: Array, by: Array) -> Array:
            return np.moveaxis(np.tensordot(by.astype(array.dtype), array, axes=(1, axis)), 0, axis)

        value = along(node.value, matrix)
        sources: tuple[GradientEdge, ...] = ((node, lambda d: self.mixed(d, matrix.T, axis), None),)
        if not self.noisy:
            return self._moved(value, None, *sources)
        # Of a sum of independent errors the variances add up, by the squares of the weights.
        square = np.square(matrix)
        rounding = along(np.square(node.value), square) * self.noise.sum_growth(len(matrix)) + self.noise.rounded(value)
        carried = None if node.variance is None else along(node.variance, square)
        return self._made(value, carried, rounding, sources if self.records else ())

    def cast(self, node: Node, to: str) -> Node:
        """Round to a shorter format; the flips that its coarse steps bring are let pass by the comparison."""
        return self._moved(rounded(node.value, to), node.variance, (node, _same, None))

    def where(self, mask: Array, left: Node, right: Node) -> Node:
        """Choose element by element."""
        variance = None
        if left.variance is not None or right.variance is not None:
            variance = np.where(mask, variance_of(left), variance_of(right))
        return self._moved(
            np.where(mask, left.value, right.value),
            variance,
            (left, lambda d: Node(*both(d, lambda a: np.where(mask, a, 0))), None),
            (right, lambda d: Node(*both(d, lambda a: np.where(mask, 0, a))), None),
        )

    def with_value(self, operand: Node, value: Array) -> Node:
        """Another value, of which the gradient goes to the operand as it is."""
        return self._moved(value, operand.variance, (operand, _same, None))

    def through(self, operand: Node, pull: Pullback) -> Node:
        """The same value, with what becomes of the gradient that arrives."""
        return self._moved(operand.value, operand.variance, (operand, pull, None))

    # -- attention -----------------------------------------------------------------------------------------------

    def matmul(self, left: Node, right: Node, growth: Any = None) -> Node:
        """Multiply matrices (..., m, k) and (..., k, n)."""
        value = left.value @ right.value
        sources: tuple[GradientEdge, ...] = ()
        if self.records:
            sources = (
                (left, lambda d: self.matmul(d, turned_over(right.kept)), None),
                (right, lambda d: self._outer(left.kept, d), None),
            )
        if not self.noisy:
            return self._moved(value, None, *sources)
        growth = self.noise.sum_growth(left.value.shape[-1]) if growth is None else growth
        one2, other2 = np.square(left.value), np.square(right.value)
        carried = _sum(
            None if left.variance is None else left.variance @ other2,
            None if right.variance is None else one2 @ right.variance,
        )
        return self._made(value, carried, growth * (one2 @ other2) + self.noise.rounded(value), sources)

    def _outer(self, operand: Node, d: Node) -> Node:
        return self.matmul(turned_over(operand), d, self.noise.batch_growth(operand.value.shape[-2]))

    def softmax(
        self, operand: Node, axis: Axes = -1, valid: Array | None = None, slope: str = "", edge: Pullback | None = None
    ) -> Node:
        """exp(z - max) over its sum along an axis, over what is valid; 0 elsewhere.

        An exponential is as far off as its argument, which the subtraction rounds and a factor of log2(e) before it
        may, and rounded itself; z - log(sum(exp(z))) is rounded at the size of the largest z. ``slope`` names what
        stands in the place of its slope on the way back, ``edge`` as that of a curve.
        """
        z = operand.value if valid is None else np.where(valid, operand.value, -np.inf)
        largest = z.max(axis=axis, keepdims=True)
        shifted = z - largest
        raised = np.exp(shifted)
        a = raised / raised.sum(axis=axis, keepdims=True)
        if not self.noisy:
            result = self._moved(a, None)
        else:
            argument = np.where(raised > 0, self.noise.u2 * (shifted**2 + z**2 + 1), 0)
            rounding = _of_exponents(a, argument, axis) + self.noise.u2 * np.square(a * largest)
            growth = self.noise.sum_growth(_count_along(z, axis))
            rounding = rounding + growth * np.square(a) + self.noise.rounded(a)
            carried = None if operand.variance is None else _of_exponents(a, operand.variance, axis)
            result = self._made(a, carried, rounding, (), SIGMOID_CAP)
        if self.records:
            taken = result if edge is None else edge(result)
            result.sources = ((operand, lambda d: self._softmax_back(taken.kept, d, axis, slope), None),)
        return result

    def log_softmax(self, operand: Node) -> Node:
        """Subtract log(sum(exp(z))) along the last axis."""
        shifted = operand.value - operand.value.max(axis=-1, keepdims=True)
        a = np.exp(shifted)
        a = a / a.sum(axis=-1, keepdims=True)
        value = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        sources = ((operand, lambda d: self._apart(d, self.multiply(Node(a), self._sum_along(d, -1))), None),)
        if not self.noisy:
            return self._moved(value, None, *sources)
        rounding = self.noise.u2 * (np.square(operand.value).max(axis=-1, keepdims=True) + np.square(value) + 1)
        carried = None
        if operand.variance is not None:
            carried = operand.variance * (1 - 2 * a) + (np.square(a) * operand.variance).sum(axis=-1, keepdims=True)
        return self._made(value, carried, rounding, sources)

    def _softmax_back(self, a: Node, d: Node, axis: Axes, slope: str = "") -> Node:
        if slope == "1":
            return d
        if slope:
            alone = self.multiply(a, d)
            return self.multiply(alone, self.complement(a)) if slope == "a (1 - a)" else alone
        total = self._sum_along(self.multiply(a, d), axis)
        return self.multiply(a, self._apart(d, total))

    def _sum_along(self, operand: Node, axis: Axes, growth: Any = None) -> Node:
        total = operand.value.sum(axis=axis, keepdims=True)
        if not self.noisy:
            return Node(total)
        squares = np.square(operand.value).sum(axis=axis, keepdims=True)
        growth = self.noise.sum_growth(_count_along(operand.value, axis)) if growth is None else growth
        rounding = growth * squares
        carried = None if operand.variance is None else operand.variance.sum(axis=axis, keepdims=True)
        return self._made(total, carried, rounding, ())


def with_candidates(parts: list[Node]) -> list[Node]:
    """Values side by side all have an axis of candidates, in front of that of sequences, where one of them has."""
    ndim = max(part.value.ndim for part in parts)
    if all(part.value.ndim == ndim for part in parts):
        return parts
    return [
        part if part.value.ndim == ndim else Node(*both(part, lambda a: np.expand_dims(a, -3)), part.sources)
        for part in parts
    ]


def _same(d: Node) -> Node:
    return d


def _count_along(a: Array, axis: Axes) -> int:
    """How many numbers one sum along axes has."""
    return int(np.prod(np.take(a.shape, axis)))


def _of_exponents(a: Array, variance: Array, axis: Axes) -> Array:
    """Carry variances through da_s = a_s (dz_s - sum_k a_k dz_k)."""
    a2 = np.square(a)
    return a2 * (variance * (1 - 2 * a) + (a2 * variance).sum(axis=axis, keepdims=True))


def _side_by_side(arrays: list[Array], lead: tuple[int, ...]) -> Array:
    return np.concatenate([np.broadcast_to(a, (*lead, a.shape[-1])) for a in arrays], axis=-1)


def _sum(left: Array | None, right: Array | None) -> Array | None:
    return right if left is None else left if right is None else left + right


def _scaled(factor: Array, variance: Array | None) -> Array | None:
    return None if variance is None else np.square(factor) * variance


def variance_of(node: Node) -> Array:
    """A value's variance, zeros where it is exact."""
    return np.zeros_like(node.value) if node.variance is None else node.variance


def both(node: Node, function: Callable[[Array], Array]) -> tuple[Array, Array | None]:
    """A function of the value and of the variance."""
    return function(node.value), None if node.variance is None else function(node.variance)


def turned_over(node: Node) -> Node:
    """Exchange the last two axes; not gone back through."""
    return Node(*both(node, lambda a: a.swapaxes(-1, -2)))
