"""A trace: what one backend gave for one problem, at every timestep it exposes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from harness.array_file import load_safetensors, save_safetensors
from harness.case import Case
from harness.errors import TraceError
from harness.problem import Problem

Array = NDArray[Any]

# In the order in which one timestep computes them. Final states come after the last timestep.
PER_TIMESTEP = ("i", "f", "g", "o", "c", "h")  # (T, B, H)
FINAL = ("c_n", "h_n")  # (B, H)
TENSORS = PER_TIMESTEP + FINAL


class Parameter(Struct, frozen=True):
    """A variable that a framework created: its name there, and its shape."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """Named arrays, time first; ``None`` is what the framework does not expose.

    Past a sequence's length ``h`` and the gates are 0, ``c`` stays what it was, and the final states
    are those of the last valid timestep.
    """

    h: Array | None = None  # (T, B, H)
    c: Array | None = None  # (T, B, H)
    i: Array | None = None  # (T, B, H), after its sigmoid, like f and o
    f: Array | None = None
    g: Array | None = None  # after its tanh
    o: Array | None = None
    h_n: Array | None = None  # (B, H)
    c_n: Array | None = None  # (B, H)
    parameters: tuple[Parameter, ...] = ()
    device: str = "cpu"
    seconds: dict[str, float] = field(default_factory=dict)  # "build" and "run"

    def tensors(self) -> dict[str, Array]:
        """Give the arrays that are there, in order of computation."""
        return {name: getattr(self, name) for name in TENSORS if getattr(self, name) is not None}


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
    T, B, _, H = case.shape
    tensors = trace.tensors()
    if not tensors:
        raise TraceError("the trace holds no tensor: nothing could be compared")
    for name, array in tensors.items():
        shape = (B, H) if name in FINAL else (T, B, H)
        if not isinstance(array, np.ndarray):
            raise TraceError(f"{name} is a {type(array).__name__}, expected a NumPy array of shape {shape}")
        if array.shape != shape:
            hint = ""
            if name not in FINAL and array.shape == (B, T, H):
                hint = ": batch-major? expected time first"
            raise TraceError(f"{name} has shape {array.shape}, expected {shape}{hint}")
        if array.dtype != np.dtype(case.run.dtype):
            raise TraceError(f"{name} is {array.dtype}, expected {case.run.dtype}")


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


_FORMAT = "1"


def save_trace(path: Path, trace: Trace, recorded: Recorded) -> None:
    """Write a trace as .safetensors."""
    metadata = {"lockstep": _FORMAT, "recorded": msgspec.json.encode(recorded).decode()}
    save_safetensors(path, trace.tensors(), metadata)


def load_trace(path: Path) -> tuple[Trace, Recorded]:
    """Read a trace and check it against its own case.

    Raises:
        TraceError: If the file is damaged, was not written by ``lockstep record``, or its problem
            cannot be made again as it was.
    """
    arrays, metadata = load_safetensors(path)
    if metadata.get("lockstep") != _FORMAT:
        found = metadata.get("lockstep", "none")
        raise TraceError(
            f"{path}: not a trace of format {_FORMAT} (found: {found}). Write one with: lockstep record CASE"
        )
    try:
        recorded = msgspec.json.decode(metadata.get("recorded", ""), type=Recorded)
    except msgspec.DecodeError as error:
        raise TraceError(f"{path}: its description cannot be read: {error}.") from error
    unknown = sorted(set(arrays) - set(TENSORS))
    if unknown:
        raise TraceError(f"{path}: unknown tensors {', '.join(unknown)}. Allowed: {', '.join(TENSORS)}.")
    trace = Trace(
        **arrays,  # type: ignore[arg-type]
        parameters=recorded.parameters,
        device=recorded.device,
        seconds=recorded.seconds,
    )
    try:
        check_trace(trace, recorded.case)
    except TraceError as error:
        raise TraceError(f"{path}: {error}.") from error
    return trace, recorded


def check_same_problem(recorded: Recorded, problem: Problem, path: Path) -> None:
    """Check that a trace was recorded from this very problem.

    Raises:
        TraceError: If it was recorded from other numbers.
    """
    if recorded.problem != problem.digest:
        raise TraceError(
            f"{path}: recorded from another case: its problem is {recorded.problem[:12]}, and case "
            f'"{problem.case.name}" makes {problem.digest[:12]}. Record it again, or name its own case.'
        )
