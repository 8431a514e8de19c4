"""Exits 1 where it shows: an LSTM layer fails on sequences of no timestep."""

import sys

import tensorflow as tf
import tf_keras

try:
    print(tf_keras.layers.LSTM(1)(tf.ones((1, 0, 1)), initial_state=[tf.ones((1, 1))] * 2))
except Exception as error:
    print(type(error).__name__, str(error).split(chr(10) * 2)[1])
    sys.exit(1)
