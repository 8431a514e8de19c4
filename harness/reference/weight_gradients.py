"""Gradients of a lane's weights: sums of products over timesteps and sequences, whole and by timestep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.reference.cell import Cell, Operands
from lockstep.harness.reference.expected import Expected, ExpectedTensor

# A chunk of timesteps; of the variances there are none where noise is not asked for.
Chunk = tuple[Operands, Operands | None]


class Factors(NamedTuple):
    """A weight's gradient: the sum over timesteps and sequences of ``left`` times ``right``."""

    name: str
    left: Array
    right: Array | None  # None: ``left`` itself is what is summed
    left_var: Array | None
    right_var: Array | None  # None: ``right`` is exact

    def regrouped(self, groups: int) -> Factors:
        """Lay rows (K, groups n, ...) together by group, (groups, K n, ...)."""
        return self._replace(**{
            name: by_group(array, groups) for name, array in self._asdict().items() if isinstance(array, np.ndarray)
        })  # fmt: skip

    def summed(self, growth: Any) -> tuple[Array, Array | None]:
        """The sum over the second axis, and its variance without that of a running sum.

        Args:
            growth: What rounding adds to a sum over sequences per unit of its terms' squares.
        """
        left, right = self.left, self.right
        value = left.sum(axis=1) if right is None else left.swapaxes(1, 2) @ right
        if self.left_var is None:
            return value, None
        left2 = left * left
        spread = self.left_var + growth * left2
        if right is None:
            return value, spread.sum(axis=1)
        variance = spread.swapaxes(1, 2) @ (right * right)
        if self.right_var is not None:
            variance += left2.swapaxes(1, 2) @ self.right_var
        return value, variance


def by_group(array: Array, groups: int) -> Array:
    """Take (K, groups n, ...) apart into (groups, K n, ...)."""
    K, B, *shape = array.shape
    return array.reshape(K, groups, B // groups, *shape).swapaxes(0, 1).reshape(groups, -1, *shape)


def factors(cell: Cell, operands: Operands, var: Operands | None) -> Iterator[Factors]:
    """What the gradient of each of a lane's weights is made of."""
    yield Factors("dW", operands.dz, operands.x, var and var.dz, var and var.x)
    yield Factors("dR", operands.dz, operands.h_before, var and var.dz, var and var.h_before)
    yield Factors("db", operands.dz, None, var and var.dz, None)
    if cell.Pt is not None:
        u, o = cell.curve.value(operands.c), split_gates(operands.a)[3]
        m_var = None
        if var is not None:
            u_var = cell.curve.variance(operands.c, var.c, u, cell.noise)
            m_var = o * o * u_var + u * u * split_gates(var.a)[3] + cell.noise.u2 * np.square(o * u)
        yield Factors("dP", operands.dh, o * u, var and var.dh, m_var)
    if cell.p is not None:
        # The output gate sees the new cell state, the other two that of the step before.
        states = np.stack([operands.c_before, operands.c_before, operands.c], axis=2)  # (K, B, 3, H)
        dz = _peephole_gates(operands.dz)
        product_var = None
        if var is not None:
            states_var = np.stack([var.c_before, var.c_before, var.c], axis=2)
            product_var = np.square(states) * _peephole_gates(var.dz) + dz * dz * states_var
        yield Factors("dp", dz * states, None, product_var, None)


def _peephole_gates(array: Array) -> Array:
    """The parts of i, f and o: (K, B, 3, H) of (K, B, 4H)."""
    i, f, _, o = split_gates(array)
    return np.stack([i, f, o], axis=2)


@dataclass
class Sums:
    """Gradients of weights: sums over timesteps and sequences, those of each of several copies for itself."""

    cell: Cell
    copies: int  # in the batch, one after the other
    values: Arrays = field(default_factory=dict)  # (copies, ...)
    variances: Arrays = field(default_factory=dict)

    def add(self, operands: Operands, var: Operands | None) -> None:
        """Add a chunk; with its variances, if they are wanted."""
        noise = self.cell.noise
        timesteps, sequences = operands.dz.shape[:2]
        for part in factors(self.cell, operands, var):
            name = part.name
            value, variance = part.regrouped(self.copies).summed(noise.batch_growth(sequences))
            self.values[name] = self.values[name] + value if name in self.values else value
            if variance is not None:
                # A running sum over timesteps, a bias' over sequences too, is rounded at each term: as if it stood
                # still at what it is by now.
                terms = timesteps if part.right is not None else timesteps * sequences
                variance = variance + terms * noise.rounded(self.values[name])
                self.variances[name] = self.variances[name] + variance if name in self.variances else variance


def joined(chunks: list[Chunk], turn: Callable[[Array], Array]) -> Chunk:
    """Chunks, the last one first, as one in order of time; ``turn`` brings each sequence's part to its timestep."""

    def each(sides: Iterable[Operands]) -> Operands:
        return Operands.each(lambda arrays: turn(np.concatenate(arrays)), zip(*sides, strict=True))

    operands, variances = zip(*chunks[::-1], strict=True)
    return each(operands), None if variances[0] is None else each(variances)


def contributions(cell: Cell, chunk: Chunk) -> Expected:
    """What each timestep contributes: dW_t (T, 4H, I), dR_t (T, 4H, P), db_t (T, 4H), dP_t and dp_t where they are."""
    noise, by_name = cell.noise, {}
    for part in factors(cell, *chunk):
        # Of one timestep: the sum runs over sequences alone, and is rounded once at its end.
        value, variance = part.summed(noise.batch_growth(part.left.shape[1]))
        assert variance is not None
        by_name[f"{part.name}_t"] = ExpectedTensor.of(value, variance + noise.rounded(value), noise)
    return by_name
