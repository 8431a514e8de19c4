"""A trace: what one backend gave for one problem, at every timestep it exposes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.array_file import load_safetensors, save_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import Shapes, dtype_of
from lockstep.harness.cases.tensors import KINDS, kind_of, natural_shapes, split, tensors_of
from lockstep.harness.errors import TraceError


class Parameter(Struct, frozen=True):
    """A variable that a framework created: its name there, its shape, and what reads it where that can be asked."""

    name: str
    shape: tuple[int, ...]
    read_by: str | None = None  # as ``lockstep variables`` tells it: how many operations, at which timesteps


class Trace:
    """Named arrays, time first; what the framework does not expose is left out.

    Per timestep: gates ``i``, ``f``, ``g``, ``o`` after their activations, ``c`` and ``h``, (T, B, H), with P for the
    width of h where it is projected. Past a sequence's length ``h`` and the gates are 0, ``c`` stays what it was, and
    the final states ``h_n`` and ``c_n`` (B, H) are those of the lane's last valid timestep: of the reverse direction
    timestep 0. Of several layers or directions these are the top layer's, directions side by side, and final states
    have an axis (layers x directions) in front; or each lane is given for itself, ``c_l0``, ``h_l1_reverse``.

    Gradients of sum(dh * h) + sum(dc * c_n): ``dx`` (T, B, I), ``dW``, ``dR``, ``db`` (and ``dP``, ``dp``) of each
    lane in canonical form, ``dh0``, ``dc0``; ``dW_t``, ``dR_t``, ``db_t`` are the contributions of each timestep,
    (T, ...). ``harness.cases.tensors`` lists all names.

    Of an attention decoder, per step: ``c``, ``h`` (T, B, H), ``scores`` and ``attention`` (T, B, S), 0 past a source's
    length, ``context`` (T, B, E), ``y`` (T, B, A), ``logit`` (T, B, O); ``enc`` (S, B, E) where it has an encoder; and
    the gradients of sum(dy * y) + sum(dlogit * logit) by the names of what they belong to (``dW_tilde``, ``denc`` ...).
    """

    def __init__(
        self,
        *,
        parameters: tuple[Parameter, ...] = (),
        device: str = "cpu",
        seconds: dict[str, float] | None = None,
        quantised: str | None = None,
        **arrays: Array | None,
    ) -> None:
        """Take arrays by name; None is the same as left out."""
        self.arrays: Arrays = {name: array for name, array in arrays.items() if array is not None}
        self.parameters, self.device = parameters, device
        self.seconds = seconds or {}  # "build" and "run"
        self.quantised = quantised  # in which few bits numbers were stored, of harness.reference.noise.QUANTISATIONS

    def __getattr__(self, name: str) -> Array | None:
        """An array by its name, None where it is not exposed."""
        if name.startswith("_") or kind_of(name) not in KINDS:
            raise AttributeError(f"a trace has no {name!r}")
        # Not self.arrays: while a trace is unpickled there is none, and asking for it would end here again.
        return self.__dict__.get("arrays", {}).get(name)

    def tensors(self, case: Case | None = None) -> Arrays:
        """The arrays that are there, in order of computation; those of several lanes taken apart for a case."""
        if case is not None:
            return split(self.arrays, case)
        return dict(sorted(self.arrays.items(), key=lambda item: KINDS.index(kind_of(item[0]))))

    def replaced(self, **changes: Any) -> Trace:
        """The trace with other arrays or facts."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in FACTS}
        return Trace(**{**facts, **self.arrays, **changes})


FACTS = ("parameters", "device", "seconds", "quantised")  # that a trace has beside its arrays


class Stopwatch:
    """Times the parts of a backend's run: ``with stopwatch("build"): ...``."""

    def __init__(self) -> None:
        """Start with no part timed."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time of the ``with`` block to ``part``."""
        start = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start


