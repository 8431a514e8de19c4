"""Weights stored and read under a dialect: orders, transpositions, biases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import GATES, block, reorder
from lockstep.harness.errors import ConvertError
from lockstep.harness.text import shape_text
from lockstep.harness.weights.dialect import FLOATS, Dialect
from lockstep.harness.weights.dialects import CANONICAL, DIALECTS

SplitBias = Literal["first", "uneven"]


def store(weights: Arrays, dialect: Dialect, *, split_bias: SplitBias = "first") -> Arrays:
    """Canonical weights of one lane as a dialect stores them, as new arrays.

    Args:
        weights: ``W`` (4H, I), ``R`` (4H, P), ``b`` (4H,), gates i, f, g, o, the forget bias inside ``b``; ``P`` (P, H)
            where the cell has a projection, and ``p`` (3, H), gates i, f, o, where it has peepholes.
        dialect: How to store them.
        split_bias: What a dialect with two biases gets: ``first`` puts all of ``b`` into the first and
            zeros into the second; ``uneven`` gives both their part, so that leaving out either shows.

    Raises:
        ConvertError: If the dialect has no place for a projection or for peepholes.
    """
    W, R, b = weights["W"], weights["R"], weights["b"]
    if dialect.forget_bias:
        # The framework adds it at run time, and the canonical b holds it already.
        b = with_forget_bias(b, -dialect.forget_bias)
    biases = (b,)
    if dialect.biases == "two":
        biases = uneven(b) if split_bias == "uneven" else (b, np.zeros_like(b))
    stored = pack(W, R, biases, dialect)
    if "P" in weights:
        if not dialect.projection:
            raise ConvertError(f"{dialect.name} has no projection of the hidden state.")
        stored[dialect.projection] = np.ascontiguousarray(weights["P"].T if dialect.transposed else weights["P"])
    if "p" in weights:
        if not dialect.peepholes:
            raise ConvertError(f"{dialect.name} has no peepholes.")
        rows = [weights["p"]["ifo".index(gate)] for gate in dialect.peephole_gates]
        if len(dialect.peepholes) == len(rows):
            stored |= dict(zip(dialect.peepholes, rows, strict=True))
        else:  # one array: that of the canonical dialect, or a row for each direction
            joined = np.concatenate(rows)[None] if dialect.directions_axis else np.stack(rows)
            stored[dialect.peepholes[0]] = joined
    return stored


def guess(arrays: Arrays) -> Dialect | None:
    """The dialect that arrays look like, by their names and then by their shapes; None if there is none."""
    named = [dialect for dialect in DIALECTS.values() if not _missing(arrays, dialect)]
    return max(named, key=lambda dialect: (len(arrays.keys() & dialect.names), _fits(arrays, dialect)), default=None)


def gradients_of(arrays: Arrays, dialect: Dialect, *, bias: bool = True) -> Arrays:
    """The gradients ``dW``, ``dR``, ``db``, ``dP``, ``dp`` of canonical weights, from those of what ``store`` gives.

    A constant that is added to the forget gate changes no gradient, and of two biases, which are summed, each has that
    of their sum. Without ``bias``, ``db`` is left out.
    """
    if dialect.name == CANONICAL.name:
        return {f"d{name}": array for name, array in arrays.items() if bias or name != "b"}
    kernel, R = (_joined(arrays, names, dialect) for names in (dialect.input_kernel, dialect.recurrent_kernel))
    P = arrays.get(dialect.projection)
    if P is not None and dialect.transposed:
        P = np.ascontiguousarray(P.T)
    if dialect.fused:
        # The kernel is that of [x; h]: its last columns, as many as h is wide, are R.
        width = len(kernel) // 4 if P is None else len(P)
        kernel, R = kernel[:, :-width], kernel[:, -width:]
    gradients = {"dW": reorder(kernel, dialect.gates), "dR": reorder(R, dialect.gates)}
    if bias and _has_bias(arrays, dialect):
        # The first of two biases stands for both.
        names = dialect.bias[:1] if dialect.biases == "two" else dialect.bias
        gradients["db"] = reorder(_joined(arrays, names, dialect)[: len(kernel)], dialect.gates)
    if P is not None:
        gradients["dP"] = P
    if dialect.peepholes and dialect.peepholes[0] in arrays:
        rows = [arrays[name] for name in dialect.peepholes]
        if len(rows) == 1:  # one array of a lane: (1, 3H)
            rows = np.split(rows[0][0], len(dialect.peephole_gates))
        gradients["dp"] = np.stack([rows[dialect.peephole_gates.index(gate)] for gate in "ifo"])
    return gradients


def unpack(arrays: Arrays, dialect: Dialect) -> tuple[Array, Array, tuple[Array, ...]]:
    """``W``, ``R`` and the biases, one or two, in canonical order and otherwise as they are stored.

    Returns:
        New arrays; a bias that was left out is zeros.

    Raises:
        ConvertError: If arrays are missing, or have shapes or dtypes that the dialect does not allow.
    """
    _check_names(arrays, dialect)
    dtype = _dtype(arrays, dialect)
    H = _hidden_size(arrays, dialect)
    _check_shapes(arrays, dialect, H)
    kernel, R = (_joined(arrays, names, dialect) for names in (dialect.input_kernel, dialect.recurrent_kernel))
    W, R = (kernel[:, :-H], kernel[:, -H:]) if dialect.fused else (kernel, R)
    count = 2 if dialect.biases == "two" else 1
    flat = _joined(arrays, dialect.bias, dialect) if _has_bias(arrays, dialect) else np.zeros(count * 4 * H, dtype)
    W, R, *biases = (reorder(array, dialect.gates) for array in (W, R, *np.split(flat, count)))
    return W, R, tuple(biases)


def pack(W: Array, R: Array, biases: tuple[Array, ...], dialect: Dialect) -> Arrays:
    """Turn round what ``unpack`` gave: canonical order in, the dialect's arrays out."""
    kernels = {dialect.input_kernel: np.hstack([W, R])} if dialect.fused else {
        dialect.input_kernel: W, dialect.recurrent_kernel: R,
    }  # fmt: skip
    arrays = {}
    for names, matrix in kernels.items():
        parts = np.split(reorder(matrix, GATES, dialect.gates), len(names))
        arrays |= {name: part.T if dialect.transposed else part for name, part in zip(names, parts, strict=True)}
    flat = np.concatenate([reorder(b, GATES, dialect.gates) for b in biases])
    arrays |= dict(zip(dialect.bias, np.split(flat, len(dialect.bias)), strict=True))
    return {name: np.ascontiguousarray(a[None] if dialect.directions_axis else a) for name, a in arrays.items()}


