"""TF1's ``LSTMCell`` in ``dynamic_rnn``, batch first as by default; its variables are assigned by name."""

import numpy as np
import tensorflow as tf

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def unsupported(case):
    return None


def run(problem, cell_class=tf.compat.v1.nn.rnn_cell.LSTMCell):
    p, tf1 = problem, tf.compat.v1
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["tf1"])
    with tf.Graph().as_default(), tf1.Session() as session:
        cell = cell_class(p.case.lstm.hidden_size)  # forget_bias = 1.0 is its default
        state = tf1.nn.rnn_cell.LSTMStateTuple(c=tf.constant(p.c0), h=tf.constant(p.h0))
        h, last = tf1.nn.dynamic_rnn(cell, tf.constant(np.swapaxes(p.x, 0, 1)), initial_state=state)
        variables = {v.op.name.rpartition("/")[2]: v for v in cell.trainable_variables}
        assert set(variables) == set(stored)
        session.run([tf1.assign(variable, stored[name]) for name, variable in variables.items()])
        h, last = session.run([h, last])
    return Trace(h=np.ascontiguousarray(np.swapaxes(h, 0, 1)), h_n=last.h, c_n=last.c)
