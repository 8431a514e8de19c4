"""Exits 1 where it shows: a layer of a half precision cannot be built as it is by default."""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras

try:
    keras.layers.LSTM(2, dtype="bfloat16").build((1, 1, 1))
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
    sys.exit(1)
