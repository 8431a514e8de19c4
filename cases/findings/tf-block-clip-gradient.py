"""Exits 1 where it shows: a cell state is held at 0.01, and yet has a gradient."""

import sys

import tensorflow as tf

c0 = tf.constant([[1.0]])
with tf.GradientTape() as tape:
    tape.watch(c0)
    _, cs, *_ = tf.raw_ops.BlockLSTM(
        seq_len_max=1, x=tf.ones((1, 1, 1)), cs_prev=c0, h_prev=tf.zeros((1, 1)), w=tf.ones((2, 4)),
        wci=tf.zeros(1), wcf=tf.zeros(1), wco=tf.zeros(1), b=tf.zeros(4), cell_clip=0.01,
    )  # fmt: skip
gradient = float(tape.gradient(cs, c0)[0, 0])
print("c is held at", float(cs[0, 0, 0]), "and its gradient to c0, which is 0, comes as", gradient)
sys.exit(gradient != 0)
