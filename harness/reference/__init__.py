"""The reference: whatever a case can ask for, in extended arithmetic, with the variance of rounding."""

from harness.reference.attention import RIGHT_DECODER, DecoderWay, expect_decoder, expect_decoder_steps
from harness.reference.expect import expect
from harness.reference.expected import Expected, ExpectedTensor
from harness.reference.network import RIGHT, Way, backward, expect_network, expect_steps, forward
from harness.reference.turn import turned

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
