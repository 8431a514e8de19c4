"""Exits 1 where it shows: tanh of a float64 array is a float32 one."""

import os
import sys

os.environ.update(KERAS_BACKEND="jax", JAX_ENABLE_X64="1")
import jax.numpy as jnp
import keras

found = keras.ops.tanh(jnp.ones(1, "float64")).dtype
print("keras.ops.tanh of float64 gives", found)
sys.exit(str(found) != "float64")
