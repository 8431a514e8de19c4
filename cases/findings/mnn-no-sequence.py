"""Exits 1 where it shows: an LSTM over no sequence fails."""

import subprocess
import sys
import tempfile

import MNN
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SLOTS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
FED = ("X", "sequence_lens", "initial_h", "initial_c")
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int32": TensorProto.INT32}


def run(model, arrays):
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/lstm.onnx")
        words = ["", "-f", "ONNX", "--modelFile", f"{folder}/lstm.onnx", "--MNNModel", f"{folder}/lstm.mnn"]
        code = f"import _tools; _tools.mnnconvert({words + ['--bizCode', '']})"
        subprocess.run([sys.executable, "-c", code], capture_output=True)
        ends = ([end.name for end in ends] for ends in (model.graph.input, model.graph.output))
        lstm = MNN.nn.load_module_from_file(f"{folder}/lstm.mnn", *ends)
    given = [MNN.expr.const(array.ravel().tolist(), list(array.shape), MNN.expr.NCHW) for array in arrays.values()]
    return [output.read().copy() for output in lstm.forward(given)]


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
try:
    print(lstm(ONE, {"X": np.zeros((1, 0, 1), np.float32)}, ["Y", "Y_h", "Y_c"]))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(1)
