"""Exits 1 where it shows: an input that is not a number gives numbers."""

import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

names, shapes = ["X", "W", "R", "B"], [(2, 1, 1), (1, 4, 1), (1, 4, 1), (1, 8)]
node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes)]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (2, 1, 1, 1))
graph = helper.make_graph([node], "lstm", inputs, [output])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
arrays = {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes)}
arrays["X"][0] = np.nan
(Y,) = session.run(None, arrays)
print("X is", arrays["X"].ravel(), "and Y is", Y.ravel())
sys.exit(bool(np.isfinite(Y).any()))
