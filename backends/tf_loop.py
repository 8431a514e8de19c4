"""TF1's LSTM cells called in a hand-written loop, the state threaded from step to step.

The right form of the loop in the question this project was born from: each layer and direction is such a loop, the
reverse one from the last timestep to the first. Every step calls the cell, which reads its variables anew: the
gradient by what one step has read is what that timestep adds to the gradient of the variable. Source: TensorFlow
2.21, ``tf.compat.v1.nn.rnn_cell``; cells and weights as ``backends.tf_cells`` says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from lockstep.backends import refusals, tf1_graph, tf_cells
from lockstep.backends.lanes import Ends, joined
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import name_of

REQUIRES = ("tensorflow", "tf_keras")
RESETS = True
MAIN = False
INSTALL = "lockstep-rnn[tf]"
# TF 2.16 and later offer the rnn cells through tf-keras only.
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"

tf1 = tf.compat.v1


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "a loop over no timestep calls no cell, which makes its variables when it is called": not case.run.timesteps
    }
    return refusals.of(reasons, first=tf_cells.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` and ``c`` of each layer and direction at every timestep, the final states, and gradients if they are
        asked for, those of weights by timestep too.
    """
    return tf1_graph.run(problem, _unroll)


class _Lane(NamedTuple):
    """What the loop of one lane gives, in order of time."""

    h: list[Any]  # (B, P) each
    c: list[Any]  # (B, H) each
    final: Any  # LSTMStateTuple


def _unroll(network: tf1_graph.Network) -> tf1_graph.Unrolled:
    n, lstm = network, network.lstm
    below, unrolled = tf.unstack(n.x), {}
    for layer in n.layers():
        for lane in layer:
            with tf1.variable_scope(name_of("for_loop", lane, lstm)):
                unrolled[lane] = _lane(n.cells[lane], below, n.states[lane], n.ends, reverse=lane.reverse)
        steps = zip(*(unrolled[lane].h for lane in layer), strict=True)
        below = [joined(lstm, parts, lambda side_by_side: tf.concat(side_by_side, 1)) for parts in steps]
    exposed = {name_of("c", lane, lstm): tf.stack(of_lane.c) for lane, of_lane in unrolled.items()}
    hidden = [lane for lane in unrolled if lane.layer < lstm.num_layers - 1 or lstm.merged]  # not in what it gives
    exposed |= {name_of("h", lane, lstm): tf.stack(unrolled[lane].h) for lane in hidden}
    final = {lane: of_lane.final for lane, of_lane in unrolled.items()}
    return tf1_graph.Unrolled(tf.stack(below), final, exposed, reads_each_step=True)


def _lane(cell: Any, x: list[Any], state: Any, ends: Ends, *, reverse: bool) -> _Lane:
    lengths = ends.lengths
    h, c, T = [], [], len(x)
    steps = range(T)[::-1] if reverse else range(T)
    for step, t in enumerate(steps):
        if step > 0:
            tf1.get_variable_scope().reuse_variables()
        valid = None if lengths is None else (t < lengths)[:, None]
        # Of what is not taken the gradient is 0, and 0 times NaN in the padding would be NaN.
        x_t = x[t] if valid is None else tf.where(valid, x[t], tf.zeros_like(x[t]))
        if ends.resets is not None:
            anew = ends.resets[t][:, None]
            state = tf.nest.map_structure(lambda old, anew=anew: tf.where(anew, tf.zeros_like(old), old), state)
        output, new_state = cell(x_t, state)
        if valid is not None:
            output = tf.where(valid, output, tf.zeros_like(output))
            new_state = tf.nest.map_structure(lambda new, old, v=valid: tf.where(v, new, old), new_state, state)
        state = new_state
        h.append(output)
        c.append(state.c)
    if reverse and lengths is not None:
        # Past a sequence's end the loop still held the first state; a trace has the last one there.
        c = [tf.where((t < lengths)[:, None], c_t, state.c) for t, c_t in zip(steps, c, strict=True)]
    return _Lane(h[::-1], c[::-1], state) if reverse else _Lane(h, c, state)
