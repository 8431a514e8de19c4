"""A user's model file: what is read of it, in canonical form, and what readers of ``backends`` have in common.

A reader is a module that is found by an entry point of the group ``lockstep.models``, by the name of a kind of file:
``onnx``, ``keras``, ``python``, ``tf1``, ``safetensors``. It is a backend too (``harness.adapters.backend``, with the
same constants), which runs the one file that ``file_to_run`` gives, and has one more function:

    read(file, value) -> StoredModel    of a ModelFile; ``value`` is what a Python file's function returned, else None
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case, Values
from lockstep.harness.cases.gates import GATES, reorder
from lockstep.harness.cases.problem import Problem, Stack, Weights, digest_of, dtype_of, named_weights
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.errors import meant
from lockstep.harness.text import names_text, shape_text
from lockstep.harness.weights.dialect import FLOATS
from lockstep.harness.weights.layout import summed, with_forget_bias

MODEL_VARIABLE = "LOCKSTEP_MODEL"  # in a worker's environment: the file that it runs


class ModelError(Exception):
    """A file is no model that can be taken: one message, without the file's name, with what to do."""


class ModelFile(Struct, frozen=True):
    """Which file, and which LSTM in it."""

    name: str  # what it is called in results
    kind: str  # of its reader
    path: str  # absolute; of a checkpoint its prefix
    function: str = ""  # of a Python file
    prefix: str = ""  # of names in it, where it has several LSTMs
    forget_bias: float = 1.0  # added at run time, where the file's kind is of cells that do, and holds no settings
    digest: str = ""  # of the weights that were read first


@dataclass(frozen=True)
class StoredModel:
    """An LSTM network as a file holds it, its weights in canonical form."""

    lstm: LSTM
    weights: Stack
    what: str  # what it is, and of which framework's version
    gates: str = GATES  # the order in which the file stacks its gates
    halves: dict[str, tuple[Array, Array]] = field(default_factory=dict)  # two biases that were summed, by name of b
    notes: tuple[str, ...] = ()  # what else a user should know
    timesteps: int | None = None  # the only number it can be run with
    batch: int | None = None  # likewise
    from_zeros: bool = False  # it takes no initial state
    whole: bool = False  # it takes no lengths
    beside: bool = False  # whether there is more in the file than the LSTM, to be run with it
    runner: str = ""  # the backend that runs its weights, where the file holds nothing but weights
    unrunnable: str = ""  # why it cannot be run as it is
    more: Any = None  # the reader's own; it stays in its process

    @property
    def dtype(self) -> str:
        """The precision of its weights."""
        return self.weights[0][0].W.dtype.name

    def arrays(self) -> Arrays:
        """The weights by name."""
        return named_weights(self.lstm, self.weights)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256(digest_of(self.arrays()).encode())
        digest.update(repr(self.lstm).encode())  # not its JSON: whether defaults are left out of that goes by identity
        return digest.hexdigest()


def environment_of(file: ModelFile) -> tuple[str, str]:
    """The environment variable that names a file to the worker that runs it, and its value."""
    return MODEL_VARIABLE, msgspec.json.encode(file).decode()


def file_to_run() -> ModelFile:
    """The file that this worker runs."""
    return msgspec.json.decode(os.environ[MODEL_VARIABLE], type=ModelFile)


def check_same(model: StoredModel, file: ModelFile) -> None:
    """Refuse a file that gives other weights than were read of it first, by a RuntimeError."""
    if file.digest and model.digest != file.digest:
        raise RuntimeError(
            f"{file.name} gave other weights when it was read again: let it load them, or draw them from a seed of "
            "its own"
        )


def unfit_reason(model: StoredModel, case: Case) -> str | None:
    """Why a model cannot be run with a case's data as it is; None if it can."""
    T, B, _, _ = case.shape
    # Zeros may be written as another kind, scaled by 0.
    state = case.run.values("initial_state")
    from_zeros = state.kind == "zeros" or state.scale == 0
    reasons = {
        f"it computes in {model.dtype}, and the case in {case.run.dtype}": model.dtype != case.run.dtype,
        f"it takes {model.timesteps} timesteps, and the case has {T}": model.timesteps not in {None, T},
        f"it takes a batch of {model.batch}, and the case has one of {B}": model.batch not in {None, B},
        'it takes no initial state, and the case has one: set initial_state = "zeros"': model.from_zeros > from_zeros,
        "it takes no lengths, and the case has them": model.whole and case.run.lengths is not None,
        model.unrunnable: bool(model.unrunnable),
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds) or None


