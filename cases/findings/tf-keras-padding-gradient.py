"""Exits 1 where it shows: what a mask excludes reaches the gradients."""

import sys

import numpy as np
import tensorflow as tf
import tf_keras

lstm, found = tf_keras.layers.LSTM(1), []
for padding in (1.0, np.nan):
    x = tf.constant([[[1.0], [padding]]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        h = lstm(x, mask=tf.constant([[True, False]]))
    found.append(float(tape.gradient(h, x)[0, 0, 0]))
print("with 1 and with NaN in what is masked the gradient of the first input is", found)
sys.exit(bool(np.isnan(found[1])))
