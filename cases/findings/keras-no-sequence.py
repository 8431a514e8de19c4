"""Exits 1 where it shows: two arrays of no rows cannot be added."""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import tensorflow as tf

try:
    print(keras.ops.add(tf.ones((0, 2)), tf.ones((0, 2))))
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
    sys.exit(1)
