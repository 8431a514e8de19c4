"""Exits 1 where it shows: the gradient of b against differences of the forward pass."""

import sys

import numpy as np
import tensorflow as tf


def loss(b):
    _, cs, *_ = tf.raw_ops.BlockLSTMV2(
        seq_len_max=1, x=tf.ones((1, 1, 1)), cs_prev=tf.constant([[0.5]]), h_prev=tf.zeros((1, 1)), w=tf.zeros((2, 4)),
        wci=tf.zeros(1), wcf=tf.zeros(1), wco=tf.zeros(1), b=b, cell_clip=-1.0,
    )  # fmt: skip
    return tf.reduce_sum(cs)


b = tf.constant([0.1, 0.2, 0.3, 0.4])
with tf.GradientTape() as tape:
    tape.watch(b)
    found = loss(b)
gradient = tape.gradient(found, b).numpy()
step = 1e-3 * np.eye(4, dtype=np.float32)
differences = np.array([float(loss(b + d) - loss(b - d)) for d in step]) / 2e-3
print("gradient", gradient, "differences", differences)
sys.exit(not np.allclose(gradient, differences, atol=1e-3))
