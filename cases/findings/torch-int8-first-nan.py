"""Exits 1 where it shows: an input that begins with NaN fails."""

import sys
import warnings

import torch

warnings.simplefilter("ignore")  # that torch.ao moves to torchao
model = torch.nn.Sequential(torch.nn.LSTM(1, 1))
quantised = torch.ao.quantization.quantize_dynamic(model, {torch.nn.LSTM}, dtype=torch.qint8)
try:
    with torch.inference_mode():
        print(quantised(torch.tensor([[[float("nan")], [1.0]]])))
except RuntimeError as error:
    print(error)
    sys.exit(1)
