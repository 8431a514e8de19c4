"""The ONNX operator ``LSTM`` in onnxruntime, its weights initialisers of their standard names."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("onnx", "onnxruntime")


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["onnx"], split_bias="uneven")
    given = {"X": p.x, "initial_h": p.h0[None], "initial_c": p.c0[None]}
    if p.lengths is not None:
        given["sequence_lens"] = p.lengths.astype(np.int32)
    names = ["X", "W", "R", "B", "sequence_lens" if p.lengths is not None else "", "initial_h", "initial_c"]
    node = helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=p.case.lstm.hidden_size)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    T, B, _, H = p.case.shape
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in {"Y": (T, 1, B, H), "Y_h": (1, B, H), "Y_c": (1, B, H)}.items()
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    model = helper.make_model(
        helper.make_graph([node], "lstm", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 22)],
        ir_version=10,
    )  # fmt: skip
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    Y, Y_h, Y_c = session.run(None, given)
    return Trace(h=Y[:, 0].copy(), h_n=Y_h[0], c_n=Y_c[0])