def fitted_case(case: Case, model: StoredModel) -> Case:
    """A case with data that a model can be run with as it is."""
    run = case.run
    run = replace(
        run,
        dtype=model.dtype,  # type: ignore[arg-type]
        timesteps=model.timesteps or run.timesteps,
        batch=model.batch or run.batch,
        initial_state=Values(kind="zeros") if model.from_zeros else run.initial_state,
    )
    return replace(case, run=run)


def with_own_weights(problem: Problem, model: StoredModel) -> Problem:
    """A problem with a model's weights, in the problem's dtype."""
    dtype = dtype_of(problem.case.run.dtype)
    rows = tuple(
        tuple(Weights(**{name: array.astype(dtype) for name, array in weights.arrays().items()}) for weights in row)
        for row in model.weights
    )
    return dataclasses.replace(problem, case=replace(problem.case, lstm=model.lstm), weights=rows)


@dataclass(frozen=True)
class LaneArrays:
    """The arrays of one lane as a file stores them, (4H, ·), and how it calls them."""

    W: Array
    R: Array
    biases: tuple[Array, ...]  # (4H,), none, one or two
    P: Array | None = None  # (P, H)
    p: Array | None = None  # (3, H), gates i, f, o
    names: tuple[str, str, str] = ("W", "R", "bias")
    where: str = ""  # begins each message


def canonical(lane: LaneArrays, gates: str, forget_bias: float = 0.0) -> tuple[Weights, tuple[Array, ...]]:
    """The arrays of one lane, gates stacked as in ``gates``, in canonical form; and its biases before they were summed.

    ``forget_bias`` is added to the stored bias at run time. A ModelError tells of arrays that do not fit together.
    """
    _check_lane(lane)
    W, R, *biases = (np.ascontiguousarray(reorder(array, gates)) for array in (lane.W, lane.R, *lane.biases))
    biases = biases or [np.zeros(len(W), W.dtype)]
    b = biases[0] if len(biases) == 1 else summed(*biases)
    b = with_forget_bias(b, forget_bias) if forget_bias else b
    P = None if lane.P is None else np.ascontiguousarray(lane.P)
    return Weights(W, R, b, P, lane.p), tuple(biases)


def _check_lane(lane: LaneArrays) -> None:
    W, R, bias = lane.names
    arrays = {W: lane.W, R: lane.R, "projection": lane.P, "peepholes": lane.p}
    arrays |= {bias if k == 0 else f"{bias}, the second": array for k, array in enumerate(lane.biases)}
    there = {name: array for name, array in arrays.items() if array is not None}
    _check_dtypes(there, lane.where)
    H = lane.R.shape[1] if lane.P is None else lane.P.shape[1]
    wanted = {W: (4 * H, "I"), R: (4 * H, "P" if lane.P is not None else H)}
    fits = (
        lane.W.ndim == lane.R.ndim == 2  # noqa: PLR2004
        and len(lane.W) == len(lane.R) == 4 * H > 0
        and all(bias.shape == (4 * H,) for bias in lane.biases)
        and (lane.P is None or lane.P.shape == (lane.R.shape[1], H))
        and (lane.p is None or lane.p.shape == (3, H))
    )
    if not fits:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in there.items())
        needed = ", ".join(f"{name} {shape_text(shape)}" for name, shape in wanted.items())
        raise ModelError(
            f"{lane.where}shapes do not fit together: {shapes}. With H = {H} an LSTM has {needed}, biases ({4 * H},)."
        )


def _check_dtypes(arrays: Arrays, where: str) -> None:
    for name, array in arrays.items():
        if array.dtype.name not in FLOATS:
            hint = ": quantised weights are not taken, export it in floating point" if array.dtype.kind in "iu" else ""
            raise ModelError(f"{where}{name} is {array.dtype}{hint}.")
    dtypes = {array.dtype.name for array in arrays.values()}
    if len(dtypes) > 1:
        raise ModelError(f"{where}its weights are of several dtypes: {', '.join(sorted(dtypes))}.")


