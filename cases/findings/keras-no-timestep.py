"""Exits 1 where it shows: an LSTM layer fails on sequences of no timestep."""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np

states = [np.ones((1, 1), "float32")] * 2
try:
    print(keras.layers.LSTM(1)(np.ones((1, 0, 1), "float32"), initial_state=states))
except Exception as error:
    print(type(error).__name__, str(error).split(chr(10) * 2)[1])
    sys.exit(1)
