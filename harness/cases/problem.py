"""A problem: a case made concrete. The same arrays on every machine and in every process."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from lockstep.harness.arrays import Array, Arrays, by_rows
from lockstep.harness.cases import draws
from lockstep.harness.cases.array_file import load_arrays
from lockstep.harness.cases.case import LSTM, Case, ValuesKey
from lockstep.harness.cases.tensors import Lane, case_weight_shapes, lanes, name_of, weight_shapes
from lockstep.harness.errors import CaseError

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class NamedArrays:
    """Arrays by the names of their fields."""

    def arrays(self) -> Arrays:
        """Those that are there, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, eq=False)
class Weights(NamedArrays):
    """Canonical weights of one lane: gates i, f, g, o; ``b`` holds the forget bias."""

    W: Array  # (4H, I), I that of the layer
    R: Array  # (4H, P), P the width of the hidden state
    b: Array  # (4H,)
    P: Array | None = None  # (P, H), the projection of the hidden state
    p: Array | None = None  # (3, H), peepholes of i, f, o


Stack = tuple[tuple[Weights, ...], ...]  # by layer, then direction, forward before reverse


@dataclass(frozen=True, eq=False)
class Concrete:
    """A case with all its arrays, which are read-only."""

    INPUTS: ClassVar[tuple[str, ...]]  # what has values beside the weights, in the order of the digest

    case: Case

    def __post_init__(self) -> None:
        for array in self.arrays().values():
            array.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled as constructor arguments: arrays arrive read-only in the worker too.
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def named_weights(self) -> Arrays:
        """The weights by name."""
        raise NotImplementedError

    def arrays(self) -> Arrays:
        """The arrays by name; what the case does not have is left out."""
        inputs = {name: getattr(self, name) for name in self.INPUTS}
        return {**self.named_weights(), **{name: array for name, array in inputs.items() if array is not None}}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, types, shapes and little-endian bytes of all arrays."""
        return self.fresh_digest()

    def fresh_digest(self) -> str:
        """``digest`` of what the arrays hold now."""
        return digest_of(self.arrays())


@dataclass(frozen=True, eq=False)
class Problem(Concrete):
    """Weights, inputs and initial state of a case, in its dtype; all arrays are read-only.

    Of one layer in one direction states are (B, H), else (layers x directions, B, H), layer-major, forward before
    reverse. With a projection the width of h is P.
    """

    INPUTS = ("x", "h0", "c0", "lengths", "dh", "dc", "resets")

    weights: Stack
    x: Array  # (T, B, I)
    h0: Array  # (B, P), or (layers x directions, B, P)
    c0: Array  # (B, H), likewise
    lengths: Array | None = None  # (B,), int64
    dh: Array | None = None  # (T, B, directions x P), the cotangent of h
    dc: Array | None = None  # as c0, that of the final cell states
    resets: Array | None = None  # (T, B), bool: where a sequence's state starts anew, from zeros, before the step
    halves: tuple[tuple[Array, Array], ...] | None = None  # by lane the two biases of which b is the sum, where known

    @classmethod
    def plain(
        cls, case: Case, W: Array, R: Array, b: Array, x: Array, h0: Array, c0: Array, lengths: Array | None = None
    ) -> Problem:
        """The problem of one layer in one direction."""
        return cls(case, ((Weights(W, R, b),),), x, h0, c0, lengths)

    @classmethod
    def from_case(cls, case: Case) -> Problem:
        """Make a case concrete; a CaseError if a file it names is unreadable or holds other names, shapes or types."""
        if case.model != "lstm":
            raise CaseError(f"case {case.name} is an attention decoder, and a network of LSTMs is asked for.")
        T, B, I, _ = case.shape
        lstm = case.lstm
        drawn = {name: quantised(name, array, case) for name, array in _network_weights(case).items()}
        cotangents = {"dh": case.natural_shape("h"), "dc": case.natural_shape("c_n")}
        inputs = inputs_of(case, {"x": (T, B, I)}, cotangents)
        weights = [
            Weights(**{name: drawn[name_of(name, lane, lstm)] for name in weight_shapes(lstm, lane.layer)})
            for lane in lanes(lstm)
        ]
        count = len(lstm.directions)
        stack = tuple(tuple(weights[k : k + count]) for k in range(0, len(weights), count))
        return cls(case, stack, **inputs, resets=_resets_of(case))

    @property
    def W(self) -> Array:  # noqa: N802 (the field's name)
        """The input kernel (4H, I) of the first lane."""
        return self.weights[0][0].W

    @property
    def R(self) -> Array:  # noqa: N802 (the field's name)
        """The recurrent kernel (4H, P) of the first lane."""
        return self.weights[0][0].R

    @property
    def b(self) -> Array:
        """The bias (4H,) of the first lane."""
        return self.weights[0][0].b

    def lanes(self) -> Iterator[tuple[Lane, Weights]]:
        """Go through the lanes, layer by layer, forward before reverse."""
        yield from zip(lanes(self.case.lstm), chain.from_iterable(self.weights), strict=True)

    def states(self, name: str) -> Array:
        """``h0``, ``c0`` or ``dc`` with an axis of lanes before the batch, of one lane too."""
        array = getattr(self, name)
        return array[None] if self.case.lstm.single else array

    def named_weights(self) -> Arrays:
        """The weights of all lanes by name."""
        return named_weights(self.case.lstm, self.weights)


def _resets_of(case: Case) -> Array | None:
    """Where the states of sequences start anew, (T, B)."""
    if case.run.resets is None:
        return None
    resets = np.zeros((case.run.timesteps, case.run.batch), bool)
    for b, timesteps in enumerate(case.run.resets):
        resets[list(timesteps), b] = True
    return resets


def named_weights(lstm: LSTM, weights: Stack) -> Arrays:
    """The weights of a network by name."""
    by_lane = zip(lanes(lstm), chain.from_iterable(weights), strict=True)
    return {name_of(name, lane, lstm): array for lane, of_lane in by_lane for name, array in of_lane.arrays().items()}


def digest_of(arrays: Arrays) -> str:
    """The SHA-256 over names, types, shapes and little-endian bytes of arrays."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        # A bfloat16 has no order of bytes of its own, nor a buffer.
        bare = array.view(np.uint16) if array.dtype.name == "bfloat16" else array
        little = np.ascontiguousarray(bare, bare.dtype.newbyteorder("<"))
        kind = "bfloat16" if bare is not array else little.dtype.str
        digest.update(f"{name} {kind} {little.shape}\n".encode())
        digest.update(little.data)
    return digest.hexdigest()


