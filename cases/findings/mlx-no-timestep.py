"""Exits 1 where it shows: no timestep."""

import sys

import mlx.core as mx
from mlx import nn

mx.set_default_device(mx.cpu)
try:
    print(nn.LSTM(1, 1)(mx.zeros((1, 0, 1))))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(1)
