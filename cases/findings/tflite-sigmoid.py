"""Exits 1 where it shows: the sigmoid of a large number is none."""

import sys

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter


@tf.function(input_signature=[tf.TensorSpec((3,), tf.float32)])
def sigmoid(x):
    return tf.sigmoid(x)


converter = tf.lite.TFLiteConverter.from_concrete_functions([sigmoid.get_concrete_function()])
interpreter = Interpreter(model_content=converter.convert())
interpreter.allocate_tensors()
x = np.array([1e20, 1e30, np.inf], np.float32)
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
interpreter.invoke()
y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
print("the sigmoid of", x.tolist(), "is", y.tolist())
sys.exit(bool(np.isnan(y).any()))
