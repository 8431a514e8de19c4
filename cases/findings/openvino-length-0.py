"""Exits 1 where it shows: Y_c of a sequence of length 0 is not its initial_c."""

import sys

import numpy as np
import openvino
from onnx import TensorProto, helper

names = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c"]
shapes = [(1, 2, 1), (1, 4, 1), (1, 4, 1), (1, 8), (2,), (1, 2, 1), (1, 2, 1)]
kinds = [TensorProto.FLOAT] * 4 + [TensorProto.INT32] + [TensorProto.FLOAT] * 2
node = helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=1)
inputs = [helper.make_tensor_value_info(*each) for each in zip(names, kinds, shapes)]
output = helper.make_tensor_value_info("Y_c", TensorProto.FLOAT, (1, 2, 1))
graph = helper.make_graph([node], "lstm", inputs, [output])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU")
arrays = {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes)}
arrays["sequence_lens"] = np.array([1, 0], np.int32)
Y_c = compiled(arrays)[0]
print("initial_c is 1, and Y_c of the sequence of length 0 is", Y_c[0, 1, 0])
sys.exit(Y_c[0, 1, 0] != 1)
