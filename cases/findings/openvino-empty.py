"""Exits 1 where it shows: no timestep, and no sequence."""

import sys

import numpy as np
import openvino
from onnx import TensorProto, helper

for T, B in ((0, 1), (1, 0)):
    names, shapes = ["X", "W", "R"], [(T, B, 1), (1, 4, 1), (1, 4, 1)]
    node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes)]
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (T, 1, B, 1))
    graph = helper.make_graph([node], "lstm", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=7)
    try:
        compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU")
        print(compiled({n: np.ones(s, np.float32) for n, s in zip(names, shapes)})[0].shape)
    except Exception as error:
        print(f"{T} timesteps, {B} sequences:", type(error).__name__, str(error).strip().splitlines()[-1])
        sys.exit(1)
