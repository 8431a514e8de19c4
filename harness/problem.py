"""A problem: a case made concrete. The same arrays on every machine and in every process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import draws
from harness.array_file import load_arrays
from harness.case import Case, Values
from harness.errors import CaseError

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Problem:
    """Weights, inputs and initial state of a case, in its dtype; all arrays are read-only.

    Gates are stacked in the order i, f, g, o, and ``b`` holds the forget bias.
    """

    case: Case
    W: Array  # (4H, I)
    R: Array  # (4H, H)
    b: Array  # (4H,)
    x: Array  # (T, B, I)
    h0: Array  # (B, H)
    c0: Array  # (B, H)
    lengths: Array | None = None  # (B,), int64

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            array.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as constructor arguments: arrays arrive read-only in the worker too.
        return Problem, tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def from_case(cls, case: Case) -> Problem:
        """Make a case concrete.

        Raises:
            CaseError: If a file it names is unreadable or holds other names, shapes or types.
        """
        T, B, I, H = case.shape
        run = case.run
        # Drawn together, so that no two weights are alike: W, R and b in one row each.
        bound = 2 / float(np.sqrt(float(I + H)))
        weights = _values(
            case, "weights", {"W": (4 * H, I), "R": (4 * H, H), "b": (4 * H,)}, bound, 1 / float(np.sqrt(float(H)))
        )
        if run.values("weights").kind is not None:
            weights["b"] = _bias(case, weights["b"])
        elif not case.lstm.bias and np.any(weights["b"]):
            raise CaseError(f"case {case.name}: bias = false, but b in {run.values('weights').file} is not zero.")
        inputs = _values(case, "inputs", {"x": (T, B, I)}, 1.0, 1.0)
        state = _values(case, "initial_state", {"h0": (B, H), "c0": (B, H)}, 1.0, 1.0)
        arrays = {**weights, **inputs, **state}
        lengths = None if run.lengths is None else np.array(run.lengths, np.int64)
        return cls(case, **{name: a.astype(run.dtype) for name, a in arrays.items()}, lengths=lengths)

    def arrays(self) -> Arrays:
        """Give the arrays by name; ``lengths`` only where the case has them."""
        names = ("W", "R", "b", "x", "h0", "c0", "lengths")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and little-endian bytes of all arrays."""
        return self.fresh_digest()

    def fresh_digest(self) -> str:
        """Give ``digest`` of what the arrays hold now."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
            digest.update(little.data)
        return digest.hexdigest()

    @property
    def forget_bias_apart(self) -> Array:
        """``b`` (4H,) without the forget bias: what a framework stores that adds it at run time."""
        b = self.b.copy()
        H = self.case.lstm.hidden_size
        b[H : 2 * H] -= b.dtype.type(self.case.lstm.forget_bias)
        return b


def _bias(case: Case, drawn: Array) -> Array:
    """Give canonical b (4H,): the drawn bias, zero for ``ones`` and without bias, with the forget bias added."""
    H = case.lstm.hidden_size
    b = np.zeros_like(drawn) if not case.lstm.bias or case.run.values("weights").kind == "ones" else drawn.copy()
    b[H : 2 * H] += case.lstm.forget_bias
    return b


def _values(
    case: Case, key: Any, shapes: dict[str, tuple[int, ...]], probe_bound: float, uniform_bound: float
) -> Arrays:
    values = case.run.values(key)
    if values.file is not None:
        return _from_file(case, key, Path(values.file), shapes)
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    flat = _drawn(values, case.run.seed, key, count, probe_bound, uniform_bound) * values.scale
    splits = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
    parts = np.split(flat, splits)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _drawn(
    values: Values, seed: int, key: str, count: int, probe_bound: float, uniform_bound: float
) -> NDArray[np.float64]:
    kinds: dict[str, Callable[[], NDArray[np.float64]]] = {
        "zeros": lambda: np.zeros(count),
        "ones": lambda: np.ones(count),
        # nn.LSTM's own initialisation: uniform in ±1/sqrt(hidden_size).
        "uniform": lambda: draws.uniform(seed, key, count, uniform_bound),
        "probe": lambda: draws.probe(seed, key, count, probe_bound),
    }
    return kinds[str(values.kind)]()


def _from_file(case: Case, key: str, path: Path, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    found = load_arrays(path)
    where = f"case {case.name}, [run] {key}: {path}"
    missing = [name for name in shapes if name not in found]
    if missing:
        raise CaseError(
            f"{where} lacks {', '.join(missing)}. It holds: {', '.join(sorted(found)) or 'nothing'}; "
            f"needed: {', '.join(shapes)}."
        )
    for name, shape in shapes.items():
        array = found[name]
        if array.shape != shape:
            raise CaseError(f"{where}: {name} has shape {array.shape}, and the case needs {shape}.")
        if array.dtype != np.dtype(case.run.dtype):
            raise CaseError(f"{where}: {name} is {array.dtype}, and the case computes in {case.run.dtype}.")
    return {name: found[name] for name in shapes}
