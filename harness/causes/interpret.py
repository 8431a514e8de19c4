"""Runs a problem of any form with edits: values alone, or with noise as ``reference`` gives them."""

from __future__ import annotations

from typing import Any, Protocol

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.causes.decoder_run import DecoderRun
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.network_run import NetworkRun, Watch
from lockstep.harness.causes.tape import Tape
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise


def expected_with(problem: AnyProblem, edits: Edits, wanted: set[str] | None = None) -> Expected:
    """Every wanted tensor with its noise; all of them if none are named."""
    noise = Noise.of(problem.case.run.dtype)
    found = _run(problem, edits, Tape(noise, noisy=True, records=_goes_back(problem, wanted)), None, wanted).go()
    return {
        name: ExpectedTensor.of(value, value * 0 if variance is None else variance, noise)
        for name, (value, variance) in found.items()
    }


class Watcher(Protocol):
    """Told of tensors and timesteps as soon as they are there; may end the run by raising."""

    def tensor(self, name: str, value: Array) -> None:
        """A whole tensor."""

    def step(self, name: str, t: Any, value: Array) -> None:
        """One timestep of one: its rows, or which one of each sequence."""


def values_with(
    problem: AnyProblem,
    edits: Edits,
    wanted: set[str] | None = None,
    watcher: Watcher | None = None,
    base: NetworkRun | None = None,
) -> Arrays:
    """Every wanted tensor, values alone.

    Args:
        problem: What is run.
        edits: What is done otherwise.
        wanted: Names of tensors; all of them if left out.
        watcher: Told of each.
        base: What ``base_of`` gave, for wanted tensors that go forward.
    """
    noise = Noise.of(problem.case.run.dtype)
    tape = Tape(noise, noisy=False, records=_goes_back(problem, wanted))
    watch = None if watcher is None else watcher.tensor
    run = _run(problem, edits, tape, watch, wanted, base)
    run.watch_step = None if watcher is None else watcher.step
    return {name: value for name, (value, _) in run.go().items()}


def base_of(problem: AnyProblem) -> NetworkRun | None:
    """A run without edits, from which lanes are taken that no edit reaches; None for a decoder."""
    if isinstance(problem, DecoderProblem):
        return None
    forward = {name for name in tensors_of(problem.case) if not name.startswith("d")}
    run = NetworkRun(
        problem, Edits(), Tape(Noise.of(problem.case.run.dtype), noisy=False, records=False), None, forward
    )
    run.go()
    return run


def _goes_back(problem: AnyProblem, wanted: set[str] | None) -> bool:
    has = problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh
    return has is not None and (wanted is None or any(name.startswith("d") for name in wanted))


def _run(
    problem: AnyProblem,
    edits: Edits,
    tape: Tape,
    watch: Watch | None,
    wanted: set[str] | None,
    base: NetworkRun | None = None,
) -> NetworkRun | DecoderRun:
    if isinstance(problem, DecoderProblem):
        return DecoderRun(problem, edits, tape, watch, wanted)
    return NetworkRun(problem, edits, tape, watch, wanted, base)
