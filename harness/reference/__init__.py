"""The reference: any LSTM that a case can ask for, in extended arithmetic, with the variance of rounding."""

from harness.reference.expected import Expected, ExpectedTensor
from harness.reference.network import RIGHT, Way, backward, expect, expect_steps, forward
from harness.reference.turn import turned

__all__ = ["RIGHT", "Expected", "ExpectedTensor", "Way", "backward", "expect", "expect_steps", "forward", "turned"]
