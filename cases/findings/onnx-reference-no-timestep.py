"""Exits 1 where it shows: no timestep."""

import sys

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

names, shapes = ["X", "W", "R"], [(0, 1, 1), (1, 4, 1), (1, 4, 1)]
node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes)]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (0, 1, 1, 1))
model = helper.make_model(helper.make_graph([node], "lstm", inputs, [output]))
try:
    print(ReferenceEvaluator(model).run(None, {n: np.ones(s, np.float32) for n, s in zip(names, shapes)}))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(1)
