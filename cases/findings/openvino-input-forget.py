"""Exits 1 where it shows: input_forget changes nothing."""

import sys

import numpy as np
import openvino
from onnx import TensorProto, helper

names = ["X", "W", "R", "B", "", "initial_h", "initial_c"]
shapes = [(1, 1, 1), (1, 4, 1), (1, 4, 1), (1, 8), (), (1, 1, 1), (1, 1, 1)]
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes) if n]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 1, 1, 1))
Y = []
for coupled in (0, 1):
    node = helper.make_node("LSTM", names, ["Y"], hidden_size=1, input_forget=coupled)
    graph = helper.make_graph([node], "lstm", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU")
    Y.append(float(compiled({n: np.ones(s, np.float32) for n, s in zip(names, shapes) if n})[0].ravel()[0]))
print("without and with input_forget Y is", Y)
sys.exit(Y[0] == Y[1])
