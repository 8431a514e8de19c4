"""Exits 1 where it shows: an infinite cell state gives NaN."""

import sys

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

names = ["X", "W", "R", "B", "", "initial_h", "initial_c"]
shapes = [(1, 1, 1), (1, 4, 1), (1, 4, 1), (1, 8), None, (1, 1, 1), (1, 1, 1)]
given = {name: shape for name, shape in zip(names, shapes) if name}
node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in given.items()]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 1, 1, 1))
model = helper.make_model(helper.make_graph([node], "lstm", inputs, [output]))
arrays = {name: np.ones(shape, np.float32) for name, shape in given.items()}
arrays["initial_c"][:] = np.inf
(Y,) = ReferenceEvaluator(model).run(None, arrays)
print("without peepholes, of an infinite initial_c Y is", Y.ravel())
sys.exit(bool(np.isnan(Y).any()))
