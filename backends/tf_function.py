"""LSTM as a plain loop in a ``tf.function``, gradients by ``tf.GradientTape`` inside it.

Canonical equations and weights: the loop is that of ``backends.tf_step``. Source: TensorFlow documentation,
``tf.function``.
"""

from __future__ import annotations

from lockstep.backends import tf_step
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tensorflow",)
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2"}


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return None


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for.
    """
    return tf_step.run(problem, jit_compile=False)
