"""Exits 1 where it shows: an input that is not a number gives numbers."""

import sys
import warnings

import torch

warnings.simplefilter("ignore")  # that torch.ao moves to torchao
model = torch.nn.Sequential(torch.nn.LSTM(1, 1))
quantised = torch.ao.quantization.quantize_dynamic(model, {torch.nn.LSTM}, dtype=torch.qint8)
x = torch.tensor([[[1.0], [float("nan")]]])
with torch.inference_mode():
    h, _ = quantised(x)
print("of the inputs", x.ravel().tolist(), "h is", h.ravel().tolist())
sys.exit(bool(h[0, 1].isfinite()))