def check_trace(trace: Trace, case: Case) -> None:
    """Check that a trace has the form that its case asks for.

    Raises:
        TraceError: If it is empty, or a tensor has another type, shape or dtype than it must.
    """
    if not trace.arrays:
        raise TraceError("the trace contains no tensor: nothing could be compared")
    natural, allowed = _shapes_of(case)
    dtype = dtype_of(case.run.dtype)
    for name, array in trace.arrays.items():
        shape = natural.get(name) or allowed.get(name)
        if shape is None:
            raise TraceError(f"{name} is not a tensor of this case. Allowed: {', '.join([*natural, *allowed])}")
        if not isinstance(array, np.ndarray):
            raise TraceError(f"{name} is a {type(array).__name__}, expected a NumPy array of shape {shape}")
        if array.shape != shape:
            hint = ""
            if len(shape) == 3 and array.shape == (shape[1], shape[0], shape[2]):  # noqa: PLR2004
                hint = ": batch-major? expected time first"
            raise TraceError(f"{name} has shape {array.shape}, expected {shape}{hint}")
        if array.dtype != dtype:
            raise TraceError(f"{name} is {array.dtype}, expected {case.run.dtype}")
    for name in natural:
        if name in trace.arrays and split({name: trace.arrays[name]}, case).keys() & trace.arrays.keys():
            raise TraceError(f"{name} is given for all lanes at once and for one of them")


@lru_cache(maxsize=16)
def _shapes_of(case: Case) -> tuple[Shapes, Shapes]:
    """Those of tensors of all lanes at once, and of each that the case can be asked for."""
    return natural_shapes(case), {name: tensor.shape for name, tensor in tensors_of(case).items()}


class Recorded(Struct, frozen=True):
    """What is kept beside the arrays of a trace on disk."""

    case: Case
    problem: str  # digest
    backend: str
    parameters: tuple[Parameter, ...]
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    environment: dict[str, Any]
    repeatable: bool | None = None
    quantised: str | None = None


_FORMAT = "1"  # of recorded files


def save_trace(path: Path, trace: Trace, recorded: Recorded) -> None:
    """Write a trace as .safetensors."""
    metadata = {"lockstep": _FORMAT, "recorded": msgspec.json.encode(recorded).decode()}
    save_safetensors(path, trace.arrays, metadata)


def load_trace(path: Path) -> tuple[Trace, Recorded]:
    """Read a trace and check it against its own case.

    Raises:
        TraceError: If the file is damaged, was not written by ``lockstep record``, or its problem
            cannot be made again as it was.
    """
    arrays, metadata = load_safetensors(path)
    written = metadata.get("lockstep", "none")
    if written != _FORMAT:
        raise TraceError(
            f"{path}: not a trace of format {_FORMAT} (found: {written}). Write one with: lockstep record CASE"
        )
    try:
        recorded = msgspec.json.decode(metadata.get("recorded", ""), type=Recorded)
        facts = {name: getattr(recorded, name) for name in FACTS}
        trace = Trace(**{**facts, **arrays})
        check_trace(trace, recorded.case)
    except msgspec.DecodeError as error:
        raise TraceError(f"{path}: its description cannot be read: {error}.") from error
    except TraceError as error:
        raise TraceError(f"{path}: {error}.") from error
    return trace, recorded


def check_same_problem(recorded: Recorded, problem: AnyProblem, path: Path) -> None:
    """Refuse a trace that was recorded from other numbers than a problem's, by a TraceError."""
    if recorded.problem != problem.digest:
        raise TraceError(
            f"{path}: recorded from another case: its problem is {recorded.problem[:12]}, and case "
            f'"{problem.case.name}" makes {problem.digest[:12]}. Record it again, or name its own case.'
        )


def same(first: Arrays, second: Arrays) -> bool:
    """Whether two sets of tensors have the same names and the same numbers."""
    alike = (np.array_equal(array, second[name], equal_nan=True) for name, array in first.items())
    return first.keys() == second.keys() and all(alike)


def close(first: Arrays, second: Arrays) -> bool:
    """Whether two sets of tensors differ by no more than rounding may."""
    pairs = ((array.astype(np.float64), second[name].astype(np.float64)) for name, array in first.items())
    # Far above what another order of sums does in float32.
    alike = (np.allclose(*pair, rtol=1e-4, atol=1e-5, equal_nan=True) for pair in pairs)
    return first.keys() == second.keys() and all(alike)