def network(
    rows: Sequence[Sequence[Weights]], direction: str, names: Sequence[str], *, bias: bool, **settings: Any
) -> tuple[LSTM, Stack]:
    """Make a network of layers: canonical weights by layer, then direction, and what the file calls the layers.

    A ModelError tells of layers that do not fit on each other, or are of several sizes: a case has no place for them.
    """
    first = rows[0][0]
    lstm = LSTM(
        input_size=first.W.shape[1],
        hidden_size=len(first.W) // 4,
        num_layers=len(rows),
        direction=direction,  # type: ignore[arg-type]
        proj_size=0 if first.P is None else len(first.P),
        bias=bias,
        peephole=first.p is not None,
        **{"forget_bias": 0.0, **settings},
    )
    for layer, (row, name) in enumerate(zip(rows, names, strict=True)):
        for lane in row:
            sizes = (len(lane.W) // 4, lane.R.shape[1])
            if sizes != (lstm.hidden_size, lstm.output_size):
                raise ModelError(
                    f"its layers are of several sizes ({names[0]} has {lstm.hidden_size} units, {name} {sizes[0]}), "
                    f"and a case has one hidden_size: take one of them, by --model-prefix {name}."
                )
            if lane.W.shape[1] != lstm.input_size_of(layer):
                below = f"gets {lstm.input_size_of(layer)} from {names[layer - 1]}"
                raise ModelError(
                    f"shapes do not fit together: {name} takes an input of width {lane.W.shape[1]}, and "
                    f"{below if layer else 'its directions take one'}."
                )
    return lstm, tuple(tuple(row) for row in rows)


def check_alike(names: Sequence[str], settings: Sequence[dict[str, Any]]) -> None:
    """Refuse layers that have other settings than the first, by a ModelError."""
    for name, settings_of_one in zip(names, settings, strict=True):
        for key, value in settings_of_one.items():
            if value != settings[0][key]:
                raise ModelError(
                    f"its layers differ in {key} ({names[0]}: {settings[0][key]}, {name}: {value}), and a case has "
                    f"one: take one of them, by --model-prefix {name}."
                )


def halves_of(lstm: LSTM, biases: Iterable[tuple[Array, ...]]) -> dict[str, tuple[Array, Array]]:
    """Name the pairs of biases, in the order of lanes, where there are two."""
    named = zip((name_of("b", lane, lstm) for lane in lanes(lstm)), biases, strict=True)
    return {name: (arrays[0], arrays[1]) for name, arrays in named if len(arrays) == 2}  # noqa: PLR2004


def names_under(candidates: Sequence[str], prefix: str, what: str = "LSTM") -> list[str]:
    """The names that begin with a prefix, all where there is none; a ModelError if no name does."""
    kept = [name for name in candidates if name.startswith(prefix)]
    if candidates and not kept:
        guess = meant(prefix, candidates)
        raise ModelError(f'no {what} in it begins with "{prefix}".{guess} There are: {listed(candidates)}.')
    return kept


CHOOSE = "Choose one by what its name begins with"  # in the message on a file that has several LSTMs


def too_many(names: Sequence[str], what: str = "LSTMs") -> ModelError:
    """The error that tells that there are several, and how one is chosen."""
    return ModelError(f"it has {len(names)} {what}: {listed(names)}. {CHOOSE}, such as --model-prefix {names[0]}.")


def gru_refusal(where: str, variant: str) -> str:
    """Why a GRU is not taken, and what its two kinds are; ``variant`` says of which this one is."""
    return (
        f"{where} is a GRU: three gates and no cell state, another network than an LSTM, and this tool is about LSTMs. "
        "If GRUs are compared by other means: there are two kinds, whose weights have the same shapes and give other "
        "numbers. The reset gate scales what the recurrent kernel made of the state (linear_before_reset = 1 in ONNX, "
        "reset_after = True in Keras, always in torch and cuDNN), or the state before that (linear_before_reset = 0, "
        f"ONNX' default; reset_after = False; TF1's GRUCell). {variant[0].upper()}{variant[1:]}."
    )


MOST_TENSORS_LISTED = 12  # in a message: a model has hundreds


def listed(names: Iterable[str]) -> str:
    """Name some things, not hundreds."""
    return names_text([name or '""' for name in names], MOST_TENSORS_LISTED)
