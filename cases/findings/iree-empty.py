"""Exits 1 where it shows: a Reshape of no elements is not compiled."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from iree.compiler.tools import compile_file
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node("Reshape", ["x", "shape"], ["y"])
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (0, 3, 1, 4))
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (0, 3, 4))
shape = numpy_helper.from_array(np.array([0, 3, 4]), "shape")
graph = helper.make_graph([node], "reshape", [x], [y], [shape])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
with tempfile.TemporaryDirectory() as folder:
    onnx.save(model, f"{folder}/model.onnx")
    program = Path(sys.executable).with_name("iree-import-onnx")
    subprocess.run([program, f"{folder}/model.onnx", "-o", f"{folder}/model.mlir"], check=True)
    try:
        compile_file(f"{folder}/model.mlir", input_type="onnx", target_backends=["llvm-cpu"])
    except Exception as error:
        print(type(error).__name__, str(error)[:80])
        sys.exit(1)
