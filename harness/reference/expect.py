"""What is expected of any problem: dispatch to the reference of its model."""

from __future__ import annotations

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.reference.attention import expect_decoder
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.network import expect_network


def expect(problem: AnyProblem, quantised: str | None = None) -> Expected:
    """Compute every value with the noise that rounding in the case's dtype can give it.

    ``quantised``: how implementations of a network store numbers, of ``harness.reference.noise.QUANTISATIONS``.

    Returns:
        Every tensor of ``harness.cases.tensors.tensors_of`` by name, in that order.
    """
    return expect_decoder(problem) if isinstance(problem, DecoderProblem) else expect_network(problem, quantised)
