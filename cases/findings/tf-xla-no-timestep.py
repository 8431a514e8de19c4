"""Exits 1 where it shows: a loop over no timestep is not compiled."""

import sys

import tensorflow as tf


@tf.function(jit_compile=True)
def total(x):
    found = tf.zeros(())
    for t in tf.range(x.shape[0]):
        found += x[t]
    return found


try:
    print(total(tf.zeros(0)))
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
    sys.exit(1)
