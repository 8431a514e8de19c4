"""TensorFlow's raw op ``LSTMBlockCell``, called eagerly in a loop.

One fused kernel for [x, h], gates i, c, f, o (c is g), one bias; forget bias 1 is added at run time, as by default, and
stored weights are without it. Layers, directions and lengths are the loop's. No gradient is registered for the op.
Source: TensorFlow documentation, ``tf.raw_ops.LSTMBlockCell``.
"""

from __future__ import annotations

import tensorflow as tf

from lockstep.backends import lanes, refusals, tf_block, tf_network
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("tensorflow",)
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf_block"

TF_BLOCK = DIALECTS["tf_block"]


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "TensorFlow's gradient registry has no entry for LSTMBlockCell": case.run.gradients,
        "LSTMBlockCell says of no sequence: cs_prev_tensor is empty": case.run.batch == 0,
    }
    return refusals.of(reasons, first=tf_block.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, and the final states.
    """
    stored = [store(weights.arrays(), TF_BLOCK) for _, weights in problem.lanes()]

    def forward(weights, x, h0, c0, ends):
        return tf_network.network(_lane, problem.case.lstm, weights, x, h0, c0, ends)

    return tf_network.run(problem, stored, TF_BLOCK, forward, forward)


def _lane(
    lstm: LSTM, weights: tf_network.Weights, lane: Lane, x, first: lanes.State, ends: lanes.Ends
) -> lanes.Tensors:
    arrays, settings = tf_block.weights_and_settings(weights, lstm.cell_clip, tf.zeros(lstm.hidden_size, x.dtype))

    def step(x_t, state: lanes.State) -> lanes.State:
        h, c = state
        out = tf.raw_ops.LSTMBlockCell(x=x_t, cs_prev=c, h_prev=h, **arrays, **settings)
        return out.h, out.cs

    valid, anew = tf_network.valid_steps(x, ends.lengths), tf_network.steps_anew(ends)
    return lanes.loop(
        step, tf.unstack(x), first, None if valid is None else tf.unstack(valid),
        anew=None if anew is None else tf.unstack(anew),
        reverse=lane.reverse, where=tf.where, zeros_like=tf.zeros_like, stack=tf.stack,
    )  # fmt: skip