def dtype_of(name: str) -> np.dtype[Any]:
    """A case's dtype; bfloat16 is ml_dtypes'."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def quantised(name: str, array: Array, case: Case) -> Array:
    """Bring an array to the case's dtype."""
    dtype = dtype_of(case.run.dtype)
    with np.errstate(over="ignore"):
        quantised = by_rows(lambda rows: array[rows].astype(dtype), array)
    if case.run.dtype == "float16" and np.isinf(quantised).sum() > np.isinf(array).sum():
        largest = float(np.abs(array[np.isfinite(array)]).max())
        raise CaseError(
            f"case {case.name}: {name} holds {largest:g}, beyond the range of float16, which ends at 65504: "
            "take a smaller scale, or bfloat16."
        )
    return quantised


def inputs_of(case: Case, inputs: Shapes, cotangents: Shapes) -> dict[str, Any]:
    """What a case has beside its weights, in its dtype: inputs, states, lengths, and cotangents if asked for."""
    states = {"h0": case.natural_shape("h0"), "c0": case.natural_shape("c0")}
    arrays = values_of(case, "inputs", inputs) | values_of(case, "initial_state", states)
    if case.run.gradients:
        arrays |= values_of(case, "cotangents", cotangents)
    lengths = None if case.run.lengths is None else np.array(case.run.lengths, np.int64)
    return {name: quantised(name, array, case) for name, array in arrays.items()} | {"lengths": lengths}


