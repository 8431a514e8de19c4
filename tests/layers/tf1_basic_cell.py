"""TF1's ``BasicLSTMCell``, as ``tf1_cell`` runs ``LSTMCell``."""

import tensorflow as tf
from layers import tf1_cell

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}

unsupported = tf1_cell.unsupported


def run(problem):
    return tf1_cell.run(problem, tf.compat.v1.nn.rnn_cell.BasicLSTMCell)
