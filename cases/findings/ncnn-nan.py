"""Exits 1 where it shows: of an input that is no number a finite output is computed."""

import subprocess
import sys
import tempfile

import ncnn
import numpy as np
import pnnx
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, 4)

    def forward(self, x, h0, c0):
        return self.lstm(x, (h0, c0))[0]


folder = tempfile.mkdtemp()
x, state = torch.ones(2, 1, 1), torch.zeros(1, 1, 4)
torch.jit.trace(Network(), (x, state, state)).save(f"{folder}/lstm.pt")
shapes = "inputshape=[2,1,1]f32,[1,1,4]f32,[1,1,4]f32"
subprocess.run([pnnx.EXEC_PATH, f"{folder}/lstm.pt", shapes, "fp16=0"], capture_output=True)
net = ncnn.Net()
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
net.load_param(f"{folder}/lstm.ncnn.param")
net.load_model(f"{folder}/lstm.ncnn.bin")
extractor = net.create_extractor()
extractor.input("in0", ncnn.Mat(np.full((2, 1, 1), np.nan, np.float32), batch_index=1).clone())
for name in ("in1", "in2"):
    extractor.input(name, ncnn.Mat(np.zeros((1, 1, 4), np.float32), batch_index=1).clone())
h = extractor.extract("out0")[1].numpy(batch_index=1)
print("of NaN at every timestep h is", h.ravel())
sys.exit(bool(np.isfinite(h).all()))
