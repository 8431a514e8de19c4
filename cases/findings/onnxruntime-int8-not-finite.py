"""Exits 1 where it shows: what stands in one sequence's padding decides what another sequence gives."""

import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

rng = np.random.default_rng(0)
weights = [numpy_helper.from_array(rng.uniform(-1, 1, (1, 8, 2)).astype("f"), name) for name in "WR"]
node = helper.make_node("LSTM", ["X", "W", "R", "", "lengths"], ["Y"], hidden_size=2)
X, lengths = (
    helper.make_tensor_value_info("X", TensorProto.FLOAT, (2, 2, 2)),
    helper.make_tensor_value_info("lengths", TensorProto.INT32, (2,)),
)
Y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, (2, 1, 2, 2))
graph = helper.make_graph([node], "lstm", [X, lengths], [Y], weights)
folder = tempfile.mkdtemp()
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
onnx.save(model, f"{folder}/plain.onnx")
quantize_dynamic(f"{folder}/plain.onnx", f"{folder}/int8.onnx", op_types_to_quantize=["LSTM"])
session = onnxruntime.InferenceSession(f"{folder}/int8.onnx", providers=["CPUExecutionProvider"])
x, given = rng.uniform(-1, 1, (2, 2, 2)).astype("f"), []
for padding in (0, np.inf):
    x[1, 1] = padding  # of the second sequence, past its end
    given.append(session.run(None, {"X": x, "lengths": np.array([2, 1], np.int32)})[0][0, 0, 0])
print("the first sequence begins with", given[0], "and, with infinity in the padding of the second, with", given[1])
sys.exit(not abs(given[0] - given[1]).max() <= 0.1)
