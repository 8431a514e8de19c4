"""Exits 1 where it shows: the gradient of a weight over no sequence is not 0."""

import sys

import tensorflow as tf

none, worst = tf.zeros((0, 4)), 0.0
for _ in range(200):
    used = [tf.random.normal((8, 16)) for _ in range(20)]  # memory that the next ones get
    del used
    w = tf.ones((8, 16))
    with tf.GradientTape() as tape:
        tape.watch(w)
        p = tf.zeros(4)
        out = tf.raw_ops.BlockLSTM(seq_len_max=tf.constant(2, tf.int64), x=tf.zeros((2, 0, 4)), cs_prev=none,
                                   h_prev=none, w=w, wci=p, wcf=p, wco=p, b=tf.zeros(16))  # fmt: skip
    worst = max(worst, float(tf.reduce_max(tf.abs(tape.gradient(out.h, w)))))
print("the gradient of w over no sequence is up to", worst)
sys.exit(worst != 0)