def with_forget_bias(b: Array, forget_bias: float) -> Array:
    """``b`` (4H,) with a number added to its forget part, rounded once to its dtype."""
    b = b.copy()
    block(b, "f")[:] += b.dtype.type(forget_bias)
    return b


def summed(first: Array, second: Array) -> Array:
    """The sum of two biases; what is added to zero stays bit for bit, a negative zero too."""
    return np.where(second == 0, first, first + second)


def uneven(b: Array) -> tuple[Array, Array]:
    """Split ``b`` into two parts, for non-zero values both non-zero and different, whose sum is ``b`` exactly."""
    # By Sterbenz' lemma b - first is exact where first lies between b / 2 and 2 b. Parts of the smallest
    # subnormal numbers, 1, 2 and 4 quanta, would be zero or alike: those are split into 2 b and -b.
    first = b * b.dtype.type(0.625)
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.where((first == b) | (first == b - first), b + b, first)
        second = np.where(np.isfinite(b), b - first, np.zeros_like(b))
    return first, second


def _joined(arrays: Arrays, names: Iterable[str], dialect: Dialect) -> Array:
    """Join arrays, one or one for each gate, along the gates' axis: (4H, in), or (4H,) and (8H,) for biases."""
    parts = (arrays[name][0] if dialect.directions_axis else arrays[name] for name in names)
    parts = [part.T if dialect.transposed else part for part in parts]
    # Bytes in the machine's order: concatenating alone would keep a foreign one.
    return np.concatenate(parts).astype(parts[0].dtype.newbyteorder("=")) if parts else np.empty(0)


def _has_bias(arrays: Arrays, dialect: Dialect) -> bool:
    return any(name in arrays for name in dialect.bias)


def _fits(arrays: Arrays, dialect: Dialect) -> bool:
    with contextlib.suppress(ConvertError):
        return bool(unpack(arrays, dialect))
    return False


def _missing(arrays: Arrays, dialect: Dialect) -> list[str]:
    """Name the arrays that are not there; of an optional bias all parts may be left out, not one of two."""
    wanted = dialect.names if _has_bias(arrays, dialect) else dialect.required
    return [name for name in wanted if name not in arrays]


def _check_names(arrays: Arrays, dialect: Dialect) -> None:
    missing = _missing(arrays, dialect)
    if missing:
        raise ConvertError(
            f"{', '.join(missing)} missing: {dialect.name} stores {', '.join(dialect.names)}. "
            f"Found: {', '.join(sorted(arrays)) or 'nothing'}.{_hint(arrays, dialect)}"
        )
    for name in arrays:
        for pattern, what in dialect.beyond:
            if name not in dialect.names and fnmatchcase(name, pattern):
                raise ConvertError(
                    f"{name} is {what}: only a plain LSTM of one layer and one direction can be read. "
                    "Give its arrays alone."
                )


