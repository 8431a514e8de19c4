"""Exits 1 where it shows: an open forget gate does not keep the cell state."""

import sys
import tempfile

import numpy as np
import onnx
import tract
from onnx import TensorProto, helper, numpy_helper

SLOTS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
FED = ("X", "sequence_lens", "initial_h", "initial_c")
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int32": TensorProto.INT32}


def run(model, arrays):
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/lstm.onnx")
        runnable = tract.onnx().load(f"{folder}/lstm.onnx").into_model().into_runnable()
    return [output.to_numpy() for output in runnable.run(list(arrays.values()))]


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


ONE = {"W": np.ones((1, 4, 1), np.float32), "R": np.ones((1, 4, 1), np.float32), "B": np.zeros((1, 8), np.float32)}
X = {"X": np.array([[[1.0]], [[-2.0]]], np.float32)}
weights = ONE | {"W": np.array([[[-1], [1], [1], [0]]], np.float32)}
X = {"X": np.full((1, 1, 1), 30, np.float32)}
first = {"initial_h": np.zeros((1, 1, 1), np.float32), "initial_c": np.ones((1, 1, 1), np.float32)}
Y_c = lstm(weights, X | first, ["Y", "Y_h", "Y_c"])[2][0]
print("with the input gate shut and the forget gate open a cell state of 1 becomes", Y_c)
sys.exit(abs(Y_c - 1) > 3e-7)
