"""The loop of the question Lockstep was born from, put right: each step starts from the state of the one before.

Checked by ``lockstep check cases/ports/carried_loop.py:port``.
``broken_loop.py`` beside it is the same loop, as its author wrote it.
"""

import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1


def port(x, weights, h0, c0):
    """Run ``BasicLSTMCell`` over x (T, B, I); give h and c, each (T, B, H)."""
    kernel, bias = as_the_cell_stores_them(**weights)
    with tf.Graph().as_default(), tf1.Session() as session:
        lstm_cell = tf1.nn.rnn_cell.BasicLSTMCell(h0.shape[1], forget_bias=1.0, dtype=x.dtype)
        state = tf1.nn.rnn_cell.LSTMStateTuple(c=tf.constant(c0), h=tf.constant(h0))
        outputs, memories = [], []
        for x_t in tf.unstack(tf.constant(x)):
            output, state = lstm_cell(x_t, state)
            outputs.append(output)
            memories.append(state.c)

        session.run([tf1.assign(*pair) for pair in zip(lstm_cell.trainable_variables, (kernel, bias), strict=True)])
        return session.run((tf.stack(outputs), tf.stack(memories)))


def as_the_cell_stores_them(W, R, b):
    """Give canonical weights as one kernel (I + H, 4H) and a bias (4H,), gates i, j, f, o; j is g."""
    i, f, g, o = np.split(np.hstack([W, R]), 4)
    kernel = np.vstack([i, g, f, o]).T
    i, f, g, o = np.split(b, 4)
    # The cell adds forget_bias = 1.0 at run time; b has it inside, and it would count twice.
    return kernel, np.concatenate([i, g, f - 1, o])