def _network_weights(case: Case) -> Arrays:
    """Draw or read the weights of all lanes, float64 where they are drawn: by name, with canonical biases."""
    lstm = case.lstm
    probe_bound = 2 / float(np.sqrt(float(lstm.input_size + lstm.output_size)))
    uniform_bound = 1 / float(np.sqrt(float(lstm.hidden_size)))  # nn.LSTM's own initialisation
    drawn = values_of(case, "weights", case_weight_shapes(case), probe_bound, uniform_bound)
    return with_biases(case, drawn, {name_of("b", lane, lstm): lstm for lane in lanes(lstm)})


def with_biases(case: Case, weights: Arrays, biases: dict[str, LSTM]) -> Arrays:
    """Put canonical biases, by name with their networks, in the place of drawn ones; a file's are canonical already.

    Raises:
        CaseError: If a file has a bias where the network has none.
    """
    values = case.run.values("weights")
    for name, lstm in biases.items():
        if values.kind is not None:
            weights[name] = bias_of(lstm, values.kind, weights[name])
        elif not lstm.bias and np.any(weights[name]):
            raise CaseError(f"case {case.name}: bias = false, but {name} in {values.file} is not zero.")
    return weights


def bias_of(lstm: LSTM, kind: str, drawn: Array) -> Array:
    """Canonical b (4H,): the drawn bias, zero for ``ones`` and without bias, with the forget bias added."""
    H = lstm.hidden_size
    b = np.zeros_like(drawn) if not lstm.bias or kind == "ones" else drawn.copy()
    b[H : 2 * H] += lstm.forget_bias
    return b


def values_of(
    case: Case, key: ValuesKey, shapes: Shapes, probe_bound: float = 1.0, uniform_bound: float = 1.0
) -> Arrays:
    """The arrays of one key, (name: shape), drawn together, float64, or read from its file.

    Raises:
        CaseError: If the file lacks one, or holds it in another shape or dtype; if zeros are asked for past the end.
    """
    values = case.run.values(key)
    seed = case.run.seed if values.seed is None else values.seed
    if values.file is not None:
        return _from_file(case, key, Path(values.file), shapes)
    # Drawn together, so that no two numbers are alike.
    ends = [*accumulate(map(math.prod, shapes.values()))]
    match values.kind:
        case "uniform":
            flat = draws.uniform(seed, key, ends[-1], uniform_bound)
        case "probe":
            flat = draws.probe(seed, key, ends[-1], probe_bound)
        case kind:
            flat = np.full(ends[-1], 1.0 if kind == "ones" else 0.0)
    parts = np.split(by_rows(lambda rows: flat[rows] * values.scale, flat), ends[:-1])
    arrays = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    for array in (arrays[name] for name in ("x", "enc") if name in arrays):
        for t in values.zero_timesteps:
            if t >= len(array):
                where = f"case {case.name}, [run] {key}: zero_timesteps has {t}"
                raise CaseError(f"{where}, beyond the last timestep: allowed are 0 to {len(array) - 1}.")
            array[t] = 0
    return arrays


def _from_file(case: Case, key: str, path: Path, shapes: Shapes) -> Arrays:
    arrays = load_arrays(path)
    where = f"case {case.name}, [run] {key}: {path}"
    missing = [name for name in shapes if name not in arrays]
    if missing:
        raise CaseError(
            f"{where} lacks {', '.join(missing)}. It holds: {', '.join(sorted(arrays)) or 'nothing'}; "
            f"needed: {', '.join(shapes)}."
        )
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape:
            raise CaseError(f"{where}: {name} has shape {array.shape}, and the case needs {shape}.")
        if array.dtype != dtype_of(case.run.dtype):
            raise CaseError(f"{where}: {name} is {array.dtype}, and the case computes in {case.run.dtype}.")
    return {name: arrays[name] for name in shapes}
