"""Exits 1 where it shows: P and sequence_lens change nothing."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from iree import runtime
from iree.compiler.tools import compile_file
from onnx import TensorProto, helper, numpy_helper

SLOTS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
FED = ("X", "sequence_lens", "initial_h", "initial_c")
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int32": TensorProto.INT32}


def run(model, arrays):
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/lstm.onnx")
        program = Path(sys.executable).with_name("iree-import-onnx")
        subprocess.run([program, f"{folder}/lstm.onnx", "-o", f"{folder}/lstm.mlir"], check=True)
        compiled = compile_file(f"{folder}/lstm.mlir", input_type="onnx", target_backends=["llvm-cpu"])
    context = runtime.SystemContext(config=runtime.Config("local-sync"))
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, compiled))
    outputs = context.modules.module["lstm"](*arrays.values())
    return [output.to_host() for output in (outputs if isinstance(outputs, tuple) else [outputs])]


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
plain = lstm(ONE, X)
peepholes = lstm(ONE | {"P": np.full((1, 3), 9, np.float32)}, X)
short = lstm(ONE, X | {"sequence_lens": np.array([1], np.int32)}, ["Y_h"])
print("Y is", plain, "with peepholes", peepholes, "and Y_h after one step", short)
sys.exit(peepholes == plain and short[0][0] == plain[0][1])
