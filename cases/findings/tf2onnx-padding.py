"""Exits 1 where it shows: NaN in what a mask excludes reaches the output."""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import onnxruntime
import tf2onnx

x, mask = keras.Input((2, 1)), keras.Input((2,), dtype="bool")
model = keras.Model([x, mask], keras.layers.LSTM(1)(x, mask=mask))
converted, _ = tf2onnx.convert.from_keras(model)
print("nodes:", sorted({node.op_type for node in converted.graph.node}))
session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
names = [graph_input.name for graph_input in session.get_inputs()]
found = []
for padding in (1.0, np.nan):
    fed = [np.array([[[1.0], [padding]]], np.float32), np.array([[True, False]])]
    found.append(float(session.run(None, dict(zip(names, fed)))[0].ravel()[0]))
print("with 1 and with NaN in what is masked the output is", found)
sys.exit(bool(np.isnan(found[1])))
