"""A port of a TF1 graph that agrees as it stands: put your own graph into it, and check it again.

lockstep check port_tf1_plain.py:port
"""

import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

tf1 = tf.compat.v1
# Weights come as a TF1 cell stores them: kernel (I + H, 4H), bias (4H,), gates i, g (j), f, o, without the forget bias
# of 1.0 that the cell adds when it runs.
LOCKSTEP = {"layout": "tf1"}


def build(x, h0, c0, lengths):
    """The graph over x (T, B, I) from h0 and c0 (B, H): h of all timesteps, and the last c."""
    # YOUR LSTM HERE: what makes your graph. Past a sequence's length h is 0, and the state stays what it was.
    cell = tf1.nn.rnn_cell.BasicLSTMCell(h0.shape[1], forget_bias=1.0, dtype=x.dtype)
    state = tf1.nn.rnn_cell.LSTMStateTuple(c=c0, h=h0)
    h_seq, final = tf1.nn.dynamic_rnn(cell, x, initial_state=state, sequence_length=lengths, time_major=True)
    return h_seq, final.c


def port(x, weights, h0, c0, lengths=None):
    """Build the graph, load the weights into its variables, and run it."""
    with tf.Graph().as_default(), tf1.Session() as session:
        results = build(tf.constant(x), tf.constant(h0), tf.constant(c0), lengths)
        for variable in tf1.global_variables():
            name = variable.op.name.rpartition("/")[2]  # rnn/basic_lstm_cell/kernel, for example
            session.run(tf1.assign(variable, weights[name]))
        return session.run(results)
