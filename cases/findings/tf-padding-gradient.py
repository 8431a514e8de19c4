"""Exits 1 where it shows: what stands past a sequence's end reaches the gradients."""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
with tf.Graph().as_default():
    x = tf1.placeholder(tf.float32, (2, 2, 1))
    cell = tf1.nn.rnn_cell.BasicLSTMCell(1)
    h, _ = tf1.nn.dynamic_rnn(cell, x, sequence_length=[1, 2], time_major=True, dtype=tf.float32)
    gradient = tf1.gradients(h[0], x)[0]
    with tf1.Session() as session:
        session.run(tf1.global_variables_initializer())
        found = [session.run(gradient, {x: [[[1.0], [1.0]], [[padding], [1.0]]]})[0, 0, 0] for padding in (1.0, np.nan)]
print("with 1 and with NaN in the padding the gradient of the first input is", found)
sys.exit(bool(np.isnan(found[1])))
