"""Deviations of networks, gradients and decoders, matched with observations.

First those of a few lists, whose names docs and tests know; then all of the algebra (``explain_causes``).
"""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis import explain_causes
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.decoder_faults import DecoderFault, decoder_faults
from lockstep.harness.faults.fault import Variation
from lockstep.harness.faults.network_faults import variations
from lockstep.harness.reference.noise import LIMIT_SIGMA

AMPLIFIED = 100  # times the limit: up to there it is looked whether rounding is amplified


def explain(observations: Sequence[Observation], limit: float = LIMIT_SIGMA) -> list[Diagnosis]:
    """Find the variations under which the reference reproduces all that was observed; the plainest first.

    Observations in which something diverges decide; those that agree must be reproduced too.
    """
    wrong = [
        observation for observation in observations if not observation.distance(observation.expected, None) <= limit
    ]
    if not wrong:
        return []
    wrong.sort(key=lambda observation: sum(array.size for array in observation.tensors.values()))
    held: list[tuple[Variation | DecoderFault, float]] = []
    decoder = isinstance(wrong[0].problem, DecoderProblem)
    observations = [
        observation for observation in observations if isinstance(observation.problem, DecoderProblem) == decoder
    ]
    for variation in decoder_faults() if decoder else variations():
        sigma = _sigma_of_variation(variation, wrong[0], limit)
        if sigma is None or not sigma <= limit:
            continue
        others = [
            _sigma_of_variation(variation, observation, limit)
            for observation in observations
            if observation is not wrong[0]
        ]
        if all(sigma is not None and sigma <= limit for sigma in others):
            held.append((variation, max([sigma, *filter(None, others)])))
    if not held:
        return explain_causes.explain(observations, limit)
    names = [variation.name for variation, _ in held]
    cases = ", ".join(observation.problem.case.name for observation in observations)
    return [
        Diagnosis(
            fault=variation.name,
            message=variation.message,
            fix=variation.fix,
            sigma=sigma,
            evidence=f"The reference with this mistake reproduces every number of {cases} to {sigma:.2g} sigma.",
            indistinguishable_from=[name for name in names if name != variation.name],
            family="attention" if decoder else "network",
            met=variation.met,
        )
        for variation, sigma in held
    ]


def confirmed(faults: set[str], observations: Sequence[Observation], limit: float = LIMIT_SIGMA) -> set[str]:
    """Those of some names that explain these observations too."""
    listed = {variation.name for variation in (*variations(), *decoder_faults())}
    found: set[str] = set()
    if faults & listed:
        found = {match.fault for match in explain(observations, limit)} & faults
    return found | explain_causes.holding(faults - listed, observations, limit)


def _sigma_of_variation(variation: Variation | DecoderFault, observation: Observation, limit: float) -> float | None:
    """The distance of what was observed from a variation; where it has no place, from the reference."""
    computed = variation.of(observation.problem)
    if computed is None:
        sigma = observation.distance(observation.expected, None)
        return sigma if sigma <= limit else None
    if not observation.tensors.keys() <= computed.keys():
        return None
    sigma = observation.distance(computed, None)
    if isinstance(variation, DecoderFault) and limit < sigma <= AMPLIFIED * limit:
        # Is it rounding that a decoder run so amplifies?
        sigma = observation.distance(variation.widened(observation.problem, computed), None)
    return sigma
