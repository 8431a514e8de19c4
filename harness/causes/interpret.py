"""Runs a problem of any form with edits: values alone, or with noise as ``reference`` gives them."""

from __future__ import annotations

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.causes.decoder_run import DecoderRun
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.network_run import Found, NetworkRun, Watch
from lockstep.harness.causes.tape import Tape
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise


def expected_with(problem: AnyProblem, edits: Edits, wanted: set[str] | None = None) -> Expected:
    """Every wanted tensor with its noise; all of them if none are named."""
    noise = Noise.of(problem.case.run.dtype)
    found = _run(problem, edits, Tape(noise, noisy=True, records=_goes_back(problem, wanted)), None, wanted)
    return {
        name: ExpectedTensor.of(value, value * 0 if variance is None else variance, noise)
        for name, (value, variance) in found.items()
    }


def values_with(
    problem: AnyProblem, edits: Edits, wanted: set[str] | None = None, watch: Watch | None = None
) -> Arrays:  # fmt: skip
    """Every wanted tensor, values alone; ``watch`` is told of each as soon as it is there, and may end the run."""
    noise = Noise.of(problem.case.run.dtype)
    found = _run(problem, edits, Tape(noise, noisy=False, records=_goes_back(problem, wanted)), watch, wanted)
    return {name: value for name, (value, _) in found.items()}


def _goes_back(problem: AnyProblem, wanted: set[str] | None) -> bool:
    has = problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh
    return has is not None and (wanted is None or any(name.startswith("d") for name in wanted))


def _run(problem: AnyProblem, edits: Edits, tape: Tape, watch: Watch | None, wanted: set[str] | None) -> Found:
    if isinstance(problem, DecoderProblem):
        return DecoderRun(problem, edits, tape, watch, wanted).go()
    return NetworkRun(problem, edits, tape, watch, wanted).go()
