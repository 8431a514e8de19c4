"""Something that can be asked: a port or a backend, one answer for each problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.backend_process import Answer
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.problem import Problem
from lockstep.harness.faults.execution import GATES
from lockstep.harness.ports.port import LocalPort, Port, Reply


class Subject(Protocol):
    """An implementation that answers problems."""

    name: str
    two_biases: bool  # whether it is handed b as two biases

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """Give h, and c where it is returned, for each problem; None where it gave nothing."""
        ...


class PortSubject:
    """A user's port."""

    def __init__(self, port: Port | LocalPort, *, two_biases: bool = False) -> None:
        """Ask this port."""
        self.name, self.two_biases = port.name, two_biases
        self._port = port
        self.last: list[Reply] = []

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """Call the port once for each problem."""
        self.last = self._port.call(problems)
        return [None if reply.trace is None else reply.trace.tensors() for reply in self.last]


class BackendSubject:
    """A backend, in a worker."""

    def __init__(self, backend: BackendInfo, worker: Worker) -> None:
        """Ask this backend, which the worker serves."""
        self.name, self.two_biases = backend.name, False
        self._backend, self._worker = backend, worker
        self.last: list[Answer] = []

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """Run the backend once for each problem."""
        self.last = [self._worker.run(self._backend, problem) for problem in problems]
        return [None if answer.trace is None else _with_only_c(answer.trace.tensors()) for answer in self.last]


def _with_only_c(tensors: Arrays) -> Arrays:
    """Leave gates out; over one timestep the final c is the c of every timestep."""
    found = {name: array for name, array in tensors.items() if name not in GATES}
    if "c" not in found and "c_n" in found and "h" in found and len(found["h"]) == 1:
        found["c"] = found["c_n"][None]
    return found


def posed(
    W: Array,
    R: Array,
    b: Array,
    x: Array,
    h0: Array,
    c0: Array,
    lengths: Array | None = None,
    *,
    dtype: str = "float32",
    forget_bias: float = 1.0,
) -> Problem:
    """Make a problem of given arrays: W (4H, I), R (4H, H), b (4H,), x (T, B, I), h0 and c0 (B, H)."""
    T, B, I = x.shape
    case = Case(
        lstm=LSTM(input_size=I, hidden_size=h0.shape[1], forget_bias=forget_bias),
        run=Run(
            timesteps=T,
            batch=B,
            dtype=dtype,  # type: ignore[arg-type]
            lengths=None if lengths is None else tuple(int(length) for length in lengths),
        ),
        name="anatomy",
    )
    arrays = (np.array(a, dtype) for a in (W, R, b, x, h0, c0))
    return Problem.plain(case, *arrays, lengths=None if lengths is None else np.array(lengths, np.int64))
