"""``tf_keras.layers.LSTM``, its weights assigned by name."""

import numpy as np
import tensorflow as tf
import tf_keras

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["keras"])
    layer = tf_keras.layers.LSTM(p.case.lstm.hidden_size, return_sequences=True, return_state=True)
    layer.build((p.x.shape[1], p.x.shape[0], p.x.shape[2]))
    names = [variable.name.split("/")[-1].removesuffix(":0") for variable in layer.weights]
    layer.set_weights([stored[name] for name in names])
    x, state = tf.constant(np.swapaxes(p.x, 0, 1)), [tf.constant(p.h0), tf.constant(p.c0)]
    h, h_n, c_n = (tensor.numpy() for tensor in layer(x, initial_state=state))
    return Trace(h=np.ascontiguousarray(np.swapaxes(h, 0, 1)), h_n=h_n, c_n=c_n)
