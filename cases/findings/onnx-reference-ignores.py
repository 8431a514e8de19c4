"""Exits 1 where it shows: an output past a sequence's end is not 0."""

import sys

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

names = ["X", "W", "R", "B", "sequence_lens"]
shapes = [(2, 1, 1), (1, 4, 1), (1, 4, 1), (1, 8), (1,)]
kinds = [TensorProto.FLOAT] * 4 + [TensorProto.INT32]
node = helper.make_node("LSTM", names, ["Y"], hidden_size=1)
inputs = [helper.make_tensor_value_info(*each) for each in zip(names, kinds, shapes)]
output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (2, 1, 1, 1))
model = helper.make_model(helper.make_graph([node], "lstm", inputs, [output]))
arrays = {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes)}
arrays["sequence_lens"] = np.array([1], np.int32)
(Y,) = ReferenceEvaluator(model).run(None, arrays)
print("the sequence ends after timestep 0, and Y at timestep 1 is", Y[1, 0, 0, 0])
sys.exit(Y[1, 0, 0, 0] != 0)
