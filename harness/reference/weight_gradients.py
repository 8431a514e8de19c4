"""Gradients of a lane's weights: sums of products over timesteps and sequences, whole and by timestep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.tensors import turned
from lockstep.harness.reference.cell import Cell
from lockstep.harness.reference.expected import Expected, ExpectedTensor


class Operands(NamedTuple):
    """What gradients of weights are made of, of some timesteps; values or their variances, (K, B, ·) each."""

    dz: Array
    dh: Array
    x: Array
    h_before: Array
    c_before: Array
    c: Array
    a: Array


class Factors(NamedTuple):
    """A weight's gradient: the sum over timesteps and sequences of ``left`` times ``right``."""

    name: str
    left: Array
    right: Array | None  # None: ``left`` itself is what is summed
    left_var: Array | None
    right_var: Array | None


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
        dz_i, dz_f, _, dz_o = split_gates(operands.dz)
        product = np.stack(
            [dz_i * operands.c_before, dz_f * operands.c_before, dz_o * operands.c], axis=2
        )  # (K, B, 3, H)
        product_var = None
        if var is not None:
            i, f, _, o = split_gates(var.dz)
            before2, after2 = np.square(operands.c_before), np.square(operands.c)
            product_var = np.stack([
                before2 * i + dz_i * dz_i * var.c_before,
                before2 * f + dz_f * dz_f * var.c_before,
                after2 * o + dz_o * dz_o * var.c,
            ], axis=2)  # fmt: skip
        yield Factors("dp", product, None, product_var, None)


@dataclass
class Sums:
    """Gradients of weights: sums over timesteps and sequences, or over those of each of several copies."""

    cell: Cell
    copies: int = 0  # in the batch, one after the other; 0 where there are none to be kept apart
    values: Arrays = field(default_factory=dict)
    variances: Arrays = field(default_factory=dict)

    def add(self, operands: Operands, var: Operands | None = None) -> None:
        """Add a chunk; with its variances, if they are wanted."""
        growth = self.cell.noise.batch_growth(operands.dz.shape[1])
        for name, left, right, left_var, right_var in factors(self.cell, operands, var):
            if self.copies:
                right_copies = None if right is None else by_copy(right, self.copies)
                self._plus(self.values, name, product_of(by_copy(left, self.copies), right_copies))
                continue
            if right is None:
                self._plus(self.values, name, left.sum(axis=(0, 1)))
                if left_var is not None:
                    variance = (left_var + growth * (left * left)).sum(axis=(0, 1))
                    self._plus(self.variances, name, variance + self._running(name, left.shape[0] * left.shape[1]))
                continue
            a, b = _flat(left), _flat(right)
            self._plus(self.values, name, a.T @ b)
            if left_var is None:
                continue
            a2 = a * a
            variance = (_flat(left_var) + growth * a2).T @ (b * b)
            if right_var is not None:  # else it is exact
                variance += a2.T @ _flat(right_var)
            self._plus(self.variances, name, variance + self._running(name, len(left)))

    def _running(self, name: str, terms: int) -> Array:
        """What rounding adds to a sum that runs over some terms, each time the sum itself; as if it stood still."""
        return terms * self.cell.noise.rounded(self.values[name])

    @staticmethod
    def _plus(sums: Arrays, name: str, value: Array) -> None:
        sums[name] = sums[name] + value if name in sums else value

    def expected(self) -> Expected:
        """The sums with their noise."""
        noise = self.cell.noise
        return {name: ExpectedTensor.of(value, self.variances[name], noise) for name, value in self.values.items()}


@dataclass
class Contributions:
    """What each timestep contributes to the gradients of a lane's weights, not yet multiplied out."""

    cell: Cell
    operands: Operands
    var: Operands

    @classmethod
    def of(cls, cell: Cell, chunks: list[tuple[Operands, Operands]]) -> Contributions:
        """Join chunks, in order of time."""
        operands, var = (_each(np.concatenate, zip(*side, strict=True)) for side in zip(*chunks, strict=True))
        return cls(cell, operands, var)

    def turned(self, lengths: Array | None) -> Contributions:
        """Bring each sequence's part to the timestep at which it stands in the other direction's order."""
        operands, var = (_each(lambda array: turned(array, lengths), side) for side in (self.operands, self.var))
        return Contributions(self.cell, operands, var)

    def expected(self) -> Expected:
        """Multiply out: dW_t (T, 4H, I), dR_t (T, 4H, P), db_t (T, 4H), and dP_t, dp_t where there are such weights."""
        noise = self.cell.noise
        by_name = {}
        for name, left, right, left_var, right_var in factors(self.cell, self.operands, self.var):
            assert left_var is not None
            spread = left_var + noise.batch_growth(left.shape[1]) * (left * left)
            if right is None:
                value, variance = left.sum(axis=1), spread.sum(axis=1)
            else:
                value = left.swapaxes(1, 2) @ right
                variance = spread.swapaxes(1, 2) @ (right * right)
                if right_var is not None:  # else it is exact
                    variance += np.square(left).swapaxes(1, 2) @ right_var
            by_name[f"{name}_t"] = ExpectedTensor.of(value, variance + noise.rounded(value), noise)
        return by_name


def _each(function: Callable[[Any], Array], arrays: Iterable[Any]) -> Operands:
    """Apply a function to each array, or to each list of chunks; what is exact has no variance."""
    return Operands(*(None if a is None or a[0] is None else function(a) for a in arrays))  # type: ignore[arg-type]


def by_copy(array: Array, copies: int) -> Array:
    """Take (K, copies B, ...) apart into (copies, K B, ...)."""
    K, B, *shape = array.shape
    return array.reshape(K, copies, B // copies, *shape).swapaxes(0, 1).reshape(copies, -1, *shape)


def product_of(left: Array, right: Array | None) -> Array:
    """Sum over the second axis the products of (copies, n, a) and (copies, n, b), or ``left`` itself."""
    return left.sum(axis=1) if right is None else left.swapaxes(1, 2) @ right


def _flat(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])
