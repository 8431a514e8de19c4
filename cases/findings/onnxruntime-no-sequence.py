"""Ends the process where it shows: a batch of no sequence."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

names, shapes = ["X", "W", "R"], [(1, 0, 1), (1, 4, 1), (1, 4, 1)]
node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes)]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 1, 0, 1))
graph = helper.make_graph([node], "lstm", inputs, [output])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(Y,) = session.run(None, {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes)})
print("Y has shape", Y.shape)
