"""Runs a problem of any form with edits: values alone, or with noise as ``reference`` gives them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.causes.decoder_run import DecoderRun
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.network_run import NetworkRun, TensorCallback
from lockstep.harness.causes.stream_run import StreamRun
from lockstep.harness.causes.tape import NodeTape
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import COMMON, Noise
from lockstep.harness.reference.spread import copies_of, covering


def expected_with(
    problem: AnyProblem, edits: Edits, wanted: set[str] | None = None, observed: Arrays | None = None
) -> Expected:
    """Every wanted tensor with its noise; all of them if none are named.

    ``observed`` has h and c (T, B, H) of a plain layer: then each step starts from these, which count as exact, so that
    no network amplifies what one step may round.
    """
    noise = Noise.of(problem.case.run.dtype)
    run = _run(problem, edits, NodeTape(noise, noisy=True, records=_goes_back(problem, wanted)), None, wanted)
    run.observed = observed
    with np.errstate(all="ignore"):
        tensors = {
            name: ExpectedTensor.of(value, value * 0 if variance is None else variance, noise)
            for name, (value, variance) in run.go().items()
        }
    if not edits.first_sequence:
        return tensors
    right = expected_with(problem, Edits(), wanted, observed)
    return {name: _of_rows(right[name], tensor, edits.first_sequence, problem) for name, tensor in tensors.items()}


def _of_rows(right: ExpectedTensor, edited: ExpectedTensor, first: int, problem: AnyProblem) -> ExpectedTensor:
    """The sequences before the first as they should be: none takes part in another's."""
    parts = (_rows(getattr(right, part), getattr(edited, part), first, problem) for part in ("value", "noise", "rest"))
    return replace(edited, **dict(zip(("value", "noise", "rest"), parts, strict=True)))


def _rows(right: Array, edited: Array, first: int, problem: AnyProblem) -> Array:
    batch = problem.case.run.batch
    if edited.ndim < 2 or edited.shape[-2] != batch:  # noqa: PLR2004
        raise NoPlaceError
    return np.where((np.arange(batch) >= first)[:, None], edited, right)


def widened_with(problem: AnyProblem, edits: Edits, expected: Expected) -> Expected:
    """What ``expected_with`` gave, with noise that covers the spread of perturbed copies, as the reference has it.

    Copies are run one by one, each put off throughout: an edit then meets the shapes that it is written for.
    """
    noise, names = Noise.of(problem.case.run.dtype), set(expected)
    count = copies_of(problem)
    if not count:
        return expected
    if edits.first_sequence:
        right = widened_with(problem, Edits(), expected)
        edited = widened_with(problem, replace(edits, first_sequence=0), expected)
        return {name: _of_rows(right[name], edited[name], edits.first_sequence, problem) for name in expected}
    # Distances are from what the edits give exactly, not from the reference: it is their noise.
    exact = values_with(problem, edits, names)
    squares = {name: np.zeros_like(value) for name, value in exact.items()}
    # Always the same seed: a verdict is not to depend on the day.
    rng = np.random.Generator(np.random.Philox(0))
    for _ in range(count):
        tape = NodeTape(noise, noisy=True, records=_goes_back(problem, names), kick=CopyKicks(rng))
        for name, (value, _) in _run(problem, edits, tape, None, names).go().items():
            squares[name] += np.square(value - exact[name])
    return {name: covering(tensor, np.sqrt(squares[name] / count)) for name, tensor in expected.items()}


class CopyKicks:
    """Puts the values of one copy off by roundings, part of which is the same throughout."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Take where random numbers come from."""
        self._rng = rng
        self._fixed: dict[tuple[int, ...], float] = {}

    def __call__(self, value: Array, variance: Array) -> Array:
        """A value put off by a rounding of that variance."""
        # Part of it is alike throughout a copy, as an own way of rounding is; shapes tell kinds of values apart.
        if value.shape not in self._fixed:
            self._fixed[value.shape] = float(self._rng.standard_normal())
        fresh = self._rng.standard_normal(value.shape)
        return value + (np.sqrt(COMMON) * self._fixed[value.shape] + np.sqrt(1 - COMMON) * fresh) * np.sqrt(variance)


class RunWatcher(Protocol):
    """Told of tensors and timesteps as soon as they are there; may end the run by raising."""

    def tensor(self, name: str, value: Array) -> None:
        """A whole tensor."""

    def step(self, name: str, t: Any, value: Array) -> None:
        """One timestep of one: its rows, or which one of each sequence."""


def values_with(
    problem: AnyProblem,
    edits: Edits,
    wanted: set[str] | None = None,
    watcher: RunWatcher | None = None,
    base: NetworkRun | None = None,
    observed: Arrays | None = None,
) -> Arrays:
    """Every wanted tensor, values alone.

    Args:
        problem: What is run.
        edits: What is done otherwise.
        wanted: Names of tensors; all of them if left out.
        watcher: Told of each.
        base: What ``base_of`` gave, for wanted tensors that go forward.
        observed: As of ``expected_with``.
    """
    if edits.first_sequence:
        part = edits.first_sequence
        edits = replace(edits, first_sequence=0)
        values, right = (values_with(problem, e, wanted, observed=observed) for e in (edits, Edits()))
        values = {name: _rows(right[name], value, part, problem) for name, value in values.items()}
        if watcher is not None:
            for name, value in values.items():
                watcher.tensor(name, value)
        return values
    noise = Noise.of(problem.case.run.dtype)
    tape = NodeTape(noise, noisy=False, records=_goes_back(problem, wanted))
    watch = None if watcher is None else watcher.tensor
    run = _run(problem, edits, tape, watch, wanted, base)
    run.watch_step = None if watcher is None else watcher.step
    run.observed = observed
    return {name: value for name, (value, _) in run.go().items()}


def base_of(problem: AnyProblem) -> NetworkRun | None:
    """A run without edits, from which lanes are taken that no edit reaches; None for a decoder, and for pieces."""
    # What a piece starts from is edited with all before it.
    if isinstance(problem, DecoderProblem) or problem.case.run.chunks is not None:
        return None
    forward = {name for name in tensors_of(problem.case) if not name.startswith("d")}
    run = NetworkRun(
        problem, Edits(), NodeTape(Noise.of(problem.case.run.dtype), noisy=False, records=False), None, forward
    )
    run.go()
    return run


def _goes_back(problem: AnyProblem, wanted: set[str] | None) -> bool:
    has = problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh
    return has is not None and (wanted is None or any(name.startswith("d") for name in wanted))


def _run(
    problem: AnyProblem,
    edits: Edits,
    tape: NodeTape,
    watch: TensorCallback | None,
    wanted: set[str] | None,
    base: NetworkRun | None = None,
) -> NetworkRun | StreamRun | DecoderRun:
    if isinstance(problem, DecoderProblem):
        return DecoderRun(problem, edits, tape, watch, wanted)
    if problem.case.run.chunks is not None:
        return StreamRun(problem, edits, tape, watch, wanted)
    return NetworkRun(problem, edits, tape, watch, wanted, base)
