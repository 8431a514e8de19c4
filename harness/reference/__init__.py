"""The reference: whatever a case can ask for, in extended arithmetic, with the variance of rounding."""

from lockstep.harness.cases.tensors import turned
from lockstep.harness.reference.attention import RIGHT_DECODER, DecoderWay, expect_decoder, expect_decoder_steps
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.network import RIGHT, Way, backward, expect_network, expect_steps, forward

__all__ = [
    "RIGHT",
    "RIGHT_DECODER",
    "DecoderWay",
    "Expected",
    "ExpectedTensor",
    "Way",
    "backward",
    "expect",
    "expect_decoder",
    "expect_decoder_steps",
    "expect_network",
    "expect_steps",
    "forward",
    "turned",
]
