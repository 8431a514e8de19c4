"""Exits 1 where it shows: a bidirectional LSTM with peepholes raises; without them it runs."""

import sys

import cv2
import numpy as np
from onnx import TensorProto, helper, numpy_helper

SLOTS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
FED = ("X", "sequence_lens", "initial_h", "initial_c")
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int32": TensorProto.INT32}


def run(model, arrays):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    for name, array in arrays.items():
        net.setInput(array, name)
    return [np.array(output) for output in net.forward([output.name for output in model.graph.output])]


def lstm(weights, fed, outputs=("Y",), **attributes):
    given = weights | fed
    slots = [name if name in given else "" for name in SLOTS]
    while not slots[-1]:  # blank names at the end count with some runtimes
        slots.pop()
    named = [name if name in outputs else "" for name in ("Y", "Y_h", "Y_c")]
    named = named[: named.index(outputs[-1]) + 1]
    node = helper.make_node("LSTM", slots, named, hidden_size=1, **attributes)
    kind = KINDS[fed["X"].dtype.name]
    inputs = [helper.make_tensor_value_info(n, KINDS[a.dtype.name], a.shape) for n, a in fed.items()]
    (T, B, _), D = fed["X"].shape, len(weights["W"])
    shapes = {"Y": (T, D, B, 1), "Y_h": (D, B, 1), "Y_c": (D, B, 1)}
    results = [helper.make_tensor_value_info(name, kind, shapes[name]) for name in outputs]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([node], "lstm", inputs, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return [output.ravel().tolist() for output in run(model, fed)]


ONE = {"W": np.ones((2, 4, 1), np.float32), "R": np.ones((2, 4, 1), np.float32), "B": np.zeros((2, 8), np.float32)}
fed = {"X": np.ones((1, 1, 1), np.float32)}
fed |= {name: np.zeros((2, 1, 1), np.float32) for name in ("initial_h", "initial_c")}
print("without peepholes Y is", lstm(ONE, fed, direction="bidirectional"))
try:
    print("with them it is", lstm(ONE | {"P": np.ones((2, 3), np.float32)}, fed, direction="bidirectional"))
except cv2.error as error:
    print("with them:", error)
    sys.exit(1)
