"""Write a small nn.LSTM, its export, and that export with its gates as PyTorch has them, into the folder given."""

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

folder = Path(sys.argv[1])
MODULE = """import torch


def make_torch_lstm():
    torch.manual_seed(7)
    return torch.nn.LSTM(3, 4)
"""
(folder / "module.py").write_text(MODULE)
sys.path.insert(0, str(folder))
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

from module import make_torch_lstm  # noqa: E402 (it has just been written)

x, state = torch.zeros(5, 2, 3), torch.zeros(1, 2, 4)
torch.onnx.export(
    make_torch_lstm().eval(), (x, (state, state.clone())), folder / "my.onnx", dynamo=False,
    input_names=["x", "h0", "c0"],
    dynamic_axes={"x": {0: "time", 1: "batch"}, "h0": {1: "batch"}, "c0": {1: "batch"}},
)  # fmt: skip
model = onnx.load(folder / "my.onnx")
node = next(node for node in model.graph.node if node.op_type == "LSTM")
for tensor in model.graph.initializer:
    if tensor.name in node.input[1:4]:
        array = onnx.numpy_helper.to_array(tensor)
        halves = np.split(array, 2, 1) if tensor.name == node.input[3] else [array]
        moved = [np.concatenate([np.split(half, 4, 1)[k] for k in (0, 2, 3, 1)], 1) for half in halves]
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate(moved, 1), tensor.name))
onnx.save(model, folder / "wrong.onnx")
