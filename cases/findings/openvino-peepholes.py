"""Exits 1 where it shows: other peepholes change nothing."""

import sys

import numpy as np
import openvino
from onnx import TensorProto, helper

names = ["X", "W", "R", "B", "", "initial_h", "initial_c", "P"]
shapes = [(1, 1, 1), (1, 4, 1), (1, 4, 1), (1, 8), (), (1, 1, 1), (1, 1, 1), (1, 3)]
node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes) if n]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 1, 1, 1))
graph = helper.make_graph([node], "lstm", inputs, [output])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU")
given = {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes) if name}
wanted = {name for port in compiled.inputs for name in port.names}
Y = [
    float(compiled({n: (p * a if n == "P" else a) for n, a in given.items() if n in wanted})[0].ravel()[0])
    for p in (0, 9)
]
print("with peepholes of 0 and of 9 Y is", Y)
sys.exit(Y[0] == Y[1])
