"""Exits 1 where it shows: the product of two float64 matrices is a float32 one."""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"
import keras
import torch

one = torch.ones(1, 1, dtype=torch.float64)
found = keras.ops.matmul(one, one).dtype
print("keras.ops.matmul of float64 gives", found)
sys.exit(found != torch.float64)
