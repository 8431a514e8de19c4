"""Exits 1 where it shows: of an input that is no number a finite output is computed."""

import subprocess
import sys
import tempfile

import ncnn
import numpy as np
import pnnx
import torch

folder = tempfile.mkdtemp()
x = torch.ones(2, 1, 1)
torch.jit.trace(torch.nn.LSTM(1, 1), (x,)).save(f"{folder}/lstm.pt")
subprocess.run([pnnx.EXEC_PATH, f"{folder}/lstm.pt", "inputshape=[2,1,1]f32", "fp16=0"], capture_output=True)
net = ncnn.Net()
net.load_param(f"{folder}/lstm.ncnn.param")
net.load_model(f"{folder}/lstm.ncnn.bin")
extractor = net.create_extractor()
extractor.input("in0", ncnn.Mat(np.full((2, 1, 1), np.nan, np.float32), batch_index=1).clone())
h = extractor.extract("out0")[1].numpy(batch_index=1)
print("of NaN at every timestep h is", h.ravel())
sys.exit(bool(np.isfinite(h).all()))
