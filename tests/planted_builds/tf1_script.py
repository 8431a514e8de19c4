"""A script of TensorFlow 1's days: it builds into the default graph while it is imported, with the old control flow."""

import tensorflow.compat.v1 as tf

tf.disable_v2_behavior()

x = tf.placeholder(tf.float32, (1, None, 3))
cell = tf.nn.rnn_cell.LSTMCell(3)
h, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
W = tf.Variable(tf.ones((3, 1)), name="W")
logits = tf.cond(tf.reduce_sum(state.h) > 0, lambda: tf.matmul(state.h, W), lambda: tf.zeros((1, 1)))
train = tf.train.AdamOptimizer().minimize(tf.reduce_sum(logits))


def build():
    x = tf.placeholder(tf.float32, (1, None, 3))
    for _ in range(2):
        with tf.variable_scope("scope", reuse=tf.AUTO_REUSE):
            x, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.LSTMCell(3), x, dtype=tf.float32)
            x = x + tf.Variable(tf.ones(3), name="b")
