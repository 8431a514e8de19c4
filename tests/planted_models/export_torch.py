"""Write what PyTorch exports of the planted nn.LSTM into a folder: argument 1; argument 2, if any, is "onnx"."""

import logging
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch_modules import Net, make_torch_lstm

folder = Path(sys.argv[1])
lstm = make_torch_lstm().eval()
save_file(lstm.state_dict(), folder / "my.safetensors")
save_file(Net().state_dict(), folder / "net.safetensors")
save_file(torch.nn.GRU(3, 4).state_dict(), folder / "gru.safetensors")
save_file(torch.nn.LSTMCell(3, 4).state_dict(), folder / "cell.safetensors")
save_file(torch.nn.LSTM(3, 4, proj_size=2).to(torch.bfloat16).state_dict(), folder / "projected.safetensors")
save_file({"weight_ih_l0": torch.zeros(16, 3, dtype=torch.int8), "weight_hh_l0": torch.zeros(16, 4, dtype=torch.int8)},
          folder / "quantised.safetensors")  # fmt: skip
save_file({"weight_ih_l0": torch.zeros(16, 3), "weight_hh_l0": torch.zeros(12, 4), "bias_ih_l0": torch.zeros(16),
           "bias_hh_l0": torch.zeros(16)}, folder / "misfit.safetensors")  # fmt: skip
save_file({"dense.weight": torch.zeros(3, 4)}, folder / "dense.safetensors")
save_file({"W": torch.zeros(1, 16, 3), "R": torch.zeros(1, 16, 4)}, folder / "other.safetensors", {"dialect": "onnx"})

if sys.argv[2:] == ["onnx"]:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    x, state = torch.zeros(5, 2, 3), torch.zeros(4, 2, 4)
    torch.onnx.export(
        lstm, (x, (state, state.clone())), folder / "my.onnx", dynamo=False, input_names=["x", "h0", "c0"],
        dynamic_axes={"x": {0: "time", 1: "batch"}, "h0": {1: "batch"}, "c0": {1: "batch"}},
    )  # fmt: skip
    torch.onnx.export(lstm, (x,), folder / "static.onnx", dynamo=True, verbose=False)