def _hint(arrays: Arrays, dialect: Dialect) -> str:
    looks_like = guess(arrays)
    if looks_like is not None:
        return f" These look like {looks_like.name}."
    first = dialect.required[0]
    prefixes = [name.removesuffix(first) for name in arrays if name.endswith(first) and name != first]
    whole = [p for p in prefixes if all(p + name in arrays for name in dialect.required)]
    if whole:
        return f" With a prefix they are there: {' or '.join(repr(prefix) for prefix in whole)}."
    return ""


def _dtype(arrays: Arrays, dialect: Dialect) -> np.dtype[Any]:
    """The one dtype of the arrays."""
    dtypes = {name: arrays[name].dtype for name in dialect.names if name in arrays}
    first = next(iter(dtypes))
    for name, dtype in dtypes.items():
        if dtype.name not in FLOATS:
            raise ConvertError(f"{name} is {dtype}: weights are one of {', '.join(FLOATS)}.")
        if dtype.name != dtypes[first].name:
            raise ConvertError(f"{first} is {dtypes[first]} and {name} is {dtype}: weights are all of one dtype.")
    return dtypes[first].newbyteorder("=")


def _hidden_size(arrays: Arrays, dialect: Dialect) -> int:
    """H: the recurrent kernel's smaller side, so that a transposed one is recognised; by the bias where it is fused."""
    name = dialect.bias[0] if dialect.fused else dialect.recurrent_kernel[0]
    shape = arrays[name].shape[dialect.directions_axis :]
    if len(shape) != (1 if dialect.fused else 2):
        needed = shape_text(_shapes(dialect, None)[name])
        raise ConvertError(f"{name} has shape {arrays[name].shape}, expected {needed}.")
    count = 8 if dialect.biases == "two" else 4
    H = shape[0] * len(dialect.bias) // count if dialect.fused else min(shape)
    if H == 0:
        raise ConvertError(f"{name} has shape {arrays[name].shape}: a hidden size of 0.")
    return H


def _shapes(dialect: Dialect, H: int | None) -> dict[str, tuple[int | str, ...]]:
    """The shape of each array; sizes that are not known are text."""

    def gates(factor: int, names: tuple[str, ...]) -> int | str:
        factor //= len(names)
        return factor * H if H is not None else f"{factor if factor > 1 else ''}H"

    hidden = "H" if H is None else H
    shapes: dict[str, tuple[int | str, ...]] = {}
    for names, width in ((dialect.input_kernel, f"I + {hidden}" if dialect.fused else "I"),
                         (dialect.recurrent_kernel, hidden)):  # fmt: skip
        for name in names:
            shape = (gates(4, names), width)
            shapes[name] = shape[::-1] if dialect.transposed else shape
    shapes |= {name: (gates(8 if dialect.biases == "two" else 4, dialect.bias),) for name in dialect.bias}
    return {name: (1, *shape) if dialect.directions_axis else shape for name, shape in shapes.items()}


def _check_shapes(arrays: Arrays, dialect: Dialect, H: int) -> None:
    smallest = H + 1 if dialect.fused else 1  # of the axis whose length is not known beforehand
    for name, expected in _shapes(dialect, H).items():
        shape = arrays[name].shape if name in arrays else None
        if shape is None or _matches(shape, expected, smallest):
            continue
        hint = ""
        if dialect.directions_axis and len(shape) == len(expected) and shape[0] != 1:
            hint = f" It holds {shape[0]} directions; only one can be read."
        # Its last two axes exchanged.
        elif len(shape) > 1 and _matches((*shape[:-2], *shape[:-3:-1]), expected, smallest):
            hint = " It looks transposed."
        raise ConvertError(f"{name} has shape {shape}, and {dialect.name} needs {shape_text(expected)}, H = {H}.{hint}")
    widths = {arrays[name].shape for name in dialect.input_kernel}
    if len(widths) > 1:
        raise ConvertError(f"{', '.join(dialect.input_kernel)} differ in shape: {', '.join(map(str, sorted(widths)))}.")


def _matches(shape: tuple[int, ...], expected: tuple[int | str, ...], smallest: int) -> bool:
    return len(shape) == len(expected) and all(
        length >= smallest if isinstance(size, str) else length == size
        for length, size in zip(shape, expected, strict=True)
    )
